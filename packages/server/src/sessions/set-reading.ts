export interface SetBatch {
  readonly users: readonly string[];
  /** The pass that it belongs to. */
  readonly pass: number;
}

/**
 * Which users' sets are to be read from the store again, because an announcement may have been missed: all that have a session here
 * (a pass), and those whose session is opened shortly afterwards, with a set that may have been read before. One batch at a time.
 */
export class SetReading {
  readonly #ownUsers: () => Iterable<string>;
  #pass = 0;
  /** What of the pass is still to come. Users that come while it runs are among them. */
  #users: Iterator<string> | undefined;
  #failed: readonly string[] = [];
  readonly #extra = new Set<string>();
  #isDone = true;

  constructor(ownUsers: () => Iterable<string>) {
    this.#ownUsers = ownUsers;
  }

  /** Every user of the last pass has been read. */
  get isDone(): boolean {
    return this.#isDone;
  }

  begin(): void {
    this.#pass++;
    this.#users = this.#ownUsers()[Symbol.iterator]();
    this.#failed = [];
    this.#extra.clear();
    this.#isDone = false;
  }

  add(user: string): void {
    this.#extra.add(user);
  }

  /** The next users to read; undefined: none for now. */
  next(limit: number): SetBatch | undefined {
    const users = this.#failed.slice(0, limit);
    this.#failed = this.#failed.slice(limit);
    while (this.#users !== undefined && users.length < limit) {
      const next = this.#users.next();
      if (next.done === true) this.#users = undefined;
      else users.push(next.value);
    }
    if (users.length === 0) this.#isDone = true;
    for (const user of this.#extra) {
      if (users.length >= limit) break;
      this.#extra.delete(user);
      users.push(user);
    }
    return users.length > 0 ? { users, pass: this.#pass } : undefined;
  }

  /** The batch could not be read; after a new pass began, that has its users. */
  failed({ users, pass }: SetBatch): void {
    if (pass === this.#pass) this.#failed = [...this.#failed, ...users];
  }
}
