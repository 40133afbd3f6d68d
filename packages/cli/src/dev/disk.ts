/** A full disk, for people to try what happens then: SQLite itself refuses what finds no place in its file (SQLITE_FULL). */
import { uuidv7 } from "@beckon/protocol";
import { openSqlite, type SqliteStore } from "@beckon/server";

/** Owns what the file is filled with; no device of this name ever connects. */
const FILLER = { user: "beckon-dev-filler", device: "filler" } as const;
/** Bytes: what is left between the large ones takes the small. */
const BODIES = [4_000, 400, 0] as const;
/** How often what has become free is filled again, ms. */
const AGAIN_MS = 200;
/** Messages of one size at a time; a file has room for fewer. */
const MOST = 500;

export class Disk {
  readonly #store: SqliteStore;
  #n = 0;
  #isFull = false;
  #filling: Promise<void> = Promise.resolve();
  #timer: Timer | undefined;

  private constructor(store: SqliteStore) {
    this.#store = store;
  }

  /** The file that the servers use, through the thread that they share. */
  static async open(path: string): Promise<Disk> {
    return new Disk(await openSqlite(path));
  }

  /** Resolves when nothing fits any more, or when there is room. */
  async setFull(isFull: boolean): Promise<void> {
    if (this.#isFull === isFull) return;
    this.#isFull = isFull;
    const { user, device } = FILLER;
    if (isFull) {
      await this.#store.devices.arrive({
        ...FILLER,
        durable: true,
        protocols: ["ws"],
        lastEpoch: 0,
        epoch: Date.now(),
      });
      this.#store.bound(1);
      await this.#keepFull();
    } else {
      clearTimeout(this.#timer);
      await this.#filling;
      this.#store.bound(0);
      await this.#store.devices.forget(user, device);
    }
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#filling;
    await this.#store.close();
  }

  async #keepFull(): Promise<void> {
    this.#filling = this.#fill();
    await this.#filling;
    if (this.#isFull) this.#timer = setTimeout(() => void this.#keepFull(), AGAIN_MS);
  }

  async #fill(): Promise<void> {
    for (const bytes of BODIES) {
      for (let count = 0; count < MOST && (await this.#put(bytes)); count++);
    }
  }

  /** False: it was refused. */
  async #put(bytes: number): Promise<boolean> {
    const { user } = FILLER;
    const id = uuidv7(Date.now(), (some) => void crypto.getRandomValues(some));
    try {
      await this.#store.messages.hold([
        {
          key: { from: user, fromDevice: "", id },
          user,
          outbox: 1,
          to: user,
          n: ++this.#n,
          body: new Uint8Array(bytes),
          digest: "",
          exclude: [],
          sent: [],
          ends: new Uint8Array(),
          orUser: false,
          wake: { class: "none", server: "", conversation: "", preview: "", delay: 0, rings: 0 },
        },
      ]);
      return true;
    } catch {
      return false;
    }
  }
}
