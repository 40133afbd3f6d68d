import type { Change, Storage } from "./storage.ts";

/** A key in the storage; as text they are in the order of their numbers. */
export function numberedKey(kind: string, number: number): string {
  return `${kind}/${String(number).padStart(16, "0")}`;
}

/** Told when a write is on disk, or why it is not. */
export type Written = (failure: unknown) => void;

/** Writes to the storage in the order asked for; what is asked for during one write goes out together as the next. */
export interface Journal {
  /** Whether there is a storage at all. Without one every write is done at once. */
  readonly durable: boolean;
  write(changes: readonly Change[], done?: Written): void;
  /** Resolves when they are on disk; rejects with why they are not. */
  written(changes: readonly Change[]): Promise<void>;
  /** Resolves when all that was asked for is written or has failed; what is asked for later is not written, and nobody is told. */
  close(): Promise<void>;
}

/** `failed` is told each failure once, also where nobody waits for the write. */
export function createJournal(
  storage: Storage | undefined,
  failed: (failure: unknown) => void,
): Journal {
  let changes: Change[] = [];
  let waiting: Written[] = [];
  let running: Promise<void> | undefined;
  let closed = false;

  async function run(store: Storage): Promise<void> {
    // What is asked for in this turn goes along.
    await Promise.resolve();
    while (changes.length > 0) {
      const batch = changes;
      const told = waiting;
      changes = [];
      waiting = [];
      let failure: unknown;
      try {
        await store.write(batch);
      } catch (error) {
        failure = error ?? new Error("the storage failed");
        failed(failure);
      }
      for (const done of told) done(failure);
    }
    running = undefined;
  }

  function write(more: readonly Change[], done?: Written): void {
    if (storage === undefined || more.length === 0) {
      done?.(undefined);
      return;
    }
    if (closed) return;
    for (const change of more) changes.push(change);
    if (done !== undefined) waiting.push(done);
    running ??= run(storage);
  }

  return {
    durable: storage !== undefined,
    write,
    written: (more) =>
      new Promise((resolve, reject) =>
        write(more, (failure) => (failure === undefined ? resolve() : reject(failure))),
      ),
    async close() {
      await running;
      closed = true;
    },
  };
}
