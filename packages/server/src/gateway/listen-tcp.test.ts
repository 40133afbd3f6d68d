import { afterEach, describe, expect, test } from "bun:test";
import { connect as connectPlain, type Socket as NetSocket } from "node:net";
import { connect as connectSecure, type ConnectionOptions, type TLSSocket } from "node:tls";

import { encodeFrames } from "@beckon/protocol";

import { type Clock, systemClock } from "../lib/clock.ts";
import { inRanges, parseRange } from "./address.ts";
import { listenTcp, type TcpListenerOptions } from "./listen-tcp.ts";
import type { Listener } from "./listener.ts";
import { acceptor, describeListener, type RawDevice, until } from "./listener.suite.ts";
import { Authority } from "./test-support/certificates.ts";

const authority = new Authority("root");
const pair = authority.issue("one");
/** Waits a fiftieth of what it is told. */
const hasty: Clock = {
  ...systemClock,
  after: (ms, task) => systemClock.after(ms / 50, task),
};
const PING = encodeFrames([{ type: "ping" }]);
const NOBODY = (): boolean => false;
const LOOPBACK = inRanges([parseRange("127.0.0.0/8")!]);

const listeners: Listener[] = [];
const sockets: NetSocket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const listener of listeners.splice(0)) listener.kill();
});

type Given = Partial<TcpListenerOptions>;

function listen(given: Given = {}) {
  const { accept, all } = acceptor();
  const refusals: string[] = [];
  const listener = listenTcp({
    accept,
    hostname: "127.0.0.1",
    port: 0,
    maxBufferedBytes: 8 * 1024 * 1024,
    proxyProtocol: false,
    isTrusted: NOBODY,
    refused: (proxy, why) => void refusals.push(`${proxy} ${why}`),
    openMs: 5_000,
    clock: systemClock,
    ...given,
  });
  listeners.push(listener);
  const port = Number(new URL(listener.url).port);
  return { listener, all, refusals, port };
}

/** Resolves when TCP is there. */
function tcpTo(port: number, begin: Uint8Array | string = ""): Promise<NetSocket> {
  return new Promise((resolve, reject) => {
    const socket = connectPlain({ port, host: "127.0.0.1" }, () => {
      if (begin.length > 0) socket.write(begin);
      resolve(socket);
    });
    sockets.push(socket);
    socket.on("error", reject);
  });
}

/** Resolves when TLS is there. */
function tlsTo(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const own = { ca: authority.cert, ALPNProtocols: ["beckon.v1"], ...options };
  return new Promise((resolve, reject) => {
    const socket = connectSecure({ port, host: "127.0.0.1", ...own }, () => resolve(socket));
    sockets.push(socket);
    socket.on("error", reject);
    socket.once("close", () => reject(new Error("closed")));
  });
}

function deviceOn(socket: NetSocket): RawDevice {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  return {
    write: (bytes) => void socket.write(bytes),
    heard: () => Buffer.concat(chunks),
    close: () => void socket.end(),
    closed,
  };
}

