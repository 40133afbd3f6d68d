/** A device's disk: what the SDK stores, slow, and atomic when the process dies in the middle. */
import type { Change, Storage, Stored } from "../../packages/client/src/storage.ts";
import type { Random } from "../../packages/cli/src/replay/xoshiro.ts";
import type { Process } from "./scheduler.ts";
import type { World } from "./world.ts";

export class Disk {
  readonly #world: World;
  readonly #random: Random;
  #values = new Map<string, Stored>();

  constructor(world: World, name: string) {
    this.#world = world;
    this.#random = world.random.fork(`disk ${name}`);
  }

  erase(): void {
    this.#values = new Map();
  }

  open(process: Process): Storage {
    const later = <T>(run: () => T): Promise<T> =>
      new Promise((resolve) => {
        this.#world.after(this.#random.int(0, 4), () => {
          if (!process.isAlive && this.#random.chance(0.5)) return;
          const result = run();
          process.input(this.#random.int(0, 4), () => resolve(result));
        });
      });
    return {
      read: () => later(() => [...this.#values].sort(([a], [b]) => (a < b ? -1 : 1))),
      write: (changes) => later(() => this.#apply(changes)),
      clear: () => later(() => this.erase()),
      close: () => Promise.resolve(),
    };
  }

  #apply(changes: readonly Change[]): void {
    for (const { key, value } of changes) {
      if (value === undefined) this.#values.delete(key);
      else this.#values.set(key, value);
    }
  }
}
