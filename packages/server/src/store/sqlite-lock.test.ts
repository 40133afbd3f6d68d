import { afterAll, expect, test } from "bun:test";
import { statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { lockFile } from "./sqlite-lock.ts";
import { StoreUnavailable } from "./store.ts";
import { temporaryFolder } from "./test-support/harness.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());

const path = join(folder.path, "beckon.db");
writeFileSync(path, "");

/** Another process that has the file, until it is killed. */
async function holder(file: string): Promise<Bun.Subprocess> {
  const code = `import { lockFile } from "${import.meta.dir}/sqlite-lock.ts";
    lockFile(process.argv[1]);
    console.log("has it");
    setInterval(() => {}, 60_000);`;
  const child = Bun.spawn([process.execPath, "-e", code, file], { stdout: "pipe" });
  await child.stdout.getReader().read();
  return child;
}

test("another process that has the file keeps this one out, and its death lets it in", async () => {
  const other = await holder(path);
  expect(() => lockFile(path)).toThrow(StoreUnavailable);
  expect(() => lockFile(path)).toThrow(`another server process has ${path}`);
  const link = join(folder.path, "link");
  symlinkSync(folder.path, link);
  expect(() => lockFile(join(link, "beckon.db"))).toThrow("another server process has");
  other.kill("SIGKILL");
  await other.exited;
  lockFile(path)();
  expect(statSync(`${path}.lock`).size).toBe(0);
});

test("servers of one process share it; the last one gives it back", async () => {
  const [first, second] = [lockFile(path), lockFile(path)];
  first();
  first();
  const refused = async (): Promise<boolean> => {
    const code = `import { lockFile } from "${import.meta.dir}/sqlite-lock.ts"; lockFile(process.argv[1]);`;
    return (
      (await Bun.spawn([process.execPath, "-e", code, path], { stderr: "ignore" }).exited) !== 0
    );
  };
  expect(await refused()).toBe(true);
  second();
  expect(await refused()).toBe(false);
});

test("what cannot be locked is named", () => {
  const missing = join(folder.path, "none", "beckon.db");
  expect(() => lockFile(missing)).toThrow(`${missing}.lock cannot be locked`);
});
