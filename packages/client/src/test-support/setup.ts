import type { Beckon } from "../beckon.ts";
import { connect } from "../client.ts";
import type { BeckonError } from "../errors.ts";
import type { Message } from "../message.ts";
import type { ConnectOptions } from "../options.ts";
import type { State } from "../state.ts";
import { FakeNetwork, type FakeServer } from "./fake-server.ts";
import { VirtualClock } from "./virtual-clock.ts";

/** A client among servers `a` and `b` on a clock that stands still; `a` is its seed. */
export interface Setup {
  readonly clock: VirtualClock;
  readonly network: FakeNetwork;
  readonly a: FakeServer;
  readonly b: FakeServer;
  /** Another client with the same options; what is recorded below is of all. */
  start(options?: Partial<ConnectOptions>): Beckon;
  readonly states: State[];
  readonly errors: BeckonError[];
}

export function setup(base: Partial<ConnectOptions> = {}): Setup {
  const clock = new VirtualClock();
  const network = new FakeNetwork(clock);
  const a = network.add("a");
  const b = network.add("b");
  const states: State[] = [];
  const errors: BeckonError[] = [];
  return {
    clock,
    network,
    a,
    b,
    states,
    errors,
    start(options = {}) {
      const beckon = connect({
        servers: ["ws://a"],
        token: () => "token",
        device: "phone",
        clock,
        random: seededRandom(),
        transports: { ws: network.dial },
        ...base,
        ...options,
      });
      beckon.on("state", (state) => states.push(state));
      beckon.on("error", (error) => errors.push(error));
      return beckon;
    },
  };
}

/** The same bytes in each run. */
export function seededRandom(seed = 1): (bytes: Uint8Array) => void {
  let state = seed;
  return (bytes) => {
    for (let i = 0; i < bytes.length; i++) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      bytes[i] = state >>> 24;
    }
  };
}

/** Takes messages by a handler. */
export function collect(beckon: Beckon): Message[] {
  const messages: Message[] = [];
  beckon.on("message", (message) => void messages.push(message));
  return messages;
}

/** What a message says of itself, in short: `n` and its marks. */
export function marks({ n, held, gap, late, redelivered }: Message): string {
  const names = [held && "held", gap && "gap", late && "late", redelivered && "redelivered"];
  return [n, ...names.filter((name) => name !== false)].join(" ");
}

/** What has become of a promise, without waiting for it. */
export function outcome<T>(promise: Promise<T>): { value?: T; error?: BeckonError } {
  const result: { value?: T; error?: BeckonError } = {};
  promise.then(
    (value) => (result.value = value),
    (error: BeckonError) => (result.error = error),
  );
  return result;
}
