import type { Happening, HistoryEvent, MessageName } from "./history.ts";
import type { Random } from "../../packages/cli/src/replay/xoshiro.ts";
import { Scheduler } from "./scheduler.ts";

/** What everything in a run shares: time, chance, and the record of what happens. */
export class World {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly history: HistoryEvent[] = [];
  /** Hears all that is recorded, in that moment. */
  onRecord: ((happening: Happening) => void) | undefined;
  /** What messages are called, and their ids, in hex: as their senders have transmitted them. */
  readonly #names = new Map<string, MessageName>();
  readonly #ids = new Map<MessageName, string>();

  constructor(random: Random) {
    this.random = random;
    this.scheduler = new Scheduler(random.fork("scheduler"));
    this.scheduler.onThrow = ({ name }, error) => {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.record({ kind: "threw", process: name, error: text });
    };
  }

  get now(): number {
    return this.scheduler.now;
  }

  record(happening: Happening): void {
    this.history.push({ at: this.scheduler.now, ...happening });
    this.onRecord?.(happening);
  }

  transmitted(message: MessageName, id: Uint8Array): void {
    const hex = id.toHex();
    this.#names.set(hex, message);
    this.#ids.set(message, hex);
  }

  nameOf(id: Uint8Array): MessageName | undefined {
    return this.#names.get(id.toHex());
  }

  idOf(message: MessageName): Uint8Array | undefined {
    const hex = this.#ids.get(message);
    return hex === undefined ? undefined : Uint8Array.fromHex(hex);
  }

  after(ms: number, run: () => void): () => void {
    return this.scheduler.at(this.scheduler.now + ms, run);
  }
}
