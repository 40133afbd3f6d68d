/** The suite of storages on the browser's database: each user is a frame of its own, which is removed to kill it. */
import { indexedDb, type Storage } from "@beckon/client/storage";

import { type StorageHarness, storageSuite } from "../../packages/client/src/storage.suite.ts";

interface UserWindow extends Window {
  storage?: Storage;
}

/** The frame's part. */
const { searchParams } = new URL(location.href);
const database = searchParams.get("database");
if (database !== null) (globalThis as unknown as UserWindow).storage = indexedDb(database);

const laws = new Map<string, () => Promise<void>>();
let place = 0;
storageSuite((name, run) => void laws.set(name, run), harness);

async function harness(): Promise<StorageHarness> {
  const name = `place ${++place} ${Math.random()}`;
  const frames = new Map<Storage, HTMLIFrameElement>();
  return {
    async open(other) {
      const frame = document.createElement("iframe");
      frame.src = `?${new URLSearchParams({ database: `${name} ${other ?? ""}` })}`;
      document.body.append(frame);
      for (;;) {
        const { storage } = frame.contentWindow as UserWindow;
        if (storage !== undefined) {
          frames.set(storage, frame);
          return storage;
        }
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
    async kill(user) {
      frames.get(user)!.remove();
    },
    async close() {
      for (const frame of frames.values()) frame.remove();
    },
  };
}

/** Undefined: the law holds; else why not. */
async function check(name: string): Promise<string | undefined> {
  try {
    await laws.get(name)!();
    return undefined;
  } catch (error) {
    return String(error);
  }
}

Object.assign(globalThis, { check });
