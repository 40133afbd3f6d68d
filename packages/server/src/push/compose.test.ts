import { describe, expect, test } from "bun:test";
import {
  type Address,
  decodeBase64Url,
  decodeHint,
  decodeWake,
  type Hint,
  LIMITS,
  utf8Length,
} from "@beckon/protocol";
import * as fc from "fast-check";

import type { WakeIntent } from "../store/store.ts";
import { composeWake, cutUtf8 } from "./compose.ts";
import type { PushItem } from "./provider.ts";
import { sealWithNodeCrypto } from "./seal.ts";

const KEY = new Uint8Array(32).fill(77);

const intent: WakeIntent = {
  user: "bob",
  device: "phone",
  generation: 1,
  class: "message",
  attempts: 0,
  activity: 3,
  conversation: "ann",
  server: "eu-1",
  preview: "Are you there?",
  call: "",
  ended: false,
  expires: 1_700_000_000_000,
  protocols: ["ws"],
  push: { provider: "dev", token: "t0ken", key: { id: 2 ** 40, key: KEY } },
};

const address = (url: string): Address => ({
  url,
  protocol: "ws",
  secure: true,
  network: "",
  region: "eu",
  priority: 0,
});
const server = { name: "eu-1", addresses: [address("wss://eu-1.chat.example.com")] };

/** What the device does with a push. */
async function open(item: PushItem, device = "phone", key = KEY): Promise<Hint> {
  const { beckon } = JSON.parse(item.body) as { beckon: string };
  const wake = decodeWake(decodeBase64Url(beckon)!);
  const imported = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
  const algorithm = {
    name: "AES-GCM",
    iv: wake.nonce as Uint8Array<ArrayBuffer>,
    additionalData: new TextEncoder().encode(device),
  };
  const sealed = wake.sealed as Uint8Array<ArrayBuffer>;
  return decodeHint(new Uint8Array(await crypto.subtle.decrypt(algorithm, imported, sealed)));
}

const compose = (
  changes: Partial<WakeIntent> = {},
  to: { name: string; addresses: readonly Address[] } = server,
) => composeWake({ ...intent, ...changes }, to, sealWithNodeCrypto);

test("M7, M9: the device finds the sender's server, the conversation and the preview in its push", async () => {
  const item = await compose();
  expect(item).toMatchObject({ token: "t0ken", class: "message", expires: intent.expires });
  expect(await open(item)).toEqual({
    server,
    conversation: "ann",
    activity: 3,
    wake: "message",
    expires: intent.expires,
    preview: "Are you there?",
    call: new Uint8Array(),
    ended: false,
  });
});

test("the envelope names the device's key, so that it knows which to open it with", async () => {
  const { beckon } = JSON.parse((await compose()).body) as { beckon: string };
  expect(decodeWake(decodeBase64Url(beckon)!).key).toBe(2 ** 40);
});

test("a push service learns whether it can wait, or rings", async () => {
  expect((await compose({ class: "silent" })).class).toBe("silent");
  expect((await compose({ class: "call" })).class).toBe("call");
});

test("[P-9.5] the device finds in its push which call it is for, and whether that is over", async () => {
  const call = "0190163d8694739b86cb9c2f5b8e6a01";
  const rings = await compose({ class: "call", call });
  expect(await open(rings)).toMatchObject({ wake: "call", ended: false });
  const ended = await compose({ class: "silent", call, ended: true });
  expect(ended.class).toBe("silent");
  const hint = await open(ended);
  expect(hint).toMatchObject({ wake: "silent", ended: true, conversation: "ann" });
  expect(hint.call.toHex()).toBe(call);
});

test("M12: a server that names no address is not named at all", async () => {
  const nowhere = { name: "", addresses: [] };
  expect((await open(await compose({}, nowhere))).server).toEqual(nowhere);
  expect((await open(await compose({ protocols: ["tcp"] }))).server).toEqual(nowhere);
});

describe("B5: the seal", () => {
  test("says nothing to the push service, and never the same twice", async () => {
    const [one, two] = [await compose(), await compose()];
    expect(one.body).not.toBe(two.body);
    const { beckon } = JSON.parse(one.body) as { beckon: string };
    const text = Buffer.from(beckon, "base64url").toString("latin1");
    for (const secret of ["ann", "bob", "eu-1", "chat.example.com", "Are you there"]) {
      expect(text).not.toContain(secret);
    }
  });

  test("opens on that device alone, with its key alone, and unchanged alone", async () => {
    const item = await compose();
    await expect(open(item, "laptop")).rejects.toThrow();
    await expect(open(item, "phone", new Uint8Array(32))).rejects.toThrow();
    const { beckon } = JSON.parse(item.body) as { beckon: string };
    const bytes = Buffer.from(beckon, "base64url");
    bytes[bytes.length - 1]! ^= 1;
    const forged = { ...item, body: JSON.stringify({ beckon: bytes.toString("base64url") }) };
    await expect(open(forged)).rejects.toThrow();
  });
});

