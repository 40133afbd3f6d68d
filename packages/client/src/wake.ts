/** The wake keys of this device, and the opening of what was sealed with them (M8, B5). */
import {
  decodeBase64Url,
  decodeHint,
  decodeWake,
  type Hint,
  type Millis,
  type PushRegistration,
  type WakeKey,
} from "@beckon/protocol";

import type { Clock } from "./clock.ts";
import type { Journal } from "./journal.ts";
import type { PushOptions, SealCrypto } from "./options.ts";
import { type Random, randomBytes, randomInteger } from "./random.ts";
import type { Change, Stored } from "./storage.ts";
import { encodeText } from "./text.ts";

export interface Wakes {
  /** What HELLO has to say; undefined: the system knows. */
  registration(): PushRegistration | undefined;
  /** The HELLO that said it was welcome. */
  registered(registration: PushRegistration): void;
  /** The hint in a push's data; undefined: it has none for this device, or it was forged, expired, or opened twice before. */
  open(data: unknown, device: string, serverTime: Millis): Promise<Hint | undefined>;
  load(key: string, value: Stored): void;
  /** Makes a key where one is needed; what it says is told to others once it is on disk. */
  begin(push: PushOptions | undefined): Promise<void>;
}

/** A key and the registration that it was made for; `w/keys` of the storage has them, the newest first. */
export interface Key extends WakeKey {
  readonly provider: string;
  readonly token: string;
  readonly made: Millis;
  readonly registered: boolean;
}

/** A wake that was opened. */
interface Opened {
  /** Names it among others. */
  readonly name: string;
  readonly hint: Hint;
}

/** Names of wakes, and how often they were opened; oldest first. */
export type Openings = readonly (readonly [name: string, times: number])[];

/** A service worker opens it, and then the application. */
const OPENINGS = 2;
/** Wakes whose openings are counted; an older one has expired, or is opened a third time. */
const COUNTED = 64;
const KEYS = 2;
/** A key is replaced after this. */
const KEY_AGE: Millis = 30 * 86_400_000;
/** Objects and texts of a push's data that are looked into: those on top first. */
const LOOKED = 64;
/** Characters of a text that may be JSON: no push service carries more. */
const TEXT = 16_384;

export function createWakes(
  clock: Clock,
  random: Random,
  crypto: SealCrypto,
  journal: Journal,
): Wakes {
  /** The newest first. */
  let keys: readonly Key[] = [];
  let opened: Openings = [];
  /** What a service worker had opened when this run began. */
  let byWorker: Openings = [];
  let push: PushOptions | undefined;

  function record(): Change[] {
    return [{ key: "w/keys", value: keys as unknown as Stored }];
  }

  function registration(): PushRegistration | undefined {
    const [newest] = keys;
    if (push === undefined || newest === undefined || newest.registered) return undefined;
    return { ...push, key: { id: newest.id, key: newest.key } };
  }

  async function open(
    data: unknown,
    device: string,
    serverTime: Millis,
  ): Promise<Hint | undefined> {
    const wake = await unseal(data, keys, device, crypto);
    if (wake === undefined || wake.hint.expires <= serverTime) return undefined;
    const counted = countOpening(wake.name, opened, byWorker);
    if (counted === undefined) return undefined;
    opened = counted;
    journal.write([{ key: "w/opened", value: opened }]);
    return wake.hint;
  }

  return {
    registration,
    registered({ key: { id } }) {
      keys = keys.map((key) => (key.id === id ? { ...key, registered: true } : key));
      journal.write(record());
    },
    async open(data, device, serverTime) {
      try {
        return await open(data, device, serverTime);
      } catch {
        // Not ours, or not meant for us: there is nothing to tell.
        return undefined;
      }
    },
    load(key, value) {
      if (key === "w/keys") keys = value as unknown as readonly Key[];
      if (key === "w/opened") opened = value as unknown as Openings;
      if (key === "w/worker") byWorker = value as unknown as Openings;
    },
    begin(options) {
      push = options;
      const [newest] = keys;
      if (push === undefined) return Promise.resolve();
      const { provider, token, key: given } = push;
      const isFresh = (of: Key): boolean =>
        given === undefined ? clock.now() - of.made < KEY_AGE : of.id === given.id;
      const fits = newest?.provider === provider && newest.token === token && isFresh(newest);
      if (fits) return Promise.resolve();
      const key: Key = {
        id: given?.id ?? randomInteger(random),
        key: given?.key ?? randomBytes(random, 32),
        provider,
        token,
        made: clock.now(),
        registered: false,
      };
      keys = [key, ...keys].slice(0, KEYS);
      return journal.written(record());
    },
  };
}

/** Opens the wake in a push's data. Undefined where there is none for these keys; rejects what is forged, or for another device. */
export async function unseal(
  data: unknown,
  keys: readonly WakeKey[],
  device: string,
  crypto: SealCrypto,
): Promise<Opened | undefined> {
  const bytes = decodeBase64Url(find(data) ?? "");
  if (bytes === undefined || bytes.length === 0) return undefined;
  const wake = decodeWake(bytes);
  const key = keys.find(({ id }) => id === wake.key);
  if (key === undefined) return undefined;
  const sealed = await crypto.open(key.key, wake.nonce, wake.sealed, encodeText(device));
  return { name: `${wake.key} ${wake.nonce.join(" ")}`, hint: decodeHint(sealed) };
}

/** `own` with one opening more; `others`: those that are counted elsewhere. Undefined: it was opened as often as it may be. */
export function countOpening(name: string, own: Openings, others: Openings): Openings | undefined {
  const times = (openings: Openings): number =>
    openings.find(([other]) => other === name)?.[1] ?? 0;
  if (times(own) + times(others) >= OPENINGS) return undefined;
  const rest = own.filter(([other]) => other !== name);
  return [...rest, [name, times(own) + 1] as const].slice(-COUNTED);
}

/**
 * What stands under "beckon" in the data of a push, however the push service and the libraries of a platform have wrapped it. Never
 * throws, whatever it is given.
 */
export function find(data: unknown): string | undefined {
  const queue = [data];
  for (const one of queue) {
    for (const [name, value] of fieldsOf(one)) {
      if (name === "beckon" && typeof value === "string") return value;
      if (queue.length < LOOKED && (typeof value === "object" || isJson(value))) queue.push(value);
    }
  }
  return undefined;
}

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown): readonly (readonly [name: string, value: unknown])[] {
  try {
    const fields = (isJson(value) ? JSON.parse(value) : value) as Fields;
    if (typeof fields !== "object" || Array.isArray(fields) || ArrayBuffer.isView(fields))
      return [];
    return Object.keys(fields).map((name) => [name, fieldOf(fields, name)] as const);
  } catch {
    return [];
  }
}

/** Many services pass JSON on as text. */
function isJson(value: unknown): value is string {
  return typeof value === "string" && value.startsWith("{") && value.length <= TEXT;
}

function fieldOf(fields: Fields, name: string): unknown {
  try {
    return fields[name];
  } catch {
    return undefined;
  }
}
