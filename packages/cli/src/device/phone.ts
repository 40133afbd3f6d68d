/** A device whose screen is the terminal: the SDK while it is awake, an ear for pushes always. */
import { type Ack, type Beckon, type BeckonError, connect, type Message } from "@beckon/client";
import { file } from "@beckon/client/file";
import { memory, type Storage } from "@beckon/client/storage";
import { tcp } from "@beckon/client/tcp";
import { formatUuid, readFrames } from "@beckon/protocol";

import { within } from "../within.ts";
import { type Command, HELP, readCommand } from "./command.ts";
import type { System } from "./system.ts";

export interface PhoneParts {
  readonly user: string;
  readonly device: string;
  readonly system: System;
  readonly say: (line: string) => void;
  /** Keeps what must survive the process; undefined: nothing does. */
  readonly storage: string | undefined;
}

const NO_LIMITS = { messageBytes: Infinity, messageFrames: Infinity } as const;
/** Messages whose accepting server is remembered until they are shown. */
const REMEMBERED = 256;

export class TerminalPhone {
  readonly #parts: PhoneParts;
  /** The one that is open, or was last; a file is opened anew each time. */
  readonly #storage: () => Storage;
  readonly #deafen: () => void;
  /** By id: the server that accepted what has come in. */
  readonly #accepted = new Map<string, string>();
  readonly #unanswered = new Set<Promise<void>>();
  #client: Beckon | undefined;
  #closing: Promise<void> | undefined;
  /** A push that came while it slept. */
  #push: string | undefined;
  #to: string | undefined;
  #wasOnline = false;
  /** Why it did not connect, as it was said last. */
  #said: string | undefined;

