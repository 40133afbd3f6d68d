/** Servers move devices as they write to each other: real servers, with the SDK. */
import { afterEach, expect, setDefaultTimeout, test } from "bun:test";

import { type Beckon, connect, type Message } from "@beckon/client";

import { ruleOf } from "../packages/server/src/placement/rule.ts";
import { startSystem, type System } from "./support/system.ts";
import { until } from "./support/until.ts";

setDefaultTimeout(60_000);

const DEVICES = 6;
/** Moves after which it is enough. */
const ENOUGH = 15;
const DAY_MS = 86_400_000;

const writers: Writer[] = [];
let system: System | undefined;
afterEach(async () => {
  await Promise.all(writers.splice(0).map(({ beckon }) => beckon.close()));
  await system?.stop();
  system = undefined;
});

/** Writes to one peer, and then to another, as fast as it is answered. */
class Writer {
  readonly beckon: Beckon;
  readonly got: Message[] = [];
  /** By peer. */
  readonly sent = new Map<string, string[]>();
  readonly states: string[] = [];
  readonly #user: string;
  #peer = "";
  #writing = Promise.resolve();

  constructor(user: string, url: string, token: string) {
    this.#user = user;
    this.beckon = connect({ servers: [url], token: () => token, device: "phone", durable: true });
    this.beckon.on("message", (message) => void this.got.push(message));
    this.beckon.on("state", ({ name }) => void this.states.push(name));
  }

  /** "": to nobody any more. */
  async writeTo(peer: string): Promise<void> {
    this.#peer = "";
    await this.#writing;
    this.#peer = peer;
    if (peer !== "") this.#writing = this.#write(peer);
  }

  async #write(peer: string): Promise<void> {
    const sent = this.sent.get(peer) ?? [];
    this.sent.set(peer, sent);
    const unanswered: Promise<unknown>[] = [];
    while (this.#peer === peer) {
      const text = `${this.#user} ${sent.length + 1}`;
      sent.push(text);
      unanswered.push(this.beckon.send(peer, text));
      if (unanswered.length === 4) await unanswered.shift();
    }
    await Promise.all(unanswered);
  }
}

/** In turn with each of the five others. */
function peerOf(at: number, round: number): number {
  const last = DEVICES - 1;
  if (at === last) return (round * 3) % last;
  const peer = (((round - at) % last) + last) % last;
  return peer === at ? last : peer;
}

test("B2: devices that are moved to and fro as they talk lose nothing, and get nothing twice or out of order (L1, L2, L3)", async () => {
  let passed = 0;
  // Four seats a server, so that of any two one can go to the other; no rest; and what was talked of days ago counts for little.
  const rule = { ...ruleOf(1), least: 4, pressure: 0, restMs: 0 };
  const now = (): number => Date.now() + passed;
  system = await startSystem(3, { placement: { rule, moves: true, now } });
  const { servers } = system;
  const users = Array.from({ length: DEVICES }, (_, at) => `user-${at}`);
  for (const [at, user] of users.entries()) {
    writers.push(new Writer(user, servers[at % 3]!.url, await system.token(user)));
  }
  await until(() => writers.every(({ states }) => states.includes("connected")), "all to be there");
  const moved = (): number => servers.reduce((sum, { node }) => sum + node.placement!.moved, 0);
  for (let round = 0; moved() < ENOUGH; round++) {
    passed += 3 * DAY_MS;
    const before = moved();
    const heard = writers.map(({ got }) => got.length);
    await Promise.all(writers.map((writer, at) => writer.writeTo(users[peerOf(at, round)]!)));
    const haveHeard = (more: number): boolean =>
      writers.every(({ got }, at) => got.length >= heard[at]! + more);
    // Pairs who are together already stay.
    await until(
      () => haveHeard(50) && (moved() > before || haveHeard(1_000)),
      "all to hear from each other",
    );
  }
  await Promise.all(writers.map((writer) => writer.writeTo("")));
  for (const [at, { got }] of writers.entries()) {
    const user = users[at]!;
    const sent = writers.map((writer) => writer.sent.get(user) ?? []);
    const count = sent.reduce((sum, { length }) => sum + length, 0);
    await until(() => got.length >= count, `${user} to have all`);
    expect(got.filter(({ gap, late }) => gap || late)).toEqual([]);
    for (const [from, texts] of sent.entries()) {
      const heard = got.filter((message) => message.from === users[from]);
      expect(heard.map((message) => message.text())).toEqual(texts);
    }
  }
  const asked = servers.reduce((sum, { node }) => sum + node.placement!.moves, 0);
  expect(asked).toBeGreaterThanOrEqual(ENOUGH);
  for (const { states } of writers)
    expect(new Set(states)).toEqual(new Set(["connecting", "connected"]));
});
