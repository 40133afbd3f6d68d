import { BeckonError } from "./errors.ts";
import type { Change, Storage, Stored } from "./storage.ts";

/** Where all of it is, in each database. */
export const STORE = "values";

/** The database of a storage. */
export const databaseOf = (name: string): string => `beckon/${name}`;

/**
 * A database of the browser, one for each `name`, as of a user. A second page that uses the same waits until the first is closed
 * or gone, where there are Web Locks (in every secure context).
 */
export function indexedDb(name: string): Storage {
  const { indexedDB } = globalThis as Partial<typeof globalThis>;
  if (indexedDB === undefined) throw new BeckonError("unsupported-runtime", "indexedDB");
  const fullName = databaseOf(name);
  const closing = new AbortController();
  let release: (() => void) | undefined;
  let database: IDBDatabase | undefined;

  async function read(): Promise<Iterable<readonly [string, Stored]>> {
    release = await acquire(fullName, closing.signal);
    try {
      const opened = await openDatabase(indexedDB!, fullName);
      // Whoever wants to remove it, as with the data of the site, is not held up.
      opened.addEventListener("versionchange", () => opened.close());
      database = opened;
      if (closing.signal.aborted) throw new Error("closed");
      const transaction = opened.transaction(STORE, "readonly");
      const store = transaction.objectStore(STORE);
      const [keys, values] = [store.getAllKeys(), store.getAll()];
      await ended(transaction);
      return keys.result.map((key, at) => [key as string, values.result[at] as Stored] as const);
    } catch (error) {
      close();
      throw error;
    }
  }

  /** All of it or nothing, and on disk. */
  async function change(task: (store: IDBObjectStore) => void): Promise<void> {
    if (database === undefined) throw new Error("not open");
    const transaction = database.transaction(STORE, "readwrite", { durability: "strict" });
    const done = ended(transaction);
    try {
      task(transaction.objectStore(STORE));
      // Needs nothing more of this page, which may be frozen the next moment.
      transaction.commit();
    } catch (error) {
      transaction.abort();
      await done.catch(() => {});
      throw error;
    }
    await done;
  }

  function close(): void {
    closing.abort();
    database?.close();
    database = undefined;
    release?.();
  }

  const attempt = async <T>(task: () => Promise<T>): Promise<T> => {
    try {
      return await task();
    } catch (cause) {
      throw new BeckonError("storage-failed", `${fullName}: ${String(cause)}`, { cause });
    }
  };

  return {
    read: () => attempt(read),
    write: (changes) => attempt(() => change((store) => put(store, changes))),
    clear: () => attempt(() => change((store) => store.clear())),
    async close() {
      close();
    },
  };
}

function put(store: IDBObjectStore, changes: readonly Change[]): void {
  for (const { key, value } of changes) {
    if (value === undefined) store.delete(key);
    else store.put(value, key);
  }
}

/** The answer frees it; the browser does, when the page is gone. */
async function acquire(name: string, signal: AbortSignal): Promise<() => void> {
  const { locks } = navigator as Partial<Navigator>;
  if (locks === undefined) return () => {};
  return new Promise((resolve, reject) => {
    const held = (): Promise<void> =>
      new Promise((free) => {
        resolve(free);
      });
    locks.request(name, { signal }, held).catch(reject);
  });
}

export function openDatabase(factory: IDBFactory, name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = factory.open(name, 1);
    request.addEventListener("upgradeneeded", () => request.result.createObjectStore(STORE));
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => reject(request.error!));
  });
}

export function ended(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.addEventListener("complete", () => resolve());
    transaction.addEventListener("abort", () => reject(transaction.error ?? new Error("aborted")));
  });
}
