/** What an application loads: small, and content with what React Native's engine has. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createContext, runInContext } from "node:vm";

import { encodeFrames, type Frame, LIMITS, readFrames } from "@beckon/protocol";

import { buildPackage, gzipped, minified } from "../scripts/build.ts";
import type { Beckon } from "./beckon.ts";
import { deliverFrame } from "./test-support/fake-server.ts";

/** Bytes, gzipped. The aim is 12,000; docs/decisions/0004-size-of-the-sdk.md says what is in the way. */
const MOST = 20_900;

let built: string;
beforeAll(async () => {
  built = await mkdtemp(join(tmpdir(), "beckon-bundle-"));
  await buildPackage(built);
}, 60_000);
afterAll(() => rm(built, { recursive: true }));

/** What the published package is, as an application's bundler takes it. */
const bundle = (format: "esm" | "cjs"): Promise<string> =>
  minified(join(built, "index.js"), format);

test("the bundle stays small", async () => {
  const code = await bundle("esm");
  const size = gzipped(code);
  console.log(`@beckon/client: ${size} bytes gzipped, ${code.length} minified`);
  expect(size).toBeLessThanOrEqual(MOST);
});

/** A WebSocket to a server that welcomes, delivers one message and acknowledges what is sent. */
class ServedSocket {
  onopen = (): void => {};
  onmessage = (_event: { readonly data: ArrayBuffer }): void => {};
  binaryType = "";
  readyState = 0;
  bufferedAmount = 0;

  constructor() {
    setImmediate(() => {
      this.readyState = 1;
      this.onopen();
    });
  }

  send(data: Uint8Array): void {
    readFrames(Uint8Array.from(data), LIMITS, ({ type }) => {
      if (type === "hello") this.#say(WELCOME, deliverFrame({ n: 1 }));
      if (type === "send") this.#say(ACK);
    });
  }

  #say(...frames: Frame[]): void {
    const data = encodeFrames(frames).slice().buffer;
    setImmediate(() => this.onmessage({ data }));
  }

  close(): void {
    this.readyState = 3;
  }
}

const ACK: Frame = { type: "ack", send: 1, count: 1, status: "held", route: "wake", at: 5 };
const WELCOME: Frame = {
  type: "welcome",
  connection: "c",
  server: "native",
  user: "me",
  epoch: 1,
  ticket: new Uint8Array(0),
  time: 5,
  heartbeat: LIMITS.heartbeat,
  limits: LIMITS,
  servers: [],
  held: 0,
  recovered: true,
  capabilities: 0,
};

test("it runs where there is neither crypto nor TextDecoder, URL, MessageChannel or a page", async () => {
  const module = { exports: {} as { connect: (options: unknown) => Beckon } };
  const context = createContext({
    module,
    exports: module.exports,
    setTimeout,
    clearTimeout,
    setImmediate,
    WebSocket: ServedSocket,
    console,
  });
  runInContext(await bundle("cjs"), context);
  const beckon = module.exports.connect({ servers: ["ws://a"], token: () => "t" });
  expect(await beckon.send("bob", "héllo")).toMatchObject({ status: "held", server: "native" });
  const { value } = await beckon.messages().next();
  expect(value.text()).toBe("ann 1");
  await beckon.close();
});

test("a push registration is refused there, as a wake key needs more than Math.random", async () => {
  const module = { exports: {} as { connect: (options: unknown) => Beckon } };
  const context = createContext({ module, exports: module.exports, WebSocket: ServedSocket });
  runInContext(await bundle("cjs"), context);
  const options = { servers: ["ws://a"], token: () => "t", push: { provider: "dev", token: "p" } };
  expect(() => module.exports.connect(options)).toThrow("random");
});
