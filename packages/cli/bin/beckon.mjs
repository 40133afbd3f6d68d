#!/usr/bin/env node
// Starts the Bun that this package depends on, so that nothing has to be installed globally.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";

const bun = createRequire(import.meta.url).resolve("bun/bin/bun.exe");
const main = fileURLToPath(new URL("../src/main.ts", import.meta.url));
// npx runs it in the folder of the package that one stands in; files are meant from where one stands.
const cwd = process.env.npm_command === "exec" ? process.env.INIT_CWD : undefined;
const child = spawn(bun, [main, ...process.argv.slice(2)], { stdio: "inherit", cwd });
child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));

// All are passed on: whether the terminal has sent one to the child as well cannot be known. The child takes
// those of one moment for one (src/stop.ts).
let told = false;
function tell(signal) {
  // SIGHUP need not end it: a server reads its certificate again.
  told ||= signal !== "SIGHUP";
  child.kill(signal);
}
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => tell(signal));

// npm and npx pass signals on to the shell that they put between, and it dies of them without a word to this
// process; which then has another parent.
if (process.env.npm_lifecycle_event !== undefined) {
  const parent = process.ppid;
  setInterval(() => {
    if (!told && process.ppid !== parent) tell("SIGTERM");
  }, 250);
}
