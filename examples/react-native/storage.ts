/** A storage of the SDK over AsyncStorage, MMKV or anything else that keeps texts by name. */
import type { Change, Storage, Stored } from "@beckon/client/storage";

/** What of AsyncStorage is used. Calls may also answer at once, as those of MMKV do. */
export interface Values {
  getAllKeys(): Promise<readonly string[]> | readonly string[];
  getItem(key: string): Promise<string | null> | string | null;
  /** All of the text or nothing, and on disk when it resolves. */
  setItem(key: string, text: string): Promise<void> | void;
  removeItem(key: string): Promise<void> | void;
}

/** Resolves when the storage of that name is free: one client at a time uses it. */
const queues = new Map<string, Promise<void>>();

/**
 * One storage for each `name`, as of a user. Several texts are never written at once; so a write is first noted as one text, and what is
 * noted is done again by the next `read`, however far it came.
 */
export function storageOver(values: Values, name: string): Storage {
  const prefix = `beckon/${name}/`;
  const note = `beckon/${name}`;
  /** Noted, and not done. */
  let owed: readonly Change[] = [];
  let leave = (): void => {};
  let close = (): void => {};
  const closed = new Promise<never>((_, reject) => {
    close = () => reject(new Error("closed"));
  });
  closed.catch(() => {});

  async function turn(): Promise<void> {
    const before = queues.get(name) ?? Promise.resolve();
    const mine = new Promise<void>((resolve) => (leave = resolve));
    queues.set(
      name,
      before.then(() => mine),
    );
    await Promise.race([before, closed]);
  }

  async function apply(changes: readonly Change[]): Promise<void> {
    for (const { key, value } of changes) {
      if (value === undefined) await values.removeItem(prefix + key);
      else await values.setItem(prefix + key, toText(value));
    }
  }

  return {
    async read() {
      await turn();
      const noted = await values.getItem(note);
      if (noted !== null) await apply(fromNote(noted));
      const keys = (await values.getAllKeys()).filter((key) => key.startsWith(prefix)).sort();
      const read: [string, Stored][] = [];
      for (const key of keys) {
        const text = await values.getItem(key);
        if (text !== null) read.push([key.slice(prefix.length), fromText(text)]);
      }
      return read;
    },
    async write(changes) {
      const all = [...owed, ...changes];
      await values.setItem(note, toNote(all));
      // From here on it is written: what fails below is done by the next write, or the next run.
      owed = all;
      await apply(all).then(
        () => (owed = []),
        () => {},
      );
    },
    async clear() {
      owed = [];
      await values.removeItem(note);
      for (const key of await values.getAllKeys()) {
        if (key.startsWith(prefix)) await values.removeItem(key);
      }
    },
    async close() {
      close();
      leave();
    },
  };
}

/** JSON that also says bytes; lists and objects say that they are. */
type Text =
  | string
  | number
  | boolean
  | null
  | { b: string }
  | { l: Text[] }
  | { o: [string, Text][] };

const toText = (value: Stored): string => JSON.stringify(mark(value));
const fromText = (text: string): Stored => unmark(JSON.parse(text) as Text);

function mark(value: Stored): Text {
  if (typeof value === "function") throw new TypeError("a function cannot be stored");
  if (typeof value !== "object" || value === null) return value;
  if (ArrayBuffer.isView(value)) {
    return { b: Array.from(value, (byte) => String.fromCharCode(byte)).join("") };
  }
  if (Array.isArray(value)) return { l: value.map(mark) };
  return { o: Object.entries(value).map(([name, one]) => [name, mark(one)]) };
}

function unmark(text: Text): Stored {
  if (typeof text !== "object" || text === null) return text;
  if ("b" in text) return Uint8Array.from(text.b, (character) => character.charCodeAt(0));
  if ("l" in text) return text.l.map(unmark);
  return Object.fromEntries(text.o.map(([name, one]) => [name, unmark(one)]));
}

type Noted = [key: string, value?: Text][];

function toNote(changes: readonly Change[]): string {
  const noted: Noted = changes.map(({ key, value }) =>
    value === undefined ? [key] : [key, mark(value)],
  );
  return JSON.stringify(noted);
}

function fromNote(text: string): Change[] {
  return (JSON.parse(text) as Noted).map(([key, value]) => ({
    key,
    value: value === undefined ? undefined : unmark(value),
  }));
}
