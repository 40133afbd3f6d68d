/** The leader's storage: shut at once when the leader steps down, and with the ACKs that followers still have to hear. */
import { BeckonError } from "../errors.ts";
import type { Ack } from "../message.ts";
import type { Change, Storage, Stored } from "../storage.ts";

export interface Gate {
  readonly storage: Storage;
  /** ACKs of sends of other tabs that those have not confirmed, by reference. Stored together with the end of the send. */
  readonly acks: ReadonlyMap<string, Ack>;
  /** With the next write the record goes. */
  confirmed(ref: string): void;
  /** Resolves when nothing that was written is under way. */
  settled(): Promise<void>;
  /** Nothing more passes, and the next leader may read. What was given to the storage before comes before that. */
  shut(): void;
}

export interface GateParts {
  readonly storage: Storage;
  /** What was read of it. */
  readonly values: Iterable<readonly [key: string, value: Stored]>;
  /** Goes with the first write. */
  readonly first: Change;
  /** Whether the tab of that reference is another one: nobody but the client itself tells this one. */
  foreign(ref: string): boolean;
  /** An ACK waits to be confirmed. */
  kept(ref: string): void;
  /** Before it is closed. */
  closing(): Promise<void>;
}

/** Records of ACKs: `a/` and the reference of the send. */
const ACK = "a/";
/** Confirmations remembered until the record comes; one more costs a record that stays until its tab is gone. */
const EARLY = 1_000;

export function createGate(parts: GateParts): Gate {
  const { storage } = parts;
  let values = [...parts.values];
  const acks = new Map<string, Ack>();
  for (const [key, value] of values) {
    if (key.startsWith(ACK)) acks.set(key.slice(ACK.length), value as unknown as Ack);
  }
  /** Confirmed before the record was written, oldest first. */
  const early = new Set<string>();
  /** What goes with the next write. */
  let more: Change[] = [parts.first];
  let running: Promise<void> = Promise.resolve();
  let shut = false;

  async function write(changes: readonly Change[]): Promise<void> {
    if (shut) throw new BeckonError("closed");
    const taken = more;
    more = [];
    const passing = changes.filter(
      ({ key, value }) => !key.startsWith(ACK) || keep(key.slice(ACK.length), value),
    );
    running = storage.write([...passing, ...taken]);
    try {
      await running;
    } catch (error) {
      more.push(...taken);
      throw error;
    }
  }

  function keep(ref: string, ack: Stored | undefined): boolean {
    if (early.delete(ref) || !parts.foreign(ref)) return false;
    acks.set(ref, ack as unknown as Ack);
    parts.kept(ref);
    return true;
  }

  return {
    acks,
    storage: {
      read() {
        const read = values;
        values = [];
        return Promise.resolve(read);
      },
      write,
      async clear() {
        if (shut) throw new BeckonError("closed");
        await storage.clear();
      },
      async close() {
        if (shut) return;
        await parts.closing();
        await storage.close();
      },
    },
    confirmed(ref) {
      if (acks.delete(ref)) {
        more.push({ key: ACK + ref, value: undefined });
        return;
      }
      early.add(ref);
      for (const oldest of early) {
        if (early.size <= EARLY) break;
        early.delete(oldest);
      }
    },
    async settled() {
      // What is asked for in this turn is written in the next, together with what waits for a write.
      for (let writes = 0; writes < 2; writes++) {
        await Promise.resolve();
        await Promise.resolve();
        await running.catch(() => {});
      }
    },
    shut() {
      shut = true;
      void storage.close();
    },
  };
}
