import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";

import type { Frame, HelloFrame, SendFrame } from "./frames.ts";

import { decodeText, describeFrames, encodeFrames, type ProtocolError } from "./index.ts";
import { arbitraryFrame } from "./test-support/arbitraries.ts";
import { concat, fromHex, toHex } from "./test-support/bytes.ts";

const send: SendFrame = {
  type: "send",
  id: fromHex("01890a5d7c008a3bb1c2d3e4f5061728").map((byte, at) => (at === 6 ? 0x7a : byte)),
  to: "bob",
  n: 2,
  prev: 1,
  payload: Uint8Array.from("Hello, Bob", (c) => c.charCodeAt(0)),
  wake: "call",
  preview: "Hello",
  ends: new Uint8Array(),
};

const hello: HelloFrame = {
  type: "hello",
  token: "eyJhbGciOiJIUzI1NiJ9.secret",
  ticket: new Uint8Array(40),
  device: "phone 1",
  durable: true,
  protocols: ["ws", "tcp"],
  push: { provider: "dev", token: "push-secret", key: { id: 3, key: new Uint8Array(32).fill(65) } },
  epoch: 0,
  outbox: 1_700_000_000_000,
  hinted: "",
  intent: "bob",
  noRedirect: false,
  noCopies: false,
  client: "beckon-js/0.1.0",
  capabilities: 0,
  background: false,
};

describe("beckon decode", () => {
  test("prints a frame a line, without what is default", () => {
    const message = encodeFrames([
      { type: "ping" },
      { type: "received", ranges: [1, 4, 6, 1] },
      { type: "error", code: 107, message: "no friend", send: 3, retryAfter: 0 },
    ]);
    expect(describeFrames(message)).toBe(
      ["PING", "RECEIVED ranges=[1,4,6,1]", "ERROR code=forbidden message=no friend send=3"].join(
        "\n",
      ),
    );
  });

  test("[L11] tells a payload by its length, and shows it only when asked", () => {
    const message = encodeFrames([send]);
    expect(describeFrames(message)).toBe(
      "SEND id=01890a5d-7c00-7a3b-b1c2-d3e4f5061728 (2023-06-30T03:34:06.080Z) to=bob n=2 prev=1 " +
        "payload=<10 bytes> wake=call preview=<5 characters>",
    );
    expect(describeFrames(message, { payload: true })).toContain("payload=<10 bytes> Hello, Bob");
    const binary = encodeFrames([{ ...send, payload: Uint8Array.of(255, 0, 1) }]);
    expect(describeFrames(binary, { payload: true })).toContain("payload=<3 bytes> ff0001");
    const long = encodeFrames([{ ...send, preview: "x".repeat(100) }]);
    expect(describeFrames(long, { payload: true })).toContain(`${"x".repeat(80)}…`);
  });

  test("never shows a secret", () => {
    for (const json of [false, true]) {
      const text = describeFrames(encodeFrames([hello]), { payload: true, json });
      expect(text).not.toContain("secret");
      expect(text).not.toContain("AAAA");
      expect(text).toContain("<27 characters>");
      expect(text).toContain("<40 bytes>");
      expect(text).toContain("2023-11-14T22:13:20.000Z");
    }
  });

  test("prints JSON, an object a line", () => {
    const text = describeFrames(encodeFrames([{ type: "pulled", pull: 2 }, hello]), { json: true });
    const [pulled, greeting] = text.split("\n").map((line): unknown => JSON.parse(line));
    expect(pulled).toEqual({ type: "pulled", pull: 2 });
    expect(greeting).toMatchObject({ type: "hello", push: { provider: "dev", key: { id: 3 } } });
  });

  test("says where the bytes stop being frames", () => {
    const message = concat(encodeFrames([{ type: "ping" }]), [9, 1]);
    expect(describeFrames(message)).toBe("PING\nbad-frame: length 9 beyond the end at byte 3");
    expect(describeFrames(message, { json: true })).toContain('"error":"bad-frame"');
  });

  test("reads hexadecimal, base64, base64url and the bytes themselves", () => {
    fc.assert(
      fc.property(fc.array(arbitraryFrame, { minLength: 1, maxLength: 3 }), (frames) => {
        const message = encodeFrames(frames);
        const expected = describeFrames(message);
        const hex = toHex(message);
        const base64 = Buffer.from(message).toString("base64");
        expect(decodeText(hex)).toBe(expected);
        expect(decodeText(hex.toUpperCase().replaceAll(/../g, "0x$&, "))).toBe(expected);
        expect(decodeText(Buffer.from(`${hex}\n`))).toBe(expected);
        expect(decodeText(message)).toBe(expected);
        // Some base64 is hexadecimal too, and then taken for that.
        fc.pre(!/^[\da-f]*$/i.test(base64));
        expect(decodeText(base64)).toBe(expected);
        expect(decodeText(base64.replaceAll(/.{1,76}/g, "$&\n"))).toBe(expected);
        expect(decodeText(Buffer.from(message).toString("base64url"))).toBe(expected);
        expect(decodeText(Buffer.from(base64))).toBe(expected);
      }),
    );
  });

  test("tells where the bytes stop being frames, after those that are", () => {
    const errors: string[] = [];
    const onError = ({ code, at }: ProtocolError): void => void errors.push(`${code} at ${at}`);
    expect(decodeText("022a00ff", { onError })).toStartWith("PING\nbad-frame: ");
    expect(decodeText("022a00", { onError })).toBe("PING");
    expect(errors).toEqual(["bad-frame at 3"]);
  });

  test("refuses text that is neither", () => {
    expect(() => decodeText("what?")).toThrow("neither hexadecimal nor base64");
  });

  test("what could break the line or speak to a terminal is escaped", () => {
    const message = "a\n\u001b[2J\u009b2J\u2028\u202e\u{e0001}";
    const bytes = encodeFrames([{ type: "error", code: 1, message, send: 0, retryAfter: 0 }]);
    const escaped = String.raw`"a\n\u001b[2J\u009b2J\u2028\u202e\udb40\udc01"`;
    expect(describeFrames(bytes)).toBe(`ERROR code=bad-frame message=${escaped}`);
    expect(JSON.parse(describeFrames(bytes, { json: true }))).toMatchObject({ message });
  });

  test("any frame is one line", () => {
    fc.assert(
      fc.property(arbitraryFrame, fc.boolean(), (frame: Frame, payload) => {
        expect(describeFrames(encodeFrames([frame]), { payload })).not.toMatch(
          /[\n\r\u2028\u2029]/,
        );
        const json = describeFrames(encodeFrames([frame]), { payload, json: true });
        expect(JSON.parse(json)).toMatchObject({ type: frame.type });
      }),
    );
  });
});
