#!/usr/bin/env node
// Starts the Bun that this package depends on, so that nothing has to be installed globally.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";

const bun = createRequire(import.meta.url).resolve("bun/bin/bun.exe");
const main = fileURLToPath(new URL("../src/main.ts", import.meta.url));
const child = spawn(bun, [main, ...process.argv.slice(2)], { stdio: "inherit" });
// A terminal sends Ctrl-C to the child as well; a second one would say "stop at once".
process.on("SIGINT", () => process.stdin.isTTY || child.kill("SIGINT"));
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