describe("B5: what a later push replaces at the push service", () => {
  const collapse = async (changes: Partial<WakeIntent> = {}) => (await compose(changes)).collapse;

  test("is one of the same conversation", async () => {
    expect(await collapse({ class: "silent" })).toBe(await collapse());
    expect(await collapse({ conversation: "cem" })).not.toBe(await collapse());
  });

  test("is one of the same call, its end among them, and none of its conversation's messages", async () => {
    const call = { class: "call", call: "00".repeat(16) } as const;
    const ended = { ...call, class: "silent", ended: true } as const;
    expect(await collapse(ended)).toBe(await collapse(call));
    expect(await collapse(call)).not.toBe(await collapse());
    expect(await collapse({ ...call, call: "01".repeat(16) })).not.toBe(await collapse(call));
  });

  test("does not tell who it is from: the same person is somebody else to another device", async () => {
    const key = { id: 1, key: new Uint8Array(32).fill(9) };
    expect(await collapse({ push: { ...intent.push, key } })).not.toBe(await collapse());
    expect(await collapse()).toMatch(/^[\w-]{32}$/);
  });
});

describe("what a push can carry", () => {
  const long = (count: number, length: number) =>
    Array.from({ length: count }, (_, i) =>
      address(`wss://${String(i).repeat(length)}.example.com`),
    );

  test("the longest preview fits, beside four addresses and the longest names", async () => {
    const preview = "ü".repeat(LIMITS.preview / 2);
    const item = await compose(
      { preview, conversation: "c".repeat(128) },
      { name: "eu-1", addresses: long(4, 200) },
    );
    expect(item.body.length).toBeLessThanOrEqual(3993);
    const hint = await open(item);
    expect(hint.preview).toBe(preview);
    expect(hint.server.addresses).toHaveLength(4);
  });

  test("else the preview is cut, and then the last addresses are left out", async () => {
    const preview = "👋🏽".repeat(128);
    const cut = await compose({ preview }, { name: "eu-1", addresses: long(4, 600) });
    const hint = await open(cut);
    expect(hint.server.addresses).toHaveLength(4);
    expect(hint.preview).toEndWith("…");
    expect(preview).toStartWith(hint.preview.slice(0, -1));

    const full = await compose({ preview }, { name: "eu-1", addresses: long(4, 1200) });
    const { server: named, preview: none } = await open(full);
    expect(named.addresses).toEqual(long(2, 1200));
    expect(none).toBe("");
    const giant = await open(await compose({}, { name: "eu-1", addresses: long(1, 5000) }));
    expect(giant.server).toEqual({ name: "", addresses: [] });
  });

  test("never more than 3,993 bytes, which is what Web Push takes, never half a character, and no room given away", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: "grapheme", maxLength: 2000 }),
        fc.nat(900),
        fc.nat({ max: Number.MAX_SAFE_INTEGER }),
        async (preview, length, id) => {
          const push = { ...intent.push, key: { id, key: KEY } };
          const item = await compose(
            { preview, push },
            { name: "eu-1", addresses: long(3, length) },
          );
          expect(item.body.length).toBeLessThanOrEqual(3993);
          const hint = await open(item);
          if (hint.preview === preview) return;
          expect(item.body.length).toBeGreaterThan(3993 - 60);
          expect(Buffer.from(hint.preview).toString()).toBe(hint.preview);
        },
      ),
      { numRuns: 100 },
    );
  });

  test("a push service that takes less gets less, and one that takes more gets no more", async () => {
    const to = { name: "eu-1", addresses: long(4, 500) };
    const sizes = [3000, 10_000].map(async (largest) => {
      const wake = { ...intent, preview: "x".repeat(LIMITS.preview) };
      return (await composeWake(wake, to, sealWithNodeCrypto, largest)).body.length;
    });
    const [less, more] = (await Promise.all(sizes)) as [number, number];
    expect(less).toBeWithin(3000 - 60, 3001);
    expect(more).toBeWithin(3993 - 60, 3994);
  });

  test("a cut text ends with an ellipsis, or is empty", () => {
    expect(cutUtf8("hello", 5)).toBe("he…");
    expect(cutUtf8("héllo", 5)).toBe("h…");
    expect(cutUtf8("👋👋", 7)).toBe("👋…");
    expect(cutUtf8("👋👋", 6)).toBe("");
    expect(cutUtf8("hello", -3)).toBe("");
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.nat(50), (text, bytes) => {
        expect(utf8Length(cutUtf8(text, bytes))).toBeLessThanOrEqual(bytes);
      }),
    );
  });
});
