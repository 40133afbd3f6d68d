/** What the servers of a development system need for real Web Push: a VAPID key, and whom push services can turn to. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { generateVapidKey, readVapidKey, vapidJwk } from "@beckon/server";

const PREFIX = "BECKON_PUSH_WEBPUSH_";
const KEY_FILE = `${PREFIX}KEY_FILE`;
const SUBJECT = `${PREFIX}SUBJECT`;
/** Nobody is there; push services want the form of an address. */
const NOBODY = "mailto:beckon-dev@example.com";
/** Of the key: its owner reads it, nobody else. */
const MODE = 0o600;

export interface WebPush {
  /** As environment variables of a server. */
  readonly settings: Readonly<Record<string, string>>;
  readonly applicationServerKey: string;
}

/**
 * The key is made in `folder`, and is the same where that was kept: browsers stay subscribed. What `env` says of Web Push holds
 * instead, as for `beckon serve`.
 */
export async function prepareWebPush(
  folder: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<WebPush> {
  const given = Object.entries(env).filter(
    (entry): entry is [string, string] => entry[0].startsWith(PREFIX) && entry[1] !== undefined,
  );
  const own = { [KEY_FILE]: join(folder, "vapid.jwk"), [SUBJECT]: NOBODY };
  const settings = { ...own, ...Object.fromEntries(given) };
  if (settings[KEY_FILE] === own[KEY_FILE]) await makeKey(settings[KEY_FILE]);
  const { publicKey } = readVapidKey(await readFile(settings[KEY_FILE], "utf8"));
  return { settings, applicationServerKey: publicKey };
}

/** Where there is none. */
async function makeKey(file: string): Promise<void> {
  const text = `${JSON.stringify(vapidJwk(generateVapidKey()))}\n`;
  await writeFile(file, text, { flag: "wx", mode: MODE }).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  });
}
