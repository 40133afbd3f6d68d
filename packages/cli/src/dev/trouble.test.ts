import { expect, test } from "bun:test";

import type { Happening } from "./happening.ts";
import { Trouble } from "./trouble.ts";

function heard() {
  const events: Happening[] = [];
  return { events, trouble: new Trouble((event) => events.push(event)) };
}

test("L8: a store that refuses is told once, with what to do, and again when it takes messages", () => {
  const { events, trouble } = heard();
  for (let i = 0; i < 100; i++) trouble.store("s1", false);
  trouble.over("s1", "store");
  trouble.over("s1", "store");
  expect(events).toEqual([
    expect.objectContaining({
      type: "trouble",
      server: "s1",
      what: "store",
      text: expect.stringContaining("make room on the disk"),
    }),
    { type: "recovered", server: "s1", what: "store", text: "s1 stores again" },
  ]);
});

test("what is wrong on purpose says how to end it", () => {
  const { events, trouble } = heard();
  trouble.store("s1", true);
  trouble.push("s2", "retry", "bob", true);
  expect(JSON.stringify(events)).toContain('switch the fault \\"disk-full\\" off');
  expect(JSON.stringify(events)).toContain('switch the fault \\"push-down\\" off');
});

test("there is one push service: whichever server reaches it again has the word", () => {
  const { events, trouble } = heard();
  trouble.push("s1", "retry", "bob", false);
  trouble.over("s3", "push");
  expect(events.map(({ type }) => type)).toEqual(["trouble", "recovered"]);
});

test("a device that the push service has forgotten is not taken for a service that is away", () => {
  const { events, trouble } = heard();
  trouble.push("s1", "gone", "bob", false);
  expect(events).toMatchObject([{ text: expect.stringContaining("does not know the device") }]);
});

test("nor is a push that the service refuses", () => {
  const { events, trouble } = heard();
  trouble.push("s1", "rejected", "you", false);
  expect(events).toMatchObject([{ text: expect.stringContaining("refuses the push") }]);
});
