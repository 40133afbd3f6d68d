import { expect } from "bun:test";

import { type Beckon, connect, type ConnectOptions, type Message } from "@beckon/client";

import { until } from "./until.ts";

/** A device that writes to its peer as fast as it is answered, and keeps what it gets. */
export class Talker {
  readonly peer: string;
  readonly beckon: Beckon;
  readonly got: Message[] = [];
  readonly sent: string[] = [];
  /** Names of the servers that it was welcomed by. */
  readonly places: string[] = [];
  /** Names of its states, in turn. */
  readonly states: string[] = [];
  readonly #user: string;
  #isTalking = true;
  #done: Promise<void> | undefined;

  constructor(user: string, peer: string, options: ConnectOptions) {
    this.#user = user;
    this.peer = peer;
    this.beckon = connect(options);
    this.beckon.on("message", (message) => void this.got.push(message));
    this.beckon.on("state", ({ name, server }) => {
      this.states.push(name);
      if (server !== undefined) this.places.push(server);
    });
  }

  /** Name of the server that it was welcomed by last; "": none yet. */
  get server(): string {
    return this.places.at(-1) ?? "";
  }

  talk(): void {
    this.#done = this.#talk();
  }

  async #talk(): Promise<void> {
    const unanswered: Promise<unknown>[] = [];
    while (this.#isTalking) {
      const text = `${this.#user} ${this.sent.length + 1}`;
      this.sent.push(text);
      unanswered.push(this.beckon.send(this.peer, text));
      if (unanswered.length === 4) await unanswered.shift();
    }
    await Promise.all(unanswered);
  }

  /** Resolves when all that it sent was acknowledged. */
  async quiet(): Promise<void> {
    this.#isTalking = false;
    await this.#done;
  }
}

/** Resolves when each has heard from its peer. Peers follow each other in the list. */
export async function talk(talkers: readonly Talker[]): Promise<void> {
  await until(() => talkers.every(({ server }) => server !== ""), "all to be connected");
  for (const talker of talkers) talker.talk();
  await until(() => talkers.every(({ got }) => got.length > 5), "all to hear from each other");
}

/** Everybody goes on for a while, then all that was said has arrived: once, in order, and nothing was missing meanwhile. */
export async function expectWhole(talkers: readonly Talker[]): Promise<void> {
  const before = talkers.map(({ got }) => got.length);
  await until(() => talkers.every(({ got }, at) => got.length > before[at]! + 20), "more messages");
  await Promise.all(talkers.map((talker) => talker.quiet()));
  for (const [at, { peer, got }] of talkers.entries()) {
    const { sent } = talkers[at ^ 1]!;
    await until(() => got.length >= sent.length, `all that ${peer} has sent`);
    const marked = got.filter(({ gap, late }) => gap || late);
    expect(marked.map((message) => ({ ...message, payload: message.text() }))).toEqual([]);
    expect(got.map((message) => message.text())).toEqual(sent);
  }
}
