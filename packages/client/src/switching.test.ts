/** Whatever comes between: moves, drains, connections that break or are replaced, while messages go both ways. */
import { expect, test } from "bun:test";

import * as fc from "fast-check";

import { memory } from "./storage.ts";
import { accept } from "./test-support/accepting.ts";
import type { FakeConnection, FakeServer } from "./test-support/fake-server.ts";
import { collect, outcome, seededRandom, type Setup, setup } from "./test-support/setup.ts";
import type { Dial } from "./transport.ts";

/** How a server takes a HELLO; `late`: when the device has given it up. Once all are used up, each is welcomed. */
type Greeting = "welcome" | "slow" | "late" | "full" | "redirect" | "broken";

interface Step {
  readonly after: number;
  readonly what: "send" | "deliver" | "move" | "drain" | "lost" | "refusing" | "up";
}

interface Story {
  readonly steps: readonly Step[];
  readonly greetings: readonly Greeting[];
  /** How long each SEND waits for its ACK, in turn. */
  readonly answers: readonly number[];
  /** Until the server that a device was on knows that it is elsewhere, after WELCOME; less than 0: before it. */
  readonly lag: number;
  readonly stored: boolean;
}

const story: fc.Arbitrary<Story> = fc.record({
  steps: fc.array(
    fc.record({
      after: fc.oneof(fc.constantFrom(0, 1, 2, 3), fc.nat(400), fc.nat(15_000)),
      what: fc.oneof(
        { weight: 4, arbitrary: fc.constantFrom("send" as const, "deliver" as const) },
        { weight: 3, arbitrary: fc.constant("move" as const) },
        { weight: 2, arbitrary: fc.constantFrom("drain" as const, "lost" as const) },
        { weight: 1, arbitrary: fc.constantFrom("refusing" as const, "up" as const) },
      ),
    }),
    { maxLength: 40 },
  ),
  // More than one that is late could be taken for another instance of the device.
  greetings: fc
    .array(
      fc.constantFrom<Greeting>("welcome", "welcome", "slow", "late", "full", "redirect", "broken"),
      {
        maxLength: 8,
      },
    )
    .map((all) =>
      all.map((each, i) => (each === "late" && all.indexOf("late") < i ? "slow" : each)),
    ),
  answers: fc.array(fc.constantFrom(0, 5, 300, 2_500), { minLength: 1, maxLength: 5 }),
  lag: fc.constantFrom(-300, -1, 0, 1, 2, 30),
  stored: fc.boolean(),
});

/** Two servers that are one system: the later connection of the device replaces the one before it, and what it has not acknowledged is held. */
class System {
  readonly all: Setup;
  readonly taken: ReturnType<typeof accept>;
  /** The newest that was welcomed. */
  live: FakeConnection | undefined;
  delivered = 0;
  connections = 0;
  mostConnections = 0;
  readonly #story: Story;
  #greetings = 0;
  #answers = 0;
  /** By connection, what each DELIVER carried. */
  readonly #carried = new Map<FakeConnection, number[]>();

