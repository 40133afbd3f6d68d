import { afterEach, describe, expect, test } from "bun:test";
import { connect } from "node:tls";

import { LIMITS, SUBPROTOCOL } from "@beckon/protocol";

import { systemClock } from "../lib/clock.ts";
import type { Clock } from "../lib/clock.ts";
import { inRanges, parseRange } from "./address.ts";
import { listenWs } from "./listen-ws.ts";
import type { WsListenerOptions } from "./listen-ws.ts";
import type { Listener } from "./listener.ts";
import { describeListener, type RawDevice } from "./listener.suite.ts";
import { Authority } from "./test-support/certificates.ts";

const authority = new Authority("root");

/** Waits a fortieth of what it is told. */
const hasty: Clock = {
  ...systemClock,
  after: (ms, task) => systemClock.after(ms / 40, task),
};

const listeners: Listener[] = [];
afterEach(() => listeners.splice(0).forEach((listener) => listener.kill()));

/** Says everything back; what is `closed` is told by its remote address. */
function listen(options: Partial<WsListenerOptions> = {}) {
  const remotes: string[] = [];
  const closed: string[] = [];
  const listener = listenWs({
    accept(socket) {
      remotes.push(socket.remote);
      return {
        limits: LIMITS,
        message: (bytes) => void socket.send(bytes),
        malformed() {},
        drained() {},
        closed: () => void closed.push(socket.remote),
      };
    },
    hostname: "127.0.0.1",
    port: 0,
    maxMessageBytes: 1024,
    maxBufferedBytes: 1024 * 1024,
    clock: hasty,
    ...options,
  });
  listeners.push(listener);
  return { listener, remotes, closed, port: Number(new URL(listener.url).port) };
}

type Outcome = "open" | "closed";

async function dial(url: string, headers: Record<string, string> = {}) {
  const options = { protocols: [SUBPROTOCOL], headers, tls: { ca: authority.cert } };
  const socket = new WebSocket(url, options);
  socket.binaryType = "arraybuffer";
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const closing = Promise.withResolvers<void>();
  socket.addEventListener("open", () => resolve("open"));
  socket.addEventListener("close", () => {
    resolve("closed");
    closing.resolve();
  });
  return { socket, outcome: await promise, closed: closing.promise };
}

/** The answer to a byte. */
async function echo(socket: WebSocket): Promise<number> {
  const answer = new Promise<number>((resolve) => {
    const heard = ({ data }: MessageEvent<ArrayBuffer>): void => resolve(new Uint8Array(data)[0]!);
    socket.addEventListener("message", heard, { once: true });
  });
  socket.send(new Uint8Array([7]));
  return answer;
}

