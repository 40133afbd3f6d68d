import type { Beckon } from "./beckon.ts";
import type { ConnectOptions } from "./options.ts";
import type { Settings } from "./settings.ts";

/** What is stored: what JSON can say, and bytes. Never changed after it was handed over. */
export type Stored =
  | string
  | number
  | boolean
  | null
  | Uint8Array
  | readonly Stored[]
  | { readonly [name: string]: Stored };

/** `value` undefined: the key is removed. */
export interface Change {
  readonly key: string;
  readonly value: Stored | undefined;
}

/**
 * Where the SDK keeps what must survive the process: outbox, inbox, lanes, wake keys. It reads once, at the
 * start, and writes from then on. Keys are short and begin with their kind ("o/", "i/", …).
 *
 * One client at a time uses a storage: `read` MUST wait until an earlier user of the same storage has closed it or is gone.
 */
export interface Storage {
  /** Everything, in ascending order of keys (by code unit). */
  read(): Promise<Iterable<readonly [key: string, value: Stored]>>;
  /**
   * MUST apply all changes or none, and have them on disk when it resolves. The SDK waits for one write
   * before it begins the next. After a rejection nothing of it may be visible.
   */
  write(changes: readonly Change[]): Promise<void>;
  /** Removes everything, for a log-out. */
  clear(): Promise<void>;
  /** A `read` that waits for an earlier user MUST reject then, and a later user's turn comes. */
  close(): Promise<void>;
  /** Where several clients of one origin use this storage at once: makes them one. */
  readonly share?: Share;
}

/** Answers the client of all in place of the one that `start` would be. */
export type Share = (
  options: ConnectOptions,
  settings: Pick<Settings, "clock" | "random" | "outboxLimit">,
  start: (options: ConnectOptions) => Beckon,
) => Beckon;

/** Lives as long as the object: for tests, and for what need not survive the process. */
export function memory(): Storage {
  const values = new Map<string, Stored>();
  return {
    read: () => Promise.resolve([...values].sort(([a], [b]) => (a < b ? -1 : 1))),
    write(changes) {
      for (const { key, value } of changes) {
        if (value === undefined) values.delete(key);
        else values.set(key, value);
      }
      return Promise.resolve();
    },
    clear() {
      values.clear();
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
  };
}
