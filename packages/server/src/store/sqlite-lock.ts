/** One server process to one SQLite file: a second one would not know of the first one's devices (M2). */
import { Database } from "bun:sqlite";
import { realpathSync } from "node:fs";

import { codeOf } from "./sqlite-schema.ts";
import { StoreUnavailable } from "./store.ts";

interface Held {
  readonly database: Database;
  servers: number;
}

/** By path. The servers of one process share what they know, and so a file. */
const held = new Map<string, Held>();

/**
 * Takes the file for this process; the answer gives it back. The lock is the operating system's, on a file beside it that stays
 * empty, so that it ends with the process, however that dies.
 * @throws {StoreUnavailable} where another process has it.
 */
export function lockFile(path: string): () => void {
  const name = `${real(path)}.lock`;
  const lock = held.get(name) ?? { database: lockNow(name, path), servers: 0 };
  held.set(name, lock);
  lock.servers++;
  let isBack = false;
  return () => {
    if (isBack) return;
    isBack = true;
    if (--lock.servers > 0) return;
    held.delete(name);
    lock.database.close();
  };
}

function lockNow(name: string, path: string): Database {
  let database: Database | undefined;
  try {
    database = new Database(name);
    database.run("BEGIN EXCLUSIVE");
    return database;
  } catch (error) {
    database?.close();
    if (!codeOf(error).startsWith("SQLITE_BUSY")) {
      throw new StoreUnavailable(`${name} cannot be locked: ${(error as Error).message}`);
    }
    throw new StoreUnavailable(
      `another server process has ${path}, and one file is for the servers of one process`,
    );
  }
}

/** The same file by whatever way leads to it. */
function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
