import { readFileSync } from "node:fs";

/** Files and sockets that this process may have open; undefined where the system does not say (it is not Linux), or sets no bound. */
export function openFilesLimit(): number | undefined {
  try {
    const limits = readFileSync("/proc/self/limits", "latin1");
    const [, soft] = /^Max open files +(\d+)/m.exec(limits) ?? [];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}
