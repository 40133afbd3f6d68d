/** A real server on loopback over a store in memory, and devices that speak frames to it. */
import { CLOSE, SUBPROTOCOL, encodeFrames, LIMITS, readFrames, uuidv7 } from "@beckon/protocol";
import type { Frame, HelloFrame, SendFrame, UnknownFrame } from "@beckon/protocol";

import { createMemoryBus } from "../../cluster/memory-bus.ts";
import { systemClock } from "../../lib/clock.ts";
import type { PushItem } from "../../push/provider.ts";
import { startServer } from "../../server.ts";
import type { Server } from "../../server.ts";
import { createMemoryDatabase } from "../../store/memory.ts";
import type { MemoryHandle } from "../../store/memory.ts";
import { BadToken } from "../identity.ts";

const KEY = new Uint8Array(32).fill(7);

export interface Served {
  readonly server: Server;
  readonly store: MemoryHandle;
  /** Tokens that were pushed to. */
  readonly pushed: string[];
  /** By HTTP, as `user`, or `user/device` where the token is for that device alone. */
  ask(
    method: string,
    body: unknown,
    more?: {
      readonly as?: string;
      readonly path?: string;
      readonly headers?: Readonly<Record<string, string>>;
    },
  ): Promise<Response>;
  device(user: string, hello?: Partial<HelloFrame>): Promise<ServedDevice>;
  close(): void;
}

/** What the registration of a device says. */
export function registrationBody(device: string, token: string): Record<string, unknown> {
  return { device, provider: "dev", token, key: { id: 1, key: KEY.toBase64() } };
}

/** `fault`: what the push service finds wrong with each token. */
export function serve(fault?: (token: string) => string | undefined): Served {
  const store = createMemoryDatabase(systemClock).open();
  const pushed: string[] = [];
  const server = startServer({
    name: "s1",
    listen: { hostname: "127.0.0.1", port: 0 },
    bus: createMemoryBus({ clock: systemClock }).connect(),
    store,
    authenticate: async (token) => {
      const [user, device] = token.split("/");
      if (user === undefined || !/^[a-z]+$/.test(user)) throw new BadToken("bad-token", "not one");
      return { user, device, expires: Infinity, mayWriteTo: undefined };
    },
    authorize: () => true,
    clusterKey: new Uint8Array(32),
    providers: [
      {
        name: "dev",
        ...(fault && { fault }),
        send: (items: readonly PushItem[]) => {
          for (const { token } of items) pushed.push(token);
          return Promise.resolve(items.map(() => ({ kind: "sent" }) as const));
        },
        close: () => Promise.resolve(),
      },
    ],
  });
  const devices: ServedDevice[] = [];
  return {
    server,
    store,
    pushed,
    ask: (method, body, { as = "bob", path = "/v1/push", headers = {} } = {}) =>
      fetch(`${server.url.replace(/^ws/, "http")}${path}`, {
        method,
        headers: { authorization: `Bearer ${as}`, ...headers },
        ...(body === undefined
          ? {}
          : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      }),
    async device(user, hello = {}) {
      const device = new ServedDevice(server.url, user, hello);
      devices.push(device);
      await device.frame("welcome");
      return device;
    },
    close() {
      for (const device of devices) device.end();
      server.kill();
    },
  };
}

export class ServedDevice {
  readonly frames: (Frame | UnknownFrame)[] = [];
  /** The close code. */
  readonly closed: Promise<number>;
  readonly #socket: WebSocket;
  #n = 0;

  constructor(url: string, user: string, hello: Partial<HelloFrame>) {
    const socket = new WebSocket(url, [SUBPROTOCOL]);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", () => this.write({ ...HELLO, token: user, ...hello }));
    socket.addEventListener("message", ({ data }: MessageEvent<ArrayBuffer>) =>
      readFrames(new Uint8Array(data), LIMITS, (frame) => void this.frames.push(frame)),
    );
    this.closed = new Promise((resolve) => {
      socket.addEventListener("close", ({ code }) => resolve(code));
    });
  }

  write(...frames: Frame[]): void {
    this.#socket.send(encodeFrames(frames));
  }

  /** Resolves with the SEND's answer. */
  async send(to: string, wake: SendFrame["wake"] = "message"): Promise<Frame> {
    const id = uuidv7(Date.now(), (bytes) => void crypto.getRandomValues(bytes));
    const n = ++this.#n;
    const payload = new Uint8Array(1);
    const content = { payload, wake, preview: "", ends: new Uint8Array() };
    this.write({ type: "send", id, to, n, prev: n - 1, ...content });
    const answered = (): Frame[] => this.frames.filter(({ type }) => type === "ack") as Frame[];
    await until(() => answered().length >= n);
    return answered()[n - 1]!;
  }

  /** The last one of its kind, when there is one. */
  async frame<T extends Frame["type"]>(type: T): Promise<Extract<Frame, { type: T }>> {
    const find = (): unknown => this.frames.findLast((frame) => frame.type === type);
    await until(() => find() !== undefined);
    return find() as Extract<Frame, { type: T }>;
  }

  /** Goes, and the server knows it. */
  async leave(): Promise<void> {
    this.write({ type: "bye" });
    await this.closed;
  }

  end(): void {
    this.#socket.close(CLOSE.bye);
  }
}

export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error("it did not come about");
    await Bun.sleep(5);
  }
}

const HELLO: Omit<HelloFrame, "token"> = {
  type: "hello",
  ticket: new Uint8Array(0),
  device: "phone",
  durable: true,
  protocols: ["ws"],
  epoch: 0,
  outbox: 1,
  hinted: "",
  intent: "",
  noRedirect: false,
  noCopies: true,
  client: "test",
  capabilities: 0,
  background: false,
};