  constructor(parts: PhoneParts) {
    this.#parts = parts;
    const { storage } = parts;
    const kept = memory();
    this.#storage = () => (storage === undefined ? kept : file(storage));
    this.#deafen =
      parts.system.listen?.(this.#pushToken, (body) => this.#pushed(body)) ?? (() => undefined);
  }

  /** Messages that were typed and are not acknowledged. */
  get unanswered(): number {
    return this.#unanswered.size;
  }

  /** Does what a line asks for. True: to end. */
  async take(line: string): Promise<boolean> {
    const command = readCommand(line, this.#to);
    if (command.kind === "quit") return true;
    await this.#do(command);
    return false;
  }

  async #do(command: Exclude<Command, { kind: "quit" }>): Promise<void> {
    const { say } = this.#parts;
    switch (command.kind) {
      case "send":
        this.#to = command.to;
        await this.#send(command.to, command.text);
        return;
      case "sleep":
        await this.#sleep();
        return;
      case "wake":
        await this.wake();
        return;
      case "where":
        say(this.#where());
        return;
      case "help":
        say(HELP);
        return;
      case "wrong":
        say(command.why);
        return;
      case "nothing":
    }
  }

  /** Opens the application for the first time: what the last run has left goes out now. */
  async start(): Promise<void> {
    const client = await this.#open();
    if (this.#parts.storage === undefined) return;
    const left = await client.outbox();
    if (left.length === 0) return;
    this.#parts.say(`left from the last run, and sent now: ${left.length}`);
    for (const { to, ack } of left) this.#await(to, ack);
  }

  /** Opens the application, with the push if there is one. */
  async wake(): Promise<void> {
    const client = await this.#open();
    const push = this.#push;
    this.#push = undefined;
    if (push !== undefined) void client.onWake(push);
  }

  /** Until all that was typed is acknowledged, or `ms` have passed. */
  answered(ms: number): Promise<void> {
    return within(ms, this.#allAnswered());
  }

  async #allAnswered(): Promise<void> {
    while (this.unanswered > 0) await Promise.all(this.#unanswered);
  }

  async close(): Promise<void> {
    this.#deafen();
    await this.#client?.close();
    await this.#closing;
  }

  get #pushToken(): string {
    return `${this.#parts.user}/${this.#parts.device}`;
  }

  async #open(): Promise<Beckon> {
    await this.#closing;
    return (this.#client ??= this.#connect());
  }

  #connect(): Beckon {
    const { device, system, say } = this.#parts;
    const client = connect({
      servers: system.servers,
      token: system.token,
      device,
      storage: this.#storage(),
      transports: { tcp: tcp() },
      ...(system.listen === undefined ? {} : { push: { provider: "dev", token: this.#pushToken } }),
      trace: (direction, bytes) => {
        if (direction === "down") this.#remember(bytes);
      },
    });
    client.on("state", ({ name, server, error }) => {
      if (this.#client !== undefined && this.#client !== client) return;
      if (name === "connected") say(`connected to ${server}`);
      else if (name === "waiting" && this.#wasOnline) say("connection lost; dialling again");
      else if (name === "waiting" && error !== undefined) this.#sayOnce(error);
      else if (name === "closed" && error !== undefined)
        say(`closed: ${error.message}: ${error.hint}`);
      this.#wasOnline = name === "connected";
      if (this.#wasOnline) this.#said = undefined;
    });
    client.on("message", (message) => say(this.#received(message)));
    client.on("error", (error) => say(`${error.message}: ${error.hint}`));
    return client;
  }

  /** Why it does not connect; it goes on trying. */
  #sayOnce({ message, hint }: BeckonError): void {
    if (message === this.#said) return;
    this.#said = message;
    this.#parts.say(`not connected, still trying: ${message}: ${hint}`);
  }

  async #sleep(): Promise<void> {
    const { system, say } = this.#parts;
    const client = this.#client;
    if (client === undefined) {
      say("asleep already");
      return;
    }
    this.#wasOnline = false;
    this.#client = undefined;
    this.#closing = client.close();
    await this.#closing;
    this.#closing = undefined;
    say(
      system.listen === undefined
        ? "asleep; /wake opens it again"
        : "asleep; a push will say so, and /wake opens with it",
    );
  }

  #pushed(body: string): void {
    if (this.#client !== undefined) {
      void this.#client.onWake(body);
      return;
    }
    this.#push = body;
    this.#parts.say("a push has come: something waits for you; /wake opens it");
  }

  async #send(to: string, text: string): Promise<void> {
    const client = await this.#open();
    this.#await(to, client.send(to, text, { preview: text }));
  }

  #await(to: string, ack: Promise<Ack>): void {
    const began = performance.now();
    const answer = ack.then(
      (ack) => this.#parts.say(`  ${to}: ${acknowledged(ack, performance.now() - began)}`),
      (error: Error) => this.#parts.say(`  ${to}: not sent: ${error.message}`),
    );
    this.#unanswered.add(answer);
    void answer.then(() => this.#unanswered.delete(answer));
  }

  #where(): string {
    const client = this.#client;
    if (client === undefined) return "asleep";
    const { name, server } = client.state;
    return server === undefined ? name : `connected to ${server}`;
  }

  #remember(bytes: Uint8Array): void {
    readFrames(bytes, NO_LIMITS, (frame) => {
      if (frame.type !== "deliver") return;
      this.#accepted.set(formatUuid(frame.id), frame.server);
      for (const oldest of this.#accepted.keys()) {
        if (this.#accepted.size <= REMEMBERED) break;
        this.#accepted.delete(oldest);
      }
    });
  }

  #received(message: Message): string {
    const { id, from, to, server, held } = message;
    const accepted = this.#accepted.get(id) ?? "";
    this.#accepted.delete(id);
    const route =
      accepted === server ? `local at ${server}` : `crossed from ${accepted} to ${server}`;
    const copy = to === this.#parts.user ? "" : ` to ${to}`;
    return `${from}${copy}: ${message.text()}   (${held ? "from the store" : "live"}, ${route})`;
  }
}

function acknowledged({ status, route, server }: Ack, ms: number): string {
  const took = `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  return status === "held"
    ? `held by ${server}, ${took}; stored until a device of theirs has it`
    : `delivered, ${route}, by ${server}, ${took}`;
}
