import { readFileSync } from "node:fs";

/** The kernel's USER_HZ, which is 100 on every architecture that Bun runs on. */
const TICKS_PER_SECOND = 100;

/** CPU that a process has used, user and system, all its threads: microseconds. Linux only. */
export function cpuMicros(pid: number): number {
  // The second field is the program's name in parentheses, which may contain anything.
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11]) + Number(fields[12])) * 1e6) / TICKS_PER_SECOND;
}

/** Bytes of memory that a process occupies. Linux only. */
export function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}
