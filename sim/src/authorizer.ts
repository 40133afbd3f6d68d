/** The application's word on who may write to whom: sometimes no, sometimes late, sometimes none at all. */
import type { Authorize } from "../../packages/server/src/delivery/authorize.ts";
import type { Plan } from "./plan.ts";
import type { Process } from "./scheduler.ts";
import type { World } from "./world.ts";

export class Authorizer {
  readonly #world: World;
  readonly #shares: Plan["authorizer"];
  readonly #forbidden = new Set<string>();
  isCalm = false;

  constructor(world: World, shares: Plan["authorizer"]) {
    this.#world = world;
    this.#shares = shares;
  }

  hasForbidden(from: string, to: string): boolean {
    return this.#forbidden.has(`${from} ${to}`);
  }

  /** As a server asks it. */
  for(process: Process): Authorize {
    const { random } = process;
    const { no, fails, slow } = this.#shares;
    return ({ user }, to) => {
      if (this.isCalm || no + fails + slow === 0) return true;
      const answer = this.#answer(user, to, process);
      if (!random.chance(slow)) return answer();
      return new Promise((resolve, reject) => {
        process.clock.after(random.int(1, 800), () => {
          try {
            resolve(answer());
          } catch (error) {
            reject(error);
          }
        });
      });
    };
  }

  #answer(from: string, to: string, { random }: Process): () => boolean {
    const { no, fails } = this.#shares;
    return () => {
      if (random.chance(fails)) throw new Error(`nobody can tell at ${this.#world.now}`);
      if (!random.chance(no)) return true;
      this.#forbidden.add(`${from} ${to}`);
      return false;
    };
  }
}
