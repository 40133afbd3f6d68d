/** The load on a server, as a process of its own: takes a task, and writes its result. */
import type { LoadTask } from "./task.ts";

import { idleLoad } from "./idle.ts";
import { relayLoad } from "./relay.ts";

const task = JSON.parse(process.argv[2] ?? "") as LoadTask;
const result = await (task.scenario === "relay" ? relayLoad(task) : idleLoad(task));
console.log(JSON.stringify(result));
process.exit();
