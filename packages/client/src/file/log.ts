import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

import type { Change, Stored } from "../storage.ts";
import { apply, HEADER, replay, toRecord } from "./record.ts";

/** A file to which each write appends one record, and which is written anew when most of it is outdated. */
export interface Log {
  /** What it held when it was opened. */
  readonly values: ReadonlyMap<string, Stored>;
  /** Resolves when it is on disk. After a rejection nothing of it is in the file. One at a time. */
  append(changes: readonly Change[]): Promise<void>;
  clear(): Promise<void>;
  close(): Promise<void>;
}

/** A file up to this size is not worth writing anew. */
const SMALL = 256 * 1024;
/** Bytes written at once when the file is written anew. */
const CHUNK = 1024 * 1024;
/** Nobody else's: it holds wake keys and messages. */
const MODE = 0o600;

/** Who calls it has the file for itself. */
export async function openLog(path: string, maxBytes: number): Promise<Log> {
  const loaded = await load(path);
  let { handle, end } = loaded;
  /** The size from which it is written anew. */
  let enough = limitFor(sizeOf(recordsOf(loaded.values)));
  /** A write failed, and may have left something behind, or the file's name is not on disk. */
  let dirty = false;

  async function append(changes: readonly Change[]): Promise<void> {
    const record = toRecord(changes);
    if (dirty || end + record.length > enough || (await isRemoved())) return rewrite(changes);
    try {
      await writeAt(handle, record, end);
      await handle.datasync();
      end += record.length;
    } catch (error) {
      dirty = true;
      await handle.truncate(end).catch(() => {});
      throw error;
    }
  }

  /** Someone has removed the file: all of it is put back. */
  async function isRemoved(): Promise<boolean> {
    return (await handle.stat()).nlink === 0;
  }

  /** The write and the compaction at once: all that counts goes to a new file, which takes the old one's place. */
  async function rewrite(changes: readonly Change[]): Promise<void> {
    const now = await current(handle, end);
    apply(now, changes);
    const records = recordsOf(now);
    const size = sizeOf(records);
    // What only removes is never refused: it makes room.
    if (size > maxBytes && changes.some(({ value }) => value !== undefined)) {
      throw new Error(`full: ${size} bytes are more than ${maxBytes}`);
    }
    const fresh = await create(path, records);
    await handle.close();
    handle = fresh;
    end = size;
    enough = limitFor(size);
    dirty = true;
    await syncFolder(path);
    dirty = false;
  }

  function limitFor(size: number): number {
    return Math.min(maxBytes, Math.max(SMALL, 2 * size));
  }

  return {
    values: loaded.values,
    append,
    async clear() {
      await handle.truncate(HEADER.length);
      end = HEADER.length;
      enough = limitFor(end);
      await handle.sync();
    },
    close: () => handle.close(),
  };
}

interface Loaded {
  readonly handle: FileHandle;
  readonly values: Map<string, Stored>;
  readonly end: number;
}

async function load(path: string): Promise<Loaded> {
  const handle = await existing(path);
  try {
    const log = await handle.readFile();
    const found = replay(log);
    if (found === undefined) throw new Error("not a storage of Beckon");
    if (found.end < log.length) {
      // A crash tore the last record: nobody was told that it is on disk.
      await handle.truncate(found.end);
      await handle.sync();
    }
    return { handle, ...found };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** One that is missing or empty is begun. */
async function existing(path: string): Promise<FileHandle> {
  try {
    const handle = await open(path, "r+");
    const { size } = await handle.stat();
    if (size > 0) return handle;
    await handle.close();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const handle = await create(path, []);
  await syncFolder(path);
  return handle;
}

async function current(handle: FileHandle, end: number): Promise<Map<string, Stored>> {
  const log = Buffer.alloc(end);
  for (let at = 0; at < end;) {
    const { bytesRead } = await handle.read(log, at, end - at, at);
    if (bytesRead === 0) throw new Error("the file became shorter");
    at += bytesRead;
  }
  const found = replay(log);
  if (found?.end !== end) throw new Error("the file was changed by someone else");
  return found.values;
}

function recordsOf(values: ReadonlyMap<string, Stored>): Buffer[] {
  return Array.from(values, ([key, value]) => toRecord([{ key, value }]));
}

function sizeOf(records: readonly Buffer[]): number {
  return records.reduce((sum, { length }) => sum + length, HEADER.length);
}

/** A whole file that takes the place of whatever is there. */
async function create(path: string, records: readonly Buffer[]): Promise<FileHandle> {
  const next = `${path}.new`;
  const handle = await open(next, "w+", MODE);
  try {
    let at = 0;
    for (const chunk of chunks([HEADER, ...records])) {
      await writeAt(handle, chunk, at);
      at += chunk.length;
    }
    await handle.sync();
    await rename(next, path);
    return handle;
  } catch (error) {
    await handle.close();
    // On a disk that is full it would be in the way.
    await rm(next, { force: true }).catch(() => {});
    throw error;
  }
}

function* chunks(records: readonly Buffer[]): Generator<Buffer> {
  let gathered: Buffer[] = [];
  let size = 0;
  for (const record of records) {
    gathered.push(record);
    size += record.length;
    if (size < CHUNK) continue;
    yield Buffer.concat(gathered);
    gathered = [];
    size = 0;
  }
  yield Buffer.concat(gathered);
}

async function writeAt(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, position + at);
    at += bytesWritten;
  }
}

/** A new name is on disk when its folder is. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
