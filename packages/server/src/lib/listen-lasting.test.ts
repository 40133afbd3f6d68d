import { expect, test } from "bun:test";

import { lastingPort, outside } from "./listen-lasting.ts";

test("a port that has to be there again is none of those that outgoing connections get", () => {
  expect(outside("32768\t60999\n")).toEqual([10_000, 32_767]);
  expect(outside("1024 60999\n")).toEqual([61_000, 65_535]);
  expect(outside("1024\t65535\n")).toEqual([10_000, 65_535]);
  const [first, last] = outside(undefined);
  expect(first).toBe(10_000);
  expect([32_767, 49_151]).toContain(last);
});

/** Has a port, and which one it was; `choices` are made before any other. */
function ask(...choices: number[]): { port: number; choices: number[] } {
  const made: number[] = [];
  const port = lastingPort((below) => {
    made.push(choices[made.length] ?? Math.floor(Math.random() * below));
    return made.at(-1)!;
  });
  return { port, choices: made };
}

function listen(port: number): Bun.TCPSocketListener {
  return Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } });
}

test("nobody is given a port that was given before, though nobody listens at it", () => {
  const one = ask();
  const other = ask(one.choices.at(-1)!);
  expect(other.choices.length).toBeGreaterThan(1);
  expect(other.port).not.toBe(one.port);
  for (const { port } of [one, other]) listen(port).stop(true);
});

test("a port that somebody listens at is passed over", () => {
  const here = ask();
  const others = Array.from({ length: 20 }, (_, at) => at + 1);
  const near = others.find((at) => isFree(here.port + 2 * at))!;
  const there = listen(here.port + 2 * near);
  const found = ask(here.choices.at(-1)! + near);
  there.stop(true);
  expect(found.port).not.toBe(here.port + 2 * near);
});

function isFree(port: number): boolean {
  try {
    listen(port).stop(true);
    return true;
  } catch {
    return false;
  }
}
