/** Devices that are asleep are written to, and woken: the load sends, is the push service, and is the device that connects. */
import { uuidv7 } from "@beckon/protocol";
import type { SendFrame } from "@beckon/protocol";

import { cpuMicros } from "../proc.ts";
import { BeckonDevice, byToken } from "./beckon.ts";
import { fail } from "./fail.ts";
import { inParallel } from "./parallel.ts";
import type { Latency, Sleeper, WakeResult, WakeTask } from "./task.ts";

/** Connections that send; each may have a window of SENDs unanswered. */
const SENDERS = 64;
/** How long what is under way may take when nothing more is sent, ms. */
const LAST = 20_000;
const LOOK = 20;
/** From one look at what is due to be sent to the next, ms. */
const TICK = 1;

export async function wakeLoad(task: WakeTask): Promise<WakeResult> {
  const service = new Service(task.push);
  const senders = await Promise.all(
    Array.from({ length: SENDERS }, (_, at) => Sender.connect(task, `sender-${at}`)),
  );
  const hold = await phase(task, "hold", 1, senders, service);
  const wake = await phase(task, "wake", 1, senders, service);
  const coalesce = await phase(task, "coalesce", task.coalesced, senders, service);
  const hello = await wakeUp(task);
  service.close();
  return {
    wake: latencyOf(wake.latencies),
    coalesce: latencyOf(coalesce.latencies),
    hello: latencyOf(hello),
    micros: { hold: hold.micros, wake: wake.micros, coalesce: coalesce.micros },
    serverShare: wake.serverShare,
    loadShare: wake.loadShare,
    perSecond: wake.perSecond,
    repeated: service.repeated,
  };
}

/** Takes every push, and knows when the first for each token came. */
class Service {
  readonly cameAt = new Map<string, number>();
  repeated = 0;
  readonly #server: Bun.Server<undefined>;

  constructor(port: number) {
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port,
      fetch: async (request) => {
        const { items } = (await request.json()) as { items: { token: string }[] };
        const now = performance.now();
        for (const { token } of items) {
          if (this.cameAt.has(token)) this.repeated++;
          else this.cameAt.set(token, now);
        }
        return Response.json({ outcomes: items.map(() => ({ kind: "sent" })) });
      },
    });
  }

  close(): void {
    void this.#server.stop(true);
  }
}

class Sender {
  answered = 0;
  sent = 0;
  readonly #device: BeckonDevice;
  readonly #payload: Uint8Array;

  private constructor(device: BeckonDevice, payload: number) {
    this.#device = device;
    this.#payload = new Uint8Array(payload).fill(0x61);
  }

  static async connect({ port, payload }: WakeTask, user: string): Promise<Sender> {
    const { device } = await BeckonDevice.connect(port, user, byToken(user));
    const sender = new Sender(device, payload);
    device.listen(
      (frame) => {
        if (frame.type !== "ack" || frame.status !== "held") {
          fail(`${user} got ${JSON.stringify(frame)}`);
        }
        sender.answered += frame.count;
      },
      () => undefined,
    );
    return sender;
  }

  /** `n`: of its messages to this recipient. */
  write(to: string, n: number, wake: SendFrame["wake"]): void {
    const id = uuidv7(Date.now(), (bytes) => crypto.getRandomValues(bytes));
    const payload = this.#payload;
    const content = { payload, wake, preview: "", ends: new Uint8Array() };
    this.#device.write({ type: "send", id, to, n, prev: n - 1, ...content });
    this.sent++;
  }

  flush(): void {
    this.#device.flush();
  }
}

interface Phase {
  /** Of each wake, ms. */
  readonly latencies: readonly number[];
  /** CPU of the server for a message. */
  readonly micros: number;
  readonly serverShare: number;
  readonly loadShare: number;
  readonly perSecond: number;
}

/** Sends at the pace, whatever the server does: `each` messages to one device, then to the next. */
async function phase(
  task: WakeTask,
  kind: Sleeper,
  each: number,
  senders: readonly Sender[],
  service: Service,
): Promise<Phase> {
  const { rate, warmup, seconds, pid } = task;
  const wake = kind === "hold" ? "none" : "message";
  const all = Math.floor(rate * (warmup + seconds));
  const first = Math.ceil((rate * warmup) / each);
  const sentAt: number[] = [];
  let begun = reading(pid);
  let sent = 0;
  const send = async (until: number): Promise<void> => {
    const [start, before] = [performance.now(), sent];
    while (sent < until) {
      const due = before + Math.floor(((performance.now() - start) * rate) / 1000);
      for (const end = Math.min(until, due); sent < end;) sent += burst(end - sent);
      await Bun.sleep(TICK);
    }
  };
  /** What goes to one device goes from one sender, as one message of the transport. */
  const burst = (most: number): number => {
    const device = Math.floor(sent / each);
    const sender = senders[device % senders.length]!;
    const count = Math.min(most, each - (sent % each));
    const now = performance.now();
    for (let at = 0; at < count; at++) {
      const n = ((sent + at) % each) + 1;
      if (n === 1) sentAt[device] = now;
      sender.write(`${kind}-${device}`, n, wake);
    }
    sender.flush();
    return count;
  };

  await send(all - Math.floor(rate * seconds));
  begun = reading(pid);
  const before = sent;
  await send(all);
  const took = performance.now() - begun.at;
  const isSettled = (): boolean =>
    senders.every(({ sent, answered }) => sent === answered) &&
    (kind === "hold" || sentAt.every((_, device) => service.cameAt.has(`${kind}-${device}`)));
  for (const deadline = performance.now() + LAST; !isSettled(); await Bun.sleep(LOOK)) {
    if (performance.now() > deadline)
      throw new Error(`${kind}: not all was answered, or woken for`);
  }
  const end = reading(pid);
  return {
    latencies:
      kind === "hold"
        ? []
        : sentAt.map((at, device) => service.cameAt.get(`${kind}-${device}`)! - at).slice(first),
    micros: (end.server - begun.server) / (sent - before),
    serverShare: (end.server - begun.server) / (1000 * (end.at - begun.at)),
    loadShare: (end.load - begun.load) / (1000 * (end.at - begun.at)),
    perSecond: ((sent - before) * 1000) / took,
  };
}

/** Devices connect at a pace: how long each waits for what is held. */
async function wakeUp({ port, connects, connectRate }: WakeTask): Promise<number[]> {
  const start = performance.now();
  return inParallel(connects, async (index) => {
    await Bun.sleep(Math.max(0, start + (index * 1000) / connectRate - performance.now()));
    const delivered = Promise.withResolvers<number>();
    const { device } = await BeckonDevice.connect(
      port,
      `wake-${index}`,
      byToken(`wake-${index}`),
      (frame) => {
        if (frame.type === "deliver") delivered.resolve(performance.now());
      },
    );
    const ms = (await delivered.promise) - device.helloAt;
    device.write({ type: "received", ranges: [1, 1] });
    device.flush();
    return ms;
  });
}

function reading(pid: number): { at: number; server: number; load: number } {
  return { at: performance.now(), server: cpuMicros(pid), load: cpuMicros(process.pid) };
}

function latencyOf(values: readonly number[]): Latency {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor((sorted.length - 1) * share)] ?? 0;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
