import { afterEach, beforeAll, beforeEach, describe, expect, spyOn, test } from "bun:test";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { type FileHandle, mkdir, mkdtemp, open, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Storage, Stored } from "../storage.ts";
import { storageSuite, type TestFunction } from "../storage.suite.ts";
import { fileUsers } from "../test-support/file-users.ts";
import { file } from "./file.ts";

const USER = join(import.meta.dir, "../test-support/file-user.ts");

/** Processes start slowly where there is more to do. */
const MS = 30_000;
const law: TestFunction = (name, run) => test(name, run, MS);

describe("in Bun", () => {
  storageSuite(law, () => fileUsers([process.execPath, USER]));
});

describe("in plain Node", () => {
  let built: string;
  beforeAll(async () => {
    built = join(await mkdtemp(join(tmpdir(), "beckon-file-")), "user.mjs");
    const { outputs } = await Bun.build({ entrypoints: [USER], target: "node" });
    await Bun.write(built, outputs[0]!);
  }, MS);
  storageSuite(law, () => fileUsers(["node", built]));
});

let folder: string;
let path: string;
const users: Storage[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "beckon-file-"));
  path = join(folder, "ann.beckon");
});
afterEach(async () => {
  for (const user of users.splice(0)) await user.close();
  await rm(folder, { recursive: true });
});

function user(at = path, maxBytes?: number): Storage {
  const made = file(at, maxBytes === undefined ? {} : { maxBytes });
  users.push(made);
  return made;
}

async function found(at = path): Promise<(readonly [string, Stored])[]> {
  const reader = user(at);
  const values = [...(await reader.read())];
  await reader.close();
  return values;
}

/** Leaves a file with a = 1, b = 2. */
async function written(): Promise<void> {
  const writer = user();
  await writer.read();
  await writer.write([{ key: "a", value: 1 }]);
  await writer.write([{ key: "b", value: 2 }]);
  await writer.close();
}

test("a record that a crash tore is dropped, wherever it was torn, and writing goes on", async () => {
  await written();
  const whole = readFileSync(path);
  const begin = whole.lastIndexOf("\n", whole.length - 2) + 1;
  for (let end = begin; end < whole.length; end++) {
    writeFileSync(path, whole.subarray(0, end));
    const writer = user();
    expect([...(await writer.read())]).toEqual([["a", 1]]);
    await writer.write([{ key: "c", value: 3 }]);
    await writer.close();
    expect(await found()).toEqual([
      ["a", 1],
      ["c", 3],
    ]);
  }
});

test("zeros where the last record should be are dropped, too", async () => {
  await written();
  appendFileSync(path, new Uint8Array(100));
  expect(await found()).toHaveLength(2);
});

test("damage before whole records is no crash: it is said, and nothing is changed", async () => {
  await written();
  const bytes = readFileSync(path);
  bytes[bytes.indexOf("1]")]! ^= 1;
  writeFileSync(path, bytes);
  await expect(found()).rejects.toMatchObject({
    code: "storage-failed",
    message: expect.stringContaining(`${path}: damaged at byte`),
  });
  expect(readFileSync(path)).toEqual(bytes);
});

test("a file of someone else is refused and stays as it is; an empty one is begun", async () => {
  writeFileSync(path, "Dear diary,\n");
  await expect(found()).rejects.toMatchObject({
    code: "storage-failed",
    message: `storage-failed: ${path}: not a storage of Beckon`,
  });
  expect(readFileSync(path, "utf8")).toBe("Dear diary,\n");
  writeFileSync(path, "");
  expect(await found()).toEqual([]);
});

test("what cannot be opened says which file and why, and keeps nobody waiting", async () => {
  const missing = join(folder, "nowhere/ann.beckon");
  await expect(found(missing)).rejects.toMatchObject({
    code: "storage-failed",
    message: expect.stringMatching(/nowhere\/ann\.beckon: ENOENT/),
  });
  await mkdir(path);
  await expect(found()).rejects.toThrow("EISDIR");
  await expect(found()).rejects.toThrow("EISDIR");
  await expect(user("/dev/null/x").read()).rejects.toThrow("ENOTDIR");
});

test("nobody else may read it: it holds wake keys and messages", async () => {
  await written();
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});

