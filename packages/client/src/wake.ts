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

/** A key and the registration that it was made for. */
interface Key extends WakeKey {
  readonly provider: string;
  readonly token: string;
  readonly made: Millis;
  readonly registered: boolean;
}

/** A service worker opens it, and then the application. */
const OPENINGS = 2;
/** Wakes whose openings are counted; an older one has expired, or is opened a third time. */
const COUNTED = 64;
const KEYS = 2;
/** A key is replaced after this. */
const KEY_AGE: Millis = 30 * 86_400_000;
/** How deep the data of a push may hide what is ours. */
const DEPTH = 4;

export function createWakes(
  clock: Clock,
  random: Random,
  crypto: SealCrypto,
  journal: Journal,
): Wakes {
  /** The newest first. */
  let keys: readonly Key[] = [];
  /** Names of wakes, and how often they were opened; oldest first. */
  let opened: readonly (readonly [name: string, times: number])[] = [];
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
    const bytes = decodeBase64Url(find(data, DEPTH) ?? "");
    if (bytes === undefined || bytes.length === 0) return undefined;
    const wake = decodeWake(bytes);
    const key = keys.find(({ id }) => id === wake.key);
    if (key === undefined) return undefined;
    const sealed = await crypto.open(key.key, wake.nonce, wake.sealed, encodeText(device));
    const hint = decodeHint(sealed);
    const name = `${wake.key} ${wake.nonce.join(" ")}`;
    const times = opened.find(([other]) => other === name)?.[1] ?? 0;
    if (hint.expires <= serverTime || times >= OPENINGS) return undefined;
    const others = opened.filter(([other]) => other !== name);
    opened = [...others, [name, times + 1] as const].slice(-COUNTED);
    journal.write([{ key: "w/opened", value: opened }]);
    return hint;
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
      if (key === "w/opened") opened = value as unknown as typeof opened;
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

/** What stands under "beckon" in the data of a push, however the push service has wrapped it. */
function find(data: unknown, depth: number): string | undefined {
  if (depth === 0) return undefined;
  if (typeof data === "string") {
    // JSON as text, as many services pass it on.
    return data.startsWith("{") ? find(JSON.parse(data), depth - 1) : undefined;
  }
  if (typeof data !== "object" || data === null) return undefined;
  const { beckon, data: inner } = data as { readonly beckon?: unknown; readonly data?: unknown };
  return typeof beckon === "string" ? beckon : find(inner, depth - 1);
}
