/** The SDK part of examples/react-native: its types against the packed SDK, and its code where there is no more than React Native's engine has. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createDecipheriv, randomFillSync } from "node:crypto";
import { cp, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createContext, runInContext } from "node:vm";

import type { Beckon } from "@beckon/client";
import {
  decodeHint,
  encodeBase64Url,
  encodeFrames,
  encodeHint,
  encodeWake,
  type Frame,
  type HelloFrame,
  type Hint,
  LIMITS,
  readFrames,
} from "@beckon/protocol";

import type * as Example from "../examples/react-native/beckon.ts";
import type { storageOver, Values } from "../examples/react-native/storage.ts";
import { storageSuite } from "../packages/client/src/storage.suite.ts";
import { sealWithNodeCrypto } from "../packages/server/src/push/seal.ts";
import { installPackage, ROOT, run } from "./support/package.ts";
import { until } from "./support/until.ts";

const EXAMPLE = join(ROOT, "examples/react-native");
const FILES = ["beckon.ts", "storage.ts"];

type Code = typeof Example & { readonly storageOver: typeof storageOver };

let project: string;
let code: string;

beforeAll(async () => {
  project = await installPackage(["@noble/ciphers"]);
  for (const file of FILES) await cp(join(EXAMPLE, file), join(project, file));
  const entry = join(project, "all.ts");
  await Bun.write(entry, FILES.map((file) => `export * from "./${file}";`).join("\n"));
  const { outputs } = await Bun.build({ entrypoints: [entry], target: "browser", format: "cjs" });
  code = await (outputs[0] as Blob).text();
}, 60_000);

afterAll(async () => {
  if (project !== undefined) await rm(dirname(project), { recursive: true, force: true });
});

/** A new process with the engine's own, timers and a WebSocket; without crypto, TextDecoder, URL, MessageChannel, Buffer, a page. */
function start(WebSocket?: unknown): Code {
  const module = { exports: {} as Code };
  const { exports } = module;
  const engine = { setTimeout, clearTimeout, setImmediate, console, WebSocket };
  runInContext(code, createContext({ module, exports, ...engine }));
  return module.exports;
}

test("its types check strictly against the package, where there are neither a DOM's nor a runtime's", async () => {
  const options = [
    ["--module", "preserve", "--moduleResolution", "bundler"],
    ["--target", "ES2023", "--lib", "ES2023"],
    ["--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--noEmit"],
    ["--allowImportingTsExtensions", "--skipLibCheck", "--types", "", "--ignoreConfig"],
  ];
  const tsc = join(ROOT, "node_modules/.bin/tsc");
  expect(await run([tsc, ...options.flat(), ...FILES], project)).toBe("");
});

/** As AsyncStorage: every call takes a turn. */
function valuesIn(map: Map<string, string>, spent: () => void = () => {}): Values {
  const turn = async <T>(task: () => T): Promise<T> => {
    await Promise.resolve();
    spent();
    return task();
  };
  return {
    getAllKeys: () => turn(() => [...map.keys()]),
    getItem: (key) => turn(() => map.get(key) ?? null),
    setItem: (key, text) => turn(() => void map.set(key, text)),
    removeItem: (key) => turn(() => void map.delete(key)),
  };
}

describe("the storage", () => {
  storageSuite(test, async () => {
    const map = new Map<string, string>([["another app's", "value"]]);
    const { storageOver } = start();
    return {
      open: async (other) => storageOver(valuesIn(map), other ?? "one"),
      kill: async () => {},
      close: async () => {
        expect(map.get("another app's")).toBe("value");
      },
    };
  }, ["kill"]);

  test("L2: a process that dies in mid-write leaves all of the write or nothing, and what it was told is there", async () => {
    for (let lasts = 0; lasts < 14; lasts++) {
      const map = new Map<string, string>();
      let told = 0;
      let calls = 0;
      const dying = valuesIn(map, () => {
        if (calls++ >= lasts) throw new Error("the process is dead");
      });
      const write = async (): Promise<void> => {
        const user = start().storageOver(dying, "one");
        await user.read();
        for (let n = 1; n <= 3; n++) {
          await user.write([
            { key: "n", value: n },
            { key: `only-${n}`, value: n },
            { key: `only-${n - 1}`, value: undefined },
          ]);
          if (calls <= lasts) told = n;
        }
      };
      await write().catch(() => {});
      const found = new Map(await start().storageOver(valuesIn(map), "one").read());
      const n = (found.get("n") ?? 0) as number;
      expect(n).toBeGreaterThanOrEqual(told);
      expect([...found]).toEqual(
        n === 0
          ? []
          : [
              ["n", n],
              [`only-${n}`, n],
            ],
      );
    }
  });

  test("a write that was noted and could not be done is done by the next one", async () => {
    const map = new Map<string, string>();
    let fails = false;
    const values = valuesIn(map);
    const user = start().storageOver(
      {
        ...values,
        removeItem: (key) => (fails ? Promise.reject(new Error("no")) : values.removeItem(key)),
      },
      "one",
    );
    await user.read();
    await user.write([{ key: "a", value: 1 }]);
    fails = true;
    await user.write([{ key: "a", value: undefined }]);
    fails = false;
    await user.write([{ key: "b", value: 2 }]);
    expect([...map.keys()].toSorted()).toEqual(["beckon/one", "beckon/one/b"]);
  });
});

