import { describe, expect, test } from "bun:test";

import * as fc from "fast-check";

import { BadRegistration, readRegistration } from "./apns-registration.ts";

const DEVICE = "0a".repeat(32);
const VOIP = "0b".repeat(32);
const TOPICS = ["com.example.chat", "com.example.chat.mac"];
const read = (token: unknown): ReturnType<typeof readRegistration> =>
  readRegistration(typeof token === "string" ? token : JSON.stringify(token), TOPICS);

function fault(token: unknown): string {
  try {
    read(token);
  } catch (error) {
    if (error instanceof BadRegistration) return error.message;
  }
  throw new Error("there is no fault");
}

describe("a device's registration", () => {
  test("is its token in hex, as applications print it", () => {
    const is = { device: DEVICE, voip: undefined, topic: "com.example.chat" };
    expect(read(DEVICE)).toEqual(is);
    expect(read(DEVICE.toUpperCase())).toEqual(is);
    expect(read("0a".repeat(100)).device).toHaveLength(200);
  });

  test("or JSON, with a token for calls, and the application where there are several", () => {
    expect(read({ device: DEVICE })).toEqual(read(DEVICE));
    expect(read({ device: DEVICE, voip: VOIP, topic: TOPICS[1], more: 1 })).toEqual({
      device: DEVICE,
      voip: VOIP,
      topic: "com.example.chat.mac",
    });
  });

  const SHAPE =
    "it must be a device token in hex, or JSON with device and, if there are, voip and topic";
  const HEX = "the device token must be 32 to 100 bytes in hex";
  test.each([
    ["", HEX],
    ["a-token", HEX],
    [`<${DEVICE}>`, HEX],
    [`${DEVICE}0`, HEX],
    ["0a".repeat(31), HEX],
    ["0a".repeat(101), HEX],
    ["{", SHAPE],
    [{}, SHAPE],
    [{ device: 1 }, SHAPE],
    [{ voip: VOIP }, SHAPE],
    [{ device: DEVICE, voip: null }, SHAPE],
    [{ device: "../../" }, HEX],
    [{ device: DEVICE, voip: "" }, "voip must be 32 to 100 bytes in hex"],
    [
      { device: DEVICE, topic: "com.example.other" },
      "topic is neither push.apns.topic nor in push.apns.topics",
    ],
    ["a".repeat(1025), "it has more than 1024 characters"],
  ])("%p is none, and that is said", (token, why) => {
    expect(fault(token)).toBe(why);
  });

  test("L11: what is wrong is said without a part of it", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 12 }), (secret) => {
        for (const token of [secret, { device: secret }, { device: DEVICE, voip: secret }]) {
          expect(fault(token)).not.toContain(secret);
        }
      }),
    );
  });
});
