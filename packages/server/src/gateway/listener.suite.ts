/** What every listener owes the gateway, whatever the protocol is. */
import { afterEach, describe, expect, test } from "bun:test";

import { encodeFrames, LIMITS, type ProtocolError, readFrames } from "@beckon/protocol";
import type { Frame, MessageLimits, UnknownFrame } from "@beckon/protocol";

import type { Listener, ListenerOptions } from "./listener.ts";
import type { Socket, SocketHandler } from "./socket.ts";

/** A device's end, as simple as it can be. */
export interface RawDevice {
  write(bytes: Uint8Array): void;
  /** All that has come. */
  heard(): Uint8Array;
  /** Its own end. */
  close(): void;
  readonly closed: Promise<void>;
}

/** A connection as the listener's user has it. */
export interface Accepted extends SocketHandler {
  limits: MessageLimits;
  readonly socket: Socket;
  readonly frames: (Frame | UnknownFrame)[];
  readonly messages: Uint8Array[];
  readonly errors: ProtocolError[];
  drains: number;
  ends: number;
}

export function acceptor(): { accept: ListenerOptions["accept"]; readonly all: Accepted[] } {
  const all: Accepted[] = [];
  return {
    all,
    accept(socket) {
      const one: Accepted = {
        socket,
        limits: LIMITS,
        frames: [],
        messages: [],
        errors: [],
        drains: 0,
        ends: 0,
        message(bytes) {
          one.messages.push(bytes);
          readFrames(bytes, LIMITS, (frame) => void one.frames.push(frame));
        },
        malformed: (error) => void one.errors.push(error),
        drained: () => void one.drains++,
        closed: () => void one.ends++,
      };
      all.push(one);
      return one;
    },
  };
}

export async function until(holds: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`waited 5 s for ${what}`);
    await Bun.sleep(5);
  }
}

const PING: Frame = { type: "ping" };
const BYE: Frame = { type: "bye" };
const frame = (token: string): Frame => ({ type: "auth", token });
const tokens = (frames: readonly (Frame | UnknownFrame)[]): string[] =>
  frames.map((one) => (one.type === "auth" ? one.token : one.type));

export function describeListener(
  name: string,
  listen: (
    options: Pick<ListenerOptions, "accept" | "maxBufferedBytes"> & { readonly port?: number },
  ) => Listener,
  dial: (url: string) => Promise<RawDevice>,
): void {
  const listeners: Listener[] = [];
  afterEach(() => listeners.splice(0).forEach((listener) => listener.kill()));

  function start(maxBufferedBytes = 8 * 1024 * 1024) {
    const { accept, all } = acceptor();
    const listener = listen({ accept, maxBufferedBytes });
    listeners.push(listener);
    return { listener, all };
  }

  async function connected(of: ReturnType<typeof start>) {
    const before = of.all.length;
    const device = await dial(of.listener.url);
    await until(() => of.all.length > before, "the connection to be accepted");
    return { device, accepted: of.all.at(-1)! };
  }

  describe(name, () => {
    test("what a device writes comes in its order, and says where it is", async () => {
      const { device, accepted } = await connected(start());
      const sent = Array.from({ length: 300 }, (_, i) => frame(`${i}`.padEnd(i, ".")));
      for (const one of sent) device.write(encodeFrames([one]));
      device.write(encodeFrames([PING, BYE]));
      await until(() => accepted.frames.length === 302, "all frames");
      expect(tokens(accepted.frames)).toEqual([...tokens(sent), "ping", "bye"]);
      expect(accepted.socket.remote).toBe("127.0.0.1");
      expect(accepted.errors).toEqual([]);
    });

    test("what is sent is copied, and comes in its order", async () => {
      const { device, accepted } = await connected(start());
      const bytes = encodeFrames([frame("one")]).slice();
      const expected: number[] = [];
      for (let i = 0; i < 200; i++) {
        expected.push(...bytes);
        expect(accepted.socket.send(bytes)).toBe(true);
        bytes[bytes.length - 1] = 97 + (i % 26);
      }
      await until(() => device.heard().length === expected.length, "all bytes");
      expect([...device.heard()]).toEqual(expected);
    });

    test("the end comes after what was sent before it, also while the device writes; it is told once", async () => {
      const { device, accepted } = await connected(start());
      const large = new Uint8Array(2 * 1024 * 1024).fill(7);
      for (let i = 0; i < 20; i++) device.write(encodeFrames([frame("x".repeat(1_000))]));
      expect(accepted.socket.send(large)).toBe(true);
      accepted.socket.close(4002, "silent");
      accepted.socket.close(4002, "silent");
      for (let i = 0; i < 20; i++) device.write(encodeFrames([frame("x".repeat(1_000))]));
      await device.closed;
      expect(device.heard().length).toBe(large.length);
      await until(() => accepted.ends > 0, "its end");
      expect(accepted.ends).toBe(1);
    });

    test("a device that goes is told once", async () => {
      const { device, accepted } = await connected(start());
      device.close();
      await until(() => accepted.ends > 0, "its end");
      await device.closed;
      expect(accepted.ends).toBe(1);
    });

    test("a reset ends it at once", async () => {
      const { device, accepted } = await connected(start());
      accepted.socket.terminate();
      await device.closed;
      await until(() => accepted.ends === 1, "its end");
    });

    test("a closed listener takes nobody, and those who are there stay", async () => {
      const of = start();
      const { device, accepted } = await connected(of);
      of.listener.close();
      const late = await dial(of.listener.url).catch(() => undefined);
      await late?.closed;
      expect(of.all).toHaveLength(1);
      device.write(encodeFrames([PING]));
      await until(() => accepted.frames.length === 1, "a frame");
      accepted.socket.send(encodeFrames([BYE]));
      await until(() => device.heard().length > 0, "an answer");
    });

    test("one that is killed tells nobody here, and resets all", async () => {
      const of = start();
      const { device, accepted } = await connected(of);
      const other = await connected(of);
      of.listener.kill();
      await Promise.all([device.closed, other.device.closed]);
      const late = await dial(of.listener.url).catch(() => undefined);
      await late?.closed;
      expect(of.all).toHaveLength(2);
      expect([accepted.ends, other.accepted.ends]).toEqual([0, 0]);
    });

    test("a second one on its port is refused", () => {
      const { listener } = start();
      const port = Number(listener.url.split(":").at(-1));
      const { accept } = acceptor();
      let refused: unknown;
      try {
        listeners.push(listen({ accept, maxBufferedBytes: 1, port }));
      } catch (error) {
        refused = error;
      }
      expect(refused).toMatchObject({ code: "EADDRINUSE" });
    });
  });
}