function closing(socket: NetSocket): Promise<void> {
  socket.resume();
  if (socket.destroyed) return Promise.resolve();
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

const portOf = (url: string): number => Number(new URL(url).port);
const V1 = "PROXY TCP4 192.0.2.7 192.0.2.1 1234 443\r\n";

describeListener(
  "tcp",
  (options) => listen(options).listener,
  async (url) => deviceOn(await tcpTo(portOf(url))),
);
describeListener(
  "tls",
  (options) => listen({ ...options, tls: pair }).listener,
  async (url) => deviceOn(await tlsTo(portOf(url))),
);
describeListener(
  "tcp behind a proxy that connects for itself",
  (options) => listen({ ...options, proxyProtocol: true, isTrusted: LOOPBACK }).listener,
  async (url) => deviceOn(await tcpTo(portOf(url), "PROXY UNKNOWN\r\n")),
);

describe("TLS", () => {
  test("another certificate is for new connections; those that are there live on", async () => {
    const { listener, all, port } = listen({ tls: pair });
    const first = await tlsTo(port);
    expect(first.getPeerCertificate().subject.CN).toBe("one");
    for (const name of ["two", "three"]) {
      await listener.secure(authority.issue(name));
      const next = await tlsTo(port);
      expect(next.getPeerCertificate().subject.CN).toBe(name);
    }
    first.write(PING);
    await until(() => all[0]?.frames.length === 1, "a frame on the first connection");
    expect(all.map(({ ends }) => ends)).toEqual([0, 0, 0]);
  });

  test("what cannot be served changes nothing", async () => {
    const { listener, port } = listen({ tls: pair });
    const { cert } = authority.issue("two");
    expect(() => listener.secure({ cert, key: pair.key })).toThrow();
    expect((await tlsTo(port)).getPeerCertificate().subject.CN).toBe("one");
  });

  test("[P-1.4] it names the protocol; who offers another one alone is refused, who offers none is not", async () => {
    const { port, all } = listen({ tls: pair });
    expect((await tlsTo(port)).alpnProtocol).toBe("beckon.v1");
    await expect(tlsTo(port, { ALPNProtocols: ["http/1.1"] })).rejects.toThrow();
    await tlsTo(port, { ALPNProtocols: [] });
    await until(() => all.length === 2, "two connections");
  });

  test("nobody connects without it", async () => {
    const { port, all } = listen({ tls: pair });
    await closing(await tcpTo(port, Buffer.concat([PING, PING, PING])));
    expect(all).toEqual([]);
  });
});

describe("frames", () => {
  test("[P-1.5] the first may have what the handler allows at that time, and half a frame costs no more", async () => {
    const { port, all } = listen();
    const socket = await tcpTo(port);
    await until(() => all.length === 1, "the connection");
    all[0]!.limits = { messageBytes: 100, messageFrames: 10 };
    // A length of 101 bytes with its own.
    socket.write(Uint8Array.of(100));
    await until(() => all[0]!.errors.length > 0, "an error");
    expect(all[0]!.errors.map(({ code }) => code)).toEqual(["message-too-large"]);
  });

  test("garbage is told once", async () => {
    const { port, all } = listen();
    const socket = await tcpTo(port);
    await until(() => all.length === 1, "the connection");
    const [one] = all;
    one!.malformed = (error) => {
      one!.errors.push(error);
      one!.socket.close(4400, error.code);
    };
    socket.write(new Uint8Array(100_000).fill(0xff));
    socket.write(new Uint8Array(100_000).fill(0xff));
    await closing(socket);
    expect(one!.errors.map(({ code }) => code)).toEqual(["bad-frame"]);
  });

  test.each([
    ["tcp", undefined],
    ["tls", pair],
  ] as const)(
    "a device that does not read: it is counted, bounded, and told when it is over (%s)",
    async (_, tls) => {
      const { port, all } = listen({ tls, maxBufferedBytes: 12 * 1024 * 1024 });
      const socket = tls === undefined ? await tcpTo(port) : await tlsTo(port);
      await until(() => all.length === 1, "the connection");
      const [one] = all;
      socket.pause();
      const block = new Uint8Array(256 * 1024);
      let sent = 0;
      while (one!.socket.send(block)) {
        if (++sent > 400) throw new Error("there is no bound");
        await Bun.sleep(1);
      }
      expect(one!.socket.buffered()).toBeGreaterThan(11 * 1024 * 1024);
      expect(one!.socket.buffered()).toBeLessThanOrEqual(12 * 1024 * 1024);
      let read = 0;
      socket.on("data", (chunk: Buffer) => (read += chunk.length));
      socket.resume();
      await until(() => one!.drains > 0 && read === sent * block.length, "all to be read");
      expect(one!.socket.buffered()).toBe(0);
    },
    20_000,
  );

  test("one that was closed and does not read is reset", async () => {
    const { port, all } = listen({ clock: hasty });
    const socket = await tcpTo(port);
    await until(() => all.length === 1, "the connection");
    socket.pause();
    for (let i = 0; i < 30; i++) all[0]!.socket.send(new Uint8Array(256 * 1024));
    all[0]!.socket.close(4000, "");
    await until(() => all[0]!.ends === 1, "its end");
  });
});

describe("before the first frame", () => {
  test("who begins TLS and does not end it is closed, and so is who says nothing", async () => {
    const { port, all } = listen({ tls: pair, clock: hasty });
    await Promise.all([
      closing(await tcpTo(port)),
      closing(await tcpTo(port, Uint8Array.of(22, 3, 1))),
    ]);
    expect(all).toEqual([]);
  });

  test("a flood of those leaves room for who means it", async () => {
    const { port, all } = listen({ tls: pair });
    const flood = await Promise.all(Array.from({ length: 300 }, () => tcpTo(port)));
    await tlsTo(port);
    await until(() => all.length === 1, "the connection");
    expect(flood).toHaveLength(300);
  });
});

describe("the PROXY protocol", () => {
  const behind: Given = { proxyProtocol: true, isTrusted: LOOPBACK };

  test("a trusted proxy says where the device is, however its header is torn", async () => {
    const { port, all } = listen(behind);
    for (let at = 1; at < V1.length; at += 7) {
      const socket = await tcpTo(port, V1.slice(0, at));
      socket.setNoDelay(true);
      await Bun.sleep(0);
      socket.write(Buffer.concat([Buffer.from(V1.slice(at)), PING]));
    }
    await until(() => all.length === 6 && all.every(({ frames }) => frames.length === 1), "all");
    expect(new Set(all.map(({ socket }) => socket.remote))).toEqual(new Set(["192.0.2.7"]));
  });

  test("TLS begins after it, also in the same packet", async () => {
    const { port, all } = listen({ ...behind, tls: pair });
    const raw = await tcpTo(port, V1);
    const socket = connectSecure({
      socket: raw,
      ca: authority.cert,
      checkServerIdentity: () => undefined,
    });
    sockets.push(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once("secureConnect", () => resolve());
      socket.once("error", reject);
    });
    socket.write(PING);
    await until(() => all[0]?.frames.length === 1, "a frame");
    expect(all[0]!.socket.remote).toBe("192.0.2.7");
  });

  test("a trusted proxy without it is refused, and told; one that only looks is not told", async () => {
    const { port, all, refusals } = listen(behind);
    await closing(await tcpTo(port, PING));
    const probe = await tcpTo(port);
    probe.end();
    await closing(probe);
    const half = await tcpTo(port, "PROXY TCP4 ");
    half.end();
    await closing(half);
    expect(refusals).toEqual(["127.0.0.1 begins with none", "127.0.0.1 is cut off"]);
    expect(all).toEqual([]);
  });

  test("one that looks as HAProxy does, with a header and a reset, is no device", async () => {
    const { port, all, refusals } = listen(behind);
    // It is over before anybody here has looked at it.
    const code = `
      const socket = require("node:net").connect(${port}, "127.0.0.1", () => {
        socket.write(Buffer.from("0d0a0d0a000d0a515549540a20000000", "hex"));
        socket.resetAndDestroy();
      });`;
    for (let i = 0; i < 5; i++) {
      expect(Bun.spawnSync(["node", "-e", code]).exitCode).toBe(0);
    }
    await tcpTo(port, V1);
    await until(() => all.some(({ socket }) => socket.remote === "192.0.2.7"), "a device");
    expect(all.flatMap(({ errors, messages }) => [...errors, ...messages])).toEqual([]);
    expect(refusals).toEqual([]);
  });

  test("one that does not end it is closed", async () => {
    const { port } = listen({ ...behind, clock: hasty });
    await closing(await tcpTo(port, "PROXY TCP4 "));
  });

  test("who is not trusted is a device: its header is none, and changes nothing", async () => {
    const { port, all } = listen({ proxyProtocol: true });
    await tcpTo(port, PING);
    await until(() => all[0]?.frames.length === 1, "a frame");
    await tcpTo(port, `${V1}${"x".repeat(200)}`);
    await until(() => all[1]?.errors.length === 1 || all[1]!.messages.length > 0, "its bytes");
    expect(all.map(({ socket }) => socket.remote)).toEqual(["127.0.0.1", "127.0.0.1"]);
  });

  test("where it is not expected, a trusted one's header is none either", async () => {
    const { port, all } = listen({ isTrusted: LOOPBACK });
    await tcpTo(port, PING);
    await until(() => all[0]?.frames.length === 1, "a frame");
    expect(all[0]!.socket.remote).toBe("127.0.0.1");
  });
});
