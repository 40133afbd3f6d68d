import { realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import { BeckonError } from "../errors.ts";
import type { Storage } from "../storage.ts";
import { acquire, type Lock } from "./lock.ts";
import { type Log, openLog } from "./log.ts";

export type { Change, Storage, Stored } from "../storage.ts";

export interface FileOptions {
  /** Bytes that the file may have; a write that needs more is refused. Default: 128 MiB. */
  readonly maxBytes?: number;
}

const MAX_BYTES = 128 * 1024 * 1024;
/** Who waits for longer is told for what: it may be a mistake. */
const PATIENCE_MS = 1_000;

/**
 * A file, for Node and Bun. It is begun where it is missing; its folder must be there, on a local disk. Beside it is a folder
 * `<path>.lock-<number>`: as long as its owner lives, another one waits, in this process or another.
 */
export function file(path: string, options: FileOptions = {}): Storage {
  const { maxBytes = MAX_BYTES } = options;
  const closing = new AbortController();
  let lock: Lock | undefined;
  let log: Log | undefined;

  /** Every failure says which file it is about, and has the cause. */
  async function attempt<T>(task: () => Promise<T>): Promise<T> {
    try {
      return await task();
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new BeckonError("storage-failed", `${path}: ${reason}`, { cause });
    }
  }

  function opened(): Log {
    if (log === undefined) throw new Error("not open");
    return log;
  }

  async function close(): Promise<void> {
    closing.abort(new Error("closed"));
    const [ownLock, ownLog] = [lock, log];
    lock = undefined;
    log = undefined;
    try {
      await ownLog?.close();
    } finally {
      await ownLock?.release();
    }
  }

  return {
    read: () =>
      attempt(async () => {
        const real = await resolved(path);
        const own = await patiently(path, acquire(real, closing.signal));
        try {
          closing.signal.throwIfAborted();
          const found = await openLog(real, maxBytes);
          [lock, log] = [own, found];
          return [...found.values].sort(([a], [b]) => (a < b ? -1 : 1));
        } catch (error) {
          await own.release();
          throw error;
        }
      }),
    write: (changes) => attempt(async () => opened().append(changes)),
    clear: () => attempt(async () => opened().clear()),
    close: () => attempt(close),
  };
}

/** One file, whatever it is called: a new one in a folder, or what a link leads to. */
async function resolved(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return join(await realpath(dirname(path)), basename(path));
  }
}

async function patiently(path: string, turn: Promise<Lock>): Promise<Lock> {
  const timer = setTimeout(() => {
    console.warn(`beckon: ${path} is in use, by another process or in this one: waiting`);
  }, PATIENCE_MS);
  try {
    return await turn;
  } finally {
    clearTimeout(timer);
  }
}
