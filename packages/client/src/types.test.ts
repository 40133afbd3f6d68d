/** What the package says of itself to a compiler: it compiles with the language and the DOM alone, and asks for no other types. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import type { WebSocketConstructor } from "./options.ts";

const PACKAGE = join(import.meta.dir, "..");

async function compile(...args: string[]): Promise<string> {
  const child = Bun.spawn([join(PACKAGE, "../../node_modules/.bin/tsc"), ...args], {
    cwd: PACKAGE,
    stdout: "pipe",
  });
  return (await new Response(child.stdout).text()).trim();
}

test("it compiles with ES2023 and the DOM, without the types of a runtime", async () => {
  expect(await compile("-p", "tsconfig.src.json", "--types", "")).toBe("");
}, 60_000);

test("it depends on the protocol alone", () => {
  const { dependencies } = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8")) as {
    dependencies: Record<string, string>;
  };
  expect(Object.keys(dependencies)).toEqual(["@beckon/protocol"]);
});

test("the global WebSocket and that of the package ws are what the option takes", async () => {
  const { WebSocket: WsPackage } = await import("ws");
  const { WebSocket: Global } = globalThis;
  const options: WebSocketConstructor[] = [Global, WsPackage];
  expect(options).toHaveLength(2);
});
