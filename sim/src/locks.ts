/** Locks by name, each held by one and waited for in order. */
export interface Taking {
  /** The first of them is held. */
  first(): void;
  all(): void;
}

export class Locks<Owner extends object> {
  readonly #holders = new Map<string, Owner>();
  readonly #queues = new Map<string, { readonly owner: Owner; readonly go: () => void }[]>();
  readonly #held = new Map<Owner, string[]>();

  /** One after the other; `taking.all` is called within the call where all are free. Nothing more is called after `release`. */
  take(owner: Owner, names: readonly string[], taking: Taking): void {
    const held: string[] = [];
    this.#held.set(owner, held);
    const next = (): void => {
      const name = names[held.length];
      if (name === undefined) {
        taking.all();
        return;
      }
      const go = (): void => {
        this.#holders.set(name, owner);
        held.push(name);
        if (held.length === 1) taking.first();
        next();
      };
      if (!this.#holders.has(name)) go();
      else this.#queues.set(name, [...(this.#queues.get(name) ?? []), { owner, go }]);
    };
    next();
  }

  release(owner: Owner): void {
    const held = this.#held.get(owner) ?? [];
    this.#held.delete(owner);
    for (const [name, queue] of this.#queues) {
      this.#queues.set(
        name,
        queue.filter((one) => one.owner !== owner),
      );
    }
    for (const name of held) {
      this.#holders.delete(name);
      this.#queues.get(name)?.shift()?.go();
    }
  }
}