test("writing before read or after close is refused", async () => {
  const writer = user();
  const write = (): Promise<void> => writer.write([{ key: "a", value: 1 }]);
  await expect(write()).rejects.toThrow("not open");
  await writer.read();
  await writer.close();
  await expect(write()).rejects.toThrow("not open");
  await expect(writer.clear()).rejects.toThrow("not open");
});

test.each([200, 5])(
  "L10: what is outdated does not fill the disk; runs of %d writes",
  async (run) => {
    let most = 0;
    for (let n = 0; n < 200;) {
      const writer = user();
      await writer.read();
      for (const end = n + run; n < end; n++) {
        await writer.write([
          { key: "a", value: "x".repeat(10_000) },
          { key: "n", value: n },
        ]);
        most = Math.max(most, (await stat(path)).size);
      }
      await writer.close();
    }
    expect(most).toBeLessThan(300_000);
    expect((await found()).at(-1)).toEqual(["n", 199]);
    // Of the locks of all runs the last one is left.
    expect(await readdir(folder)).toHaveLength(2);
  },
);

test("L10: what would be more than its bound is refused, nothing of it stays, and removing makes room", async () => {
  const writer = user(path, 20_000);
  await writer.read();
  const value = "x".repeat(6_000);
  for (const key of ["a", "b", "c"]) await writer.write([{ key, value }]);
  const more = [
    { key: "c", value: undefined },
    { key: "d", value: value + value },
  ];
  await expect(writer.write(more)).rejects.toThrow("full");
  expect((await stat(path)).size).toBeLessThanOrEqual(20_000);
  await writer.write([
    { key: "a", value: undefined },
    { key: "d", value },
  ]);
  await writer.close();
  expect((await found()).map(([key]) => key)).toEqual(["b", "c", "d"]);
});

test("a write that fails leaves nothing behind, and the next one is on disk", async () => {
  const writer = user();
  await writer.read();
  await writer.write([{ key: "a", value: 1 }]);
  const handle = await open(path, "r");
  const sync = spyOn(Object.getPrototypeOf(handle) as FileHandle, "datasync");
  await handle.close();
  sync.mockImplementationOnce(() => Promise.reject(new Error("no space left")));
  const before = readFileSync(path, "utf8");
  await expect(writer.write([{ key: "b", value: 2 }])).rejects.toMatchObject({
    code: "storage-failed",
    message: `storage-failed: ${path}: no space left`,
    cause: new Error("no space left"),
  });
  sync.mockRestore();
  expect(readFileSync(path, "utf8")).toBe(before);
  await writer.write([{ key: "c", value: 3 }]);
  await writer.close();
  expect(await found()).toEqual([
    ["a", 1],
    ["c", 3],
  ]);
});

test("a file that was removed while it is in use is put back", async () => {
  const writer = user();
  await writer.read();
  await writer.write([{ key: "a", value: 1 }]);
  await rm(path);
  await writer.write([{ key: "b", value: 2 }]);
  await writer.close();
  expect(await found()).toEqual([
    ["a", 1],
    ["b", 2],
  ]);
});

test("who waits for another one is told so", async () => {
  const warn = spyOn(console, "warn").mockImplementation(() => {});
  const [first, second] = [user(), user()];
  await first.read();
  const waiting = second.read();
  const deadline = Date.now() + 10_000;
  while (warn.mock.calls.length === 0 && Date.now() < deadline) await Bun.sleep(10);
  expect(warn.mock.calls).toEqual([[expect.stringContaining(`${path} is in use`)]]);
  warn.mockRestore();
  await first.close();
  await waiting;
}, 20_000);

test("of many who wait one at a time has it, by whatever name", async () => {
  await mkdir(join(folder, "sub"));
  let having = 0;
  const others = Array.from({ length: 8 }, async (_, at) => {
    const one = user(at % 2 === 0 ? path : join(folder, "sub/../ann.beckon"));
    const n = new Map(await one.read()).get("n") ?? 0;
    expect(++having).toBe(1);
    await one.write([{ key: "n", value: (n as number) + 1 }]);
    having--;
    await one.close();
  });
  await Promise.all(others);
  expect(await found()).toEqual([["n", 8]]);
});

test("a path longer than a socket's may be", async () => {
  const deep = join(folder, "d".repeat(120));
  await mkdir(deep);
  const [first, second] = [user(join(deep, "x")), user(join(deep, "x"))];
  await first.read();
  const waiting = second.read();
  await first.write([{ key: "a", value: 1 }]);
  await first.close();
  expect([...(await waiting)]).toEqual([["a", 1]]);
});
