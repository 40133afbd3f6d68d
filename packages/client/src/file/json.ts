import type { Stored } from "../storage.ts";

/** Marks bytes, as in `{ "$": "base64" }`; the names of objects that begin with it begin with two. */
const MARK = "$";

/** As one line of text. Throws for what is none of {@link Stored}. */
export function toJson(value: Stored): string {
  return JSON.stringify(mark(value));
}

export function fromJson(text: string): Stored {
  return unmark(JSON.parse(text) as Stored);
}

function mark(value: Stored): Stored {
  switch (typeof value) {
    case "string":
    case "number":
    case "boolean":
      return value;
    case "object":
      if (value === null) return value;
      if (value instanceof Uint8Array) return { [MARK]: bytesToBase64(value) };
      return isList(value) ? value.map(mark) : renamed(value, escape, mark);
    default:
      throw new TypeError(`a ${typeof value} cannot be stored`);
  }
}

function unmark(value: Stored): Stored {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  if (isList(value)) return value.map(unmark);
  const bytes = value[MARK];
  if (typeof bytes === "string") return new Uint8Array(Buffer.from(bytes, "base64"));
  return renamed(value, unescape, unmark);
}

type Fields = Readonly<Record<string, Stored>>;

/** Keeps also what is called `__proto__`. */
function renamed(
  value: Fields,
  rename: (name: string) => string,
  change: (value: Stored) => Stored,
): Fields {
  const entries = Object.entries(value).filter(([, one]) => one !== undefined);
  return Object.fromEntries(entries.map(([name, one]) => [rename(name), change(one)]));
}

const escape = (name: string): string => (name.startsWith(MARK) ? MARK + name : name);
const unescape = (name: string): string => (name.startsWith(MARK) ? name.slice(1) : name);

function bytesToBase64({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString("base64");
}

/** `Array.isArray` does not know of read-only ones. */
const isList = (value: object): value is readonly Stored[] => Array.isArray(value);
