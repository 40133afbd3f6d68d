import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { generateVapidKey, vapidJwk } from "@beckon/server";

import { prepareWebPush } from "./web-push.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "beckon-web-push-"));
});
afterEach(() => rm(folder, { recursive: true }));

test("a key is made once, and its owner alone reads it", async () => {
  const first = await prepareWebPush(folder, {});
  const file = first.settings["BECKON_PUSH_WEBPUSH_KEY_FILE"]!;
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await prepareWebPush(folder, {})).toEqual(first);
});

test("what the environment says of Web Push holds, and nothing else of it", async () => {
  const key = generateVapidKey();
  const file = join(folder, "own.jwk");
  await writeFile(file, JSON.stringify(vapidJwk(key)));
  const env = {
    BECKON_PUSH_WEBPUSH_KEY_FILE: file,
    BECKON_PUSH_WEBPUSH_ALLOW_0: "10.0.0.0/8",
    BECKON_LISTEN: "0.0.0.0:80",
  };
  expect(await prepareWebPush(folder, env)).toEqual({
    applicationServerKey: key.publicKey,
    settings: {
      BECKON_PUSH_WEBPUSH_KEY_FILE: file,
      BECKON_PUSH_WEBPUSH_ALLOW_0: "10.0.0.0/8",
      BECKON_PUSH_WEBPUSH_SUBJECT: "mailto:beckon-dev@example.com",
    },
  });
  expect(await readdir(folder)).toEqual(["own.jwk"]);
});
