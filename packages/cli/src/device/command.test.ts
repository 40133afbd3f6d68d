import { expect, test } from "bun:test";

import { readCommand } from "./command.ts";

test.each([
  ["bob: hello", undefined, { kind: "send", to: "bob", text: "hello" }],
  ["  bob:   hello there ", "cat", { kind: "send", to: "bob", text: "hello there" }],
  ["hello", "bob", { kind: "send", to: "bob", text: "hello" }],
  [
    "look at https://example.com: nice",
    "bob",
    { kind: "send", to: "bob", text: "look at https://example.com: nice" },
  ],
  ["12:30?", "bob", { kind: "send", to: "bob", text: "12:30?" }],
  ["/sleep", "bob", { kind: "sleep" }],
  [" /quit ", undefined, { kind: "quit" }],
  ["", "bob", { kind: "nothing" }],
] as const)("%j after a message to %s", (line, last, command) => {
  expect(readCommand(line, last)).toEqual(command);
});

test("what cannot be done says what can", () => {
  expect(readCommand("hello", undefined)).toMatchObject({
    why: expect.stringContaining("bob: hello"),
  });
  expect(readCommand("/slepe", "bob")).toMatchObject({ why: expect.stringContaining("/sleep") });
  for (const line of ["bob:", ":"]) {
    expect(readCommand(line, "bob")).toMatchObject({ why: expect.stringContaining("colon") });
  }
});