  constructor(told: Story) {
    this.#story = told;
    this.all = setup(told.stored ? { storage: memory() } : { durable: true });
    const { a, b, clock } = this.all;
    for (const server of [a, b]) {
      const { ack } = server;
      server.ack = (connection, send) => {
        const { answers } = this.#story;
        const wait = answers[this.#answers++ % answers.length]!;
        clock.after(wait, () => ack.call(server, connection, send));
      };
      server.onHello = (connection) => this.#greet(connection);
    }
    this.taken = accept([a, b], () => undefined);
  }

  readonly dial: Dial = (address, handler) => {
    let open = true;
    this.mostConnections = Math.max(this.mostConnections, ++this.connections);
    const end = (): void => {
      if (open) this.connections--;
      open = false;
    };
    const transport = this.all.network.dial(address, {
      ...handler,
      closed: (code, reason) => {
        end();
        handler.closed(code, reason);
      },
    });
    return {
      ...transport,
      close: () => {
        end();
        transport.close();
      },
    };
  };

  other(server: FakeServer): FakeServer {
    return server === this.all.a ? this.all.b : this.all.a;
  }

  deliver(): void {
    this.delivered++;
    if (this.live?.open) this.#give(this.live, this.delivered, false);
  }

  #greet(connection: FakeConnection): void {
    const { clock } = this.all;
    const { server } = connection;
    switch (this.#story.greetings[this.#greetings++]) {
      case "slow":
        clock.after(700, () => this.#welcome(connection));
        return;
      case "late":
        clock.after(12_000, () => this.#welcome(connection));
        return;
      case "full":
        connection.refuse("full");
        return;
      case "redirect":
        connection.write({ type: "redirect", server: this.other(server).addresses, reason: "" });
        return;
      case "broken":
        connection.close(1006);
        return;
      default:
        this.#welcome(connection);
    }
  }

  #welcome(connection: FakeConnection): void {
    const { clock } = this.all;
    const { lag } = this.#story;
    const before = this.live;
    clock.after(Math.max(0, lag), () => before?.refuse("replaced"));
    clock.after(Math.max(0, -lag), () => {
      // Another one was faster.
      if (this.live !== before) this.live?.refuse("replaced");
      this.live = connection;
      connection.welcome();
      for (let n = 1; n <= this.delivered; n++) {
        if (!this.#isAcknowledged(n)) this.#give(connection, n, true);
      }
    });
  }

  #give(connection: FakeConnection, n: number, held: boolean): void {
    const carried = this.#carried.get(connection) ?? [];
    this.#carried.set(connection, [...carried, n]);
    connection.deliver({ n, held, redelivered: held });
  }

  #isAcknowledged(n: number): boolean {
    return [...this.#carried].some(([{ received }, carried]) =>
      received.some((number) => carried[number - 1] === n),
    );
  }
}

function tell(told: Story): void {
  const system = new System(told);
  const { clock, a, b, states, start } = system.all;
  const beckon = start({
    transports: { ws: system.dial },
    random: seededRandom(told.steps.length),
  });
  const messages = collect(beckon);
  const results: ReturnType<typeof outcome>[] = [];
  clock.run(20);
  for (const { after, what } of told.steps) {
    clock.run(after);
    const { live } = system;
    const server = live?.server ?? a;
    const target = system.other(server);
    if (what === "send") results.push(outcome(beckon.send("bob", String(results.length))));
    if (what === "deliver") system.deliver();
    if (what === "move") live?.write({ type: "move", server: target.addresses, reason: "" });
    if (what === "drain") live?.write({ type: "drain", within: 500, servers: [target.addresses] });
    if (what === "lost") live?.close(1006);
    if (what === "refusing") target.state = "refuses";
    if (what === "up") a.state = b.state = "up";
  }
  a.state = b.state = "up";
  clock.run(4 * 60_000);
  expect(states.at(-1)!.name).toBe("connected");
  expect(states.map(({ name }) => name)).not.toContain("closed");
  expect(results.map(({ value, error }) => value !== undefined && error === undefined)).toEqual(
    results.map(() => true),
  );
  const text = new TextDecoder();
  expect(system.taken.map(({ payload }) => text.decode(payload))).toEqual(
    results.map((_, i) => String(i)),
  );
  const numbers = Array.from({ length: system.delivered }, (_, i) => i + 1);
  expect(messages.map(({ n, gap, late }) => [n, gap, late])).toEqual(
    numbers.map((n) => [n, false, false]),
  );
  expect(system.mostConnections).toBeLessThanOrEqual(2);
  expect([...a.connections, ...b.connections].filter(({ open }) => open)).toHaveLength(1);
}

test("L1, L2, L3, B2: every SEND is answered once, every DELIVER handed over once, in order, and the device ends connected", () => {
  fc.assert(fc.property(story, tell), { numRuns: Number(process.env["SWITCHING_RUNS"] ?? 400) });
}, 60_000);
