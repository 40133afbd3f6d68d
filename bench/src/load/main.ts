/** The load on a server, as a process of its own: takes a task, and writes its result. */
import type { LoadTask } from "./task.ts";

import { idleLoad } from "./idle.ts";
import { relayLoad } from "./relay.ts";
import { wakeLoad } from "./wake.ts";

const task = JSON.parse(process.argv[2] ?? "") as LoadTask;
console.log(JSON.stringify(await run()));
process.exit();

function run(): Promise<object> {
  switch (task.scenario) {
    case "relay":
      return relayLoad(task);
    case "idle":
      return idleLoad(task);
    case "wake":
      return wakeLoad(task);
  }
}