/** The name in the certificate that a new connection is shown. */
function shown(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", ca: authority.cert }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

/** Resolves when it is open. */
async function device(url: string): Promise<RawDevice> {
  const { socket, outcome, closed } = await dial(url);
  if (outcome === "closed") throw new Error("closed");
  const chunks: Uint8Array[] = [];
  socket.addEventListener("message", ({ data }: MessageEvent<ArrayBuffer>) =>
    chunks.push(new Uint8Array(data)),
  );
  return {
    write: (bytes) => socket.send(bytes),
    heard: () => Buffer.concat(chunks),
    close: () => socket.close(),
    closed,
  };
}

const MAX_MESSAGE = 4 * 1024 * 1024;
describeListener(
  "ws",
  (options) => {
    const given = { hostname: "127.0.0.1", port: 0, maxMessageBytes: MAX_MESSAGE, ...options };
    return listenWs({ ...given, clock: hasty });
  },
  device,
);
describeListener(
  "wss",
  (options) => {
    const given = { hostname: "127.0.0.1", port: 0, maxMessageBytes: MAX_MESSAGE, ...options };
    return listenWs({ ...given, tls: authority.issue("one"), clock: hasty });
  },
  device,
);

describe("TLS", () => {
  test("devices connect by wss, and not without", async () => {
    const { listener, port } = listen({ tls: authority.issue("one") });
    expect(listener.url).toBe(`wss://127.0.0.1:${port}`);
    expect((await dial(listener.url)).outcome).toBe("open");
    expect((await dial(`ws://127.0.0.1:${port}`)).outcome).toBe("closed");
  });

  test("another certificate is for new connections; those that are there live on, on the same port", async () => {
    const { listener, port, closed } = listen({ tls: authority.issue("one") });
    const first = await dial(listener.url);
    for (const name of ["two", "three", "four"]) {
      const over = listener.secure(authority.issue(name));
      for (let i = 0; i < 10; i++) expect(await shown(port)).toBe(name);
      await over;
      expect(await shown(port)).toBe(name);
      expect(await echo(first.socket)).toBe(7);
    }
    expect(closed).toEqual([]);
    first.socket.close();
    await first.closed;
  });

  test("another one in the middle of a hand-over wins, too", async () => {
    const { listener, port } = listen({ tls: authority.issue("one") });
    const first = await dial(listener.url);
    const second = listener.secure(authority.issue("two"));
    const third = listener.secure(authority.issue("three"));
    await Promise.all([second, third]);
    expect(await shown(port)).toBe("three");
    expect(await echo(first.socket)).toBe(7);
  });

  test("what cannot be served changes nothing", async () => {
    const { listener, port } = listen({ tls: authority.issue("one") });
    const { key } = authority.issue("two");
    expect(() => listener.secure({ cert: authority.issue("two").cert, key })).toThrow();
    expect(await shown(port)).toBe("one");
  });

  test("closing and killing are for connections of every certificate", async () => {
    const { listener, port } = listen({ tls: authority.issue("one") });
    const first = await dial(listener.url);
    const over = listener.secure(authority.issue("two"));
    const second = await dial(listener.url);
    listener.close();
    await over;
    expect(await echo(first.socket)).toBe(7);
    expect(await echo(second.socket)).toBe(7);
    expect((await dial(`wss://127.0.0.1:${port}`)).outcome).toBe("closed");
    await listener.secure(authority.issue("three"));
    expect((await dial(`wss://127.0.0.1:${port}`)).outcome).toBe("closed");
    listener.kill();
    await Promise.all([first.closed, second.closed]);
  });

  test("that a port can be shared hides no other server on it", () => {
    const { port } = listen({ tls: authority.issue("one") });
    expect(() => listen({ port, tls: authority.issue("two") })).toThrow(/port/i);
  });
});

describe("where a device is", () => {
  const isTrusted = inRanges([parseRange("127.0.0.0/8")!]);
  const forged = { "x-forwarded-for": "203.0.113.9", forwarded: "for=203.0.113.9" };

  test("the peer's address: what a header says changes nothing", async () => {
    const { listener, remotes } = listen();
    await dial(listener.url, forged);
    expect(remotes).toEqual(["127.0.0.1"]);
  });

  test("behind a trusted proxy, what that says", async () => {
    const { listener, remotes, closed } = listen({ isTrusted });
    const { socket, closed: gone } = await dial(listener.url, forged);
    expect(remotes).toEqual(["203.0.113.9"]);
    socket.close();
    await gone;
    expect(closed).toEqual(["203.0.113.9"]);
  });

  test("on a listener for IPv4 and IPv6", async () => {
    const { port, remotes } = listen({ hostname: "::", isTrusted });
    await dial(`ws://127.0.0.1:${port}`);
    await dial(`ws://127.0.0.1:${port}`, { "x-forwarded-for": "[2001:db8::9]:80" });
    expect(remotes).toEqual(["127.0.0.1", "2001:db8::9"]);
  });
});

test("[P-4.13] what is no WebSocket goes to who answers it, also by TLS and from behind a proxy", async () => {
  const asked: string[] = [];
  const { port } = listen({
    tls: authority.issue("one"),
    isTrusted: inRanges([parseRange("127.0.0.1")!]),
    http(request, remote) {
      asked.push(`${request.method} ${remote}`);
      return request.method === "PUT" ? Promise.resolve(new Response("put")) : undefined;
    },
  });
  const ask = (method: string): Promise<Response> =>
    fetch(`https://127.0.0.1:${port}/v1/push`, {
      method,
      headers: { "x-forwarded-for": "192.0.2.7" },
      tls: { ca: authority.cert },
    });
  expect(await (await ask("PUT")).text()).toBe("put");
  expect((await ask("GET")).status).toBe(426);
  expect(asked).toEqual(["PUT 192.0.2.7", "GET 192.0.2.7"]);
});
