/** The load on a server, as a process of its own: takes a task, and writes its result. */
import type { LoadTask } from "./task.ts";

import { idleLoad } from "./idle.ts";
import { relayLoad } from "./relay.ts";
import { wakeLoad } from "./wake.ts";

const task = JSON.parse(process.argv[2] ?? "") as LoadTask;
console.log(JSON.stringify(await resultOf(task)));
process.exit();

function resultOf(of: LoadTask): Promise<object> {
  if (of.scenario === "relay") return relayLoad(of);
  return of.scenario === "idle" ? idleLoad(of) : wakeLoad(of);
}
