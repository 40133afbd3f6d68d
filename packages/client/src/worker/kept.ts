/** What a storage of this origin keeps for its wakes, read beside the page that has it. */
import type { Hint, WakeKey } from "@beckon/protocol";

import { databaseOf, ended, openDatabase, STORE } from "../indexed-db.ts";
import type { SealCrypto } from "../options.ts";
import type { Identity, Place } from "../session.ts";
import { countOpening, type Key, type Openings, unseal } from "../wake.ts";

/**
 * Opens the wake in a push's data with the keys that `indexedDb(name)` keeps. Undefined: it is for another storage, expired, or was
 * opened twice. It takes no part in the lock of the pages: it writes nothing but its own count, which they read when they start.
 */
export async function openKept(
  data: unknown,
  name: string,
  crypto: SealCrypto,
): Promise<Hint | undefined> {
  const database = await openDatabase(indexedDB, databaseOf(name));
  try {
    const [keys, identity, place] = await read(database);
    if (keys === undefined || identity === undefined) return undefined;
    const wake = await unseal(data, keys, identity.device, crypto);
    if (wake === undefined) return undefined;
    const isOver = wake.hint.expires <= Date.now() + (place?.offset ?? 0);
    return !isOver && (await count(database, wake.name)) ? wake.hint : undefined;
  } finally {
    database.close();
  }
}

/** A device of this origin, as it is registered for Web Push. */
export interface KeptDevice {
  readonly storage: string;
  readonly device: string;
  /** What is sealed with it the page can open. */
  readonly key: WakeKey;
  /** Of the last server first. */
  readonly servers: readonly string[];
}

/** The device that was registered last: a browser has one subscription for all who share it. */
export async function keptDevice(names: readonly string[]): Promise<KeptDevice | undefined> {
  let last: KeptDevice | undefined;
  let made = -Infinity;
  for (const storage of names) {
    const database = await openDatabase(indexedDB, databaseOf(storage));
    const [[key] = [], identity, place] = await read(database).finally(() => database.close());
    if (key?.provider !== "webpush" || identity === undefined || key.made <= made) continue;
    made = key.made;
    const servers = (place?.servers ?? [])
      .toSorted((a, b) => Number(b.name === place?.server) - Number(a.name === place?.server))
      .flatMap(({ addresses }) => addresses)
      .filter(({ protocol }) => protocol === "ws")
      .map(({ url }) => url);
    last = { storage, device: identity.device, key: { id: key.id, key: key.key }, servers };
  }
  return last;
}

/** Names of the storages of this origin. */
export async function keptNames(): Promise<readonly string[]> {
  const prefix = databaseOf("");
  const databases = await indexedDB.databases();
  return databases
    .map(({ name = "" }) => name)
    .filter((name) => name.startsWith(prefix))
    .map((name) => name.slice(prefix.length));
}

type Kept = [keys?: readonly Key[], identity?: Identity, place?: Place];

async function read(database: IDBDatabase): Promise<Kept> {
  const transaction = database.transaction(STORE, "readonly");
  const store = transaction.objectStore(STORE);
  const requests = ["w/keys", "m/identity", "m/place"].map((key) => store.get(key));
  await ended(transaction);
  return requests.map(({ result }) => result as unknown) as Kept;
}

/** Counts one opening more; false: it may not be opened again. */
async function count(database: IDBDatabase, name: string): Promise<boolean> {
  const transaction = database.transaction(STORE, "readwrite", { durability: "strict" });
  const store = transaction.objectStore(STORE);
  const own = store.get("w/worker") as IDBRequest<Openings | undefined>;
  const pages = store.get("w/opened") as IDBRequest<Openings | undefined>;
  let counted: Openings | undefined;
  // It is the second to be answered.
  pages.addEventListener("success", () => {
    counted = countOpening(name, own.result ?? [], pages.result ?? []);
    if (counted !== undefined) store.put(counted, "w/worker");
  });
  await ended(transaction);
  return counted !== undefined;
}
