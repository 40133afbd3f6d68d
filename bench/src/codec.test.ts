import { expect, test } from "bun:test";

import { measureCodec } from "./codec.ts";

test("each frame of a message's way is encoded and decoded by both codecs", () => {
  const rows = measureCodec({ payload: 80, runs: 1, rounds: 1, frames: 1 });
  expect(rows.length).toBeGreaterThanOrEqual(8);
  for (const { ours, protobufjs, bytes } of rows) {
    expect(ours.median).toBeGreaterThan(0);
    expect(protobufjs.median).toBeGreaterThan(0);
    expect(bytes).toBeGreaterThan(0);
  }
});