const WELCOME: Frame = {
  type: "welcome",
  connection: "c",
  server: "s",
  user: "ann",
  epoch: 1,
  ticket: new Uint8Array(0),
  time: Date.now(),
  heartbeat: LIMITS.heartbeat,
  limits: LIMITS,
  servers: [],
  held: 0,
  recovered: true,
  capabilities: 0,
};

/** Sockets to servers that welcome whoever says HELLO. */
function servedSockets(): {
  readonly Socket: unknown;
  readonly hellos: (HelloFrame & { readonly url: string })[];
} {
  const hellos: (HelloFrame & { readonly url: string })[] = [];
  class Socket {
    onopen = (): void => {};
    onmessage = (_event: { readonly data: ArrayBuffer }): void => {};
    binaryType = "";
    readyState = 0;
    bufferedAmount = 0;
    readonly url: string;

    constructor(url: string) {
      this.url = url;
      setImmediate(() => {
        this.readyState = 1;
        this.onopen();
      });
    }

    send(data: Uint8Array): void {
      readFrames(Uint8Array.from(data), LIMITS, (frame) => {
        if (frame.type !== "hello") return;
        hellos.push({ ...frame, url: this.url });
        const welcome = encodeFrames([WELCOME]).slice().buffer;
        setImmediate(() => this.onmessage({ data: welcome }));
      });
    }

    close(): void {
      this.readyState = 3;
    }
  }
  return { Socket, hellos };
}

const HINT: Hint = {
  server: {
    name: "sender",
    addresses: [
      { url: "wss://sender", protocol: "ws", secure: true, network: "", region: "", priority: 0 },
    ],
  },
  conversation: "bob",
  activity: 1,
  wake: "message",
  expires: Date.now() + 86_400_000,
  preview: "Are you there? 😀",
  call: new Uint8Array(),
  ended: false,
};

/** Opens in native code on a phone; Node's is what it is made after. */
const native = (code: Code): Example.Phone["crypto"] =>
  code.quickCrypto((algorithm, key, nonce) => createDecipheriv(algorithm, key, nonce));

describe.each([
  ["noble", (code: Code) => code.nobleCrypto],
  ["react-native-quick-crypto", (code: Code) => native(code)!],
] as const)("wakes, opened by %s", (_, cryptoOf) => {
  test("B5: what a server has sealed opens; forged or for another device it does not", async () => {
    const crypto = cryptoOf(start());
    const key = randomFillSync(new Uint8Array(32));
    const device = new TextEncoder().encode("phone");
    const { nonce, sealed } = await sealWithNodeCrypto({ id: 1, key }, "phone", encodeHint(HINT));
    expect(decodeHint(Uint8Array.from(await crypto.open(key, nonce, sealed, device)))).toEqual(
      HINT,
    );
    for (const at of [0, sealed.length - 17, sealed.length - 1]) {
      const forged = sealed.map((byte, i) => (i === at ? byte ^ 1 : byte));
      expect(await outcomeOf(crypto.open(key, nonce, forged, device))).toBe("refused");
    }
    const other = new TextEncoder().encode("tablet");
    expect(await outcomeOf(crypto.open(key, nonce, sealed, other))).toBe("refused");
    expect(await outcomeOf(crypto.open(key, nonce, sealed.subarray(0, 9), device))).toBe("refused");
  });

  test("M8: a phone that registered, was killed and is started by a push comes up at the sender's server", async () => {
    const map = new Map<string, string>();
    const { Socket, hellos } = servedSockets();
    const begin = async (): Promise<{ code: Code; phone: Beckon }> => {
      const code = start(Socket);
      const phone = code.connectPhone({
        user: "ann",
        servers: ["wss://seed"],
        token: async () => "t",
        values: valuesIn(map),
        random: (bytes) => void randomFillSync(bytes),
        push: await code.registration("android", MESSAGING),
        crypto: cryptoOf(code),
      });
      return { code, phone };
    };
    const first = await begin();
    await until(() => first.phone.state.name === "connected", "the phone to connect");
    await first.phone.close();
    const { push, device } = hellos[0]!;
    expect(push).toMatchObject({ provider: "fcm", token: "fcm-token" });

    const wake = await sealWithNodeCrypto(push!.key, device, encodeHint(HINT));
    const { code, phone } = await begin();
    const initial = { messageId: "1", data: { beckon: encodeBase64Url(encodeWake(wake)) } };
    const end = code.followPushes(phone, {
      ...MESSAGING,
      getInitialNotification: async () => initial,
    });
    await until(() => phone.state.name === "connected", "the phone to connect again");
    end();
    await phone.close();
    expect(hellos.map(({ url, hinted, device: of }) => [url, hinted, of])).toEqual([
      ["wss://seed", "", device],
      ["wss://sender", "sender", device],
    ]);
  });
});

const outcomeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "opened",
    () => "refused",
  );

const MESSAGING: Example.Messaging = {
  getToken: async () => "fcm-token",
  getAPNSToken: async () => "apns-token",
  getInitialNotification: async () => null,
  onMessage: () => () => {},
  onNotificationOpenedApp: () => () => {},
};

test("an iPhone registers for APNs, and not at all where the system gives no token", async () => {
  const { registration } = start();
  expect(await registration("ios", MESSAGING)).toEqual({ provider: "apns", token: "apns-token" });
  const denied = { ...MESSAGING, getAPNSToken: async () => null };
  expect(await registration("ios", denied)).toBeUndefined();
});
