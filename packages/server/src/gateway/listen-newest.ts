/**
 * Linux: of several listeners on one port the newest gets every new connection. By itself the kernel shares them out, and what
 * it has given to a listener that closes before it accepts is reset; of one that gets no more, nothing is left to reset. Nothing
 * but the socket's own option can say so, and the runtime does not offer it.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { dlopen, ptr } from "bun:ffi";

const SOL_SOCKET = 1;
const SO_ATTACH_REUSEPORT_CBPF = 51;
const RETURN = 0x06;

const LIBRARIES = ["libc.so.6", `libc.musl-${process.arch === "x64" ? "x86_64" : "aarch64"}.so.1`];

/**
 * For all listeners of this process on `port`, also those to come, while one is there. There are two at most: the second is
 * chosen, and the kernel falls back to the one there is. False: it could not be had, and the kernel shares them out.
 */
export function preferNewest(port: number): boolean {
  if (process.platform !== "linux") return false;
  try {
    return listenersOn(port).some(attach);
  } catch {
    return false;
  }
}

/** Descriptors of this process that listen on it. */
function listenersOn(port: number): number[] {
  const inodes = new Set(["tcp", "tcp6"].flatMap((table) => listening(table, port)));
  return readdirSync("/proc/self/fd")
    .filter((fd) => inodes.has(inodeOf(fd)))
    .map(Number);
}

function listening(table: string, port: number): string[] {
  return readFileSync(`/proc/self/net/${table}`, "utf8")
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state]) => state === "0A" && portOf(local) === port)
    .map((columns) => columns[9]!);
}

function portOf(local = ""): number {
  return Number.parseInt(local.split(":")[1] ?? "", 16);
}

function inodeOf(fd: string): string {
  try {
    return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1] ?? "";
  } catch {
    return "";
  }
}

/** A program of one instruction: the number of the listener to choose, in the order of their coming. */
function attach(fd: number): boolean {
  const instruction = new Uint8Array(8);
  const fields = new DataView(instruction.buffer);
  fields.setUint16(0, RETURN, true);
  fields.setUint32(4, 1, true);
  const program = new Uint8Array(16);
  new DataView(program.buffer).setUint16(0, 1, true);
  new DataView(program.buffer).setBigUint64(8, BigInt(ptr(instruction)), true);
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program) === 0;
}

function setsockopt(fd: number, level: number, option: number, value: Uint8Array): number {
  for (const library of LIBRARIES) {
    try {
      const libc = dlopen(library, {
        setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
      });
      const result = libc.symbols.setsockopt(fd, level, option, ptr(value), value.length);
      libc.close();
      return result;
    } catch {
      // Another C library.
    }
  }
  return -1;
}
