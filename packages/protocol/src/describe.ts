import type { Frame, UnknownFrame } from "./frames.ts";

import { decodeBase64 } from "./base64url.ts";
import { readFrames } from "./hot-decode.ts";
import { errorByNumber } from "./errors.ts";
import { ProtocolError } from "./protocol-error.ts";
import { readUtf8 } from "./utf8.ts";
import { formatUuid, isUuidv7, uuidTime } from "./uuid.ts";

export interface DescribeOptions {
  /** Shows the beginning of payloads and previews too, which are otherwise told by their length only (L11). */
  readonly payload?: boolean;
  /** One JSON object a line. */
  readonly json?: boolean;
  /** Told where the bytes stop being frames. */
  readonly onError?: (error: ProtocolError) => void;
}

/** Characters shown of a payload or a preview. */
const SHOWN = 80;

/** Fields that nobody may read over a shoulder: always told by their length only. */
const SECRET: ReadonlySet<string> = new Set(["token", "ticket", "key"]);
/** What users write. */
const CONTENT: ReadonlySet<string> = new Set(["payload", "preview"]);
/** Times, told as such besides their number. */
const TIMES: ReadonlySet<string> = new Set(["at", "time", "epoch", "outbox", "until"]);

/** Prints the frames of one message, a line each; where the bytes stop being frames, the last line says why. */
export function describeFrames(message: Uint8Array, options: DescribeOptions = {}): string {
  const lines: string[] = [];
  const limits = { messageBytes: Infinity, messageFrames: Infinity };
  try {
    readFrames(message, limits, (frame) => lines.push(describe(frame, options)));
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    const { code, message: what, at } = error;
    options.onError?.(error);
    lines.push(options.json ? quote({ error: code, message: what, at }) : `${code}: ${what}`);
  }
  return lines.join("\n");
}

/**
 * As {@link describeFrames}, for what was found in a log or a capture: hexadecimal (spaces, colons
 * and line ends between are ignored), base64 or base64url, or the bytes themselves.
 */
export function decodeText(input: string | Uint8Array, options: DescribeOptions = {}): string {
  return describeFrames(toBytes(input), options);
}

function toBytes(input: string | Uint8Array): Uint8Array {
  if (typeof input !== "string") {
    const text = printable(input);
    // A message could be printable by chance, but hardly one that is hexadecimal or base64 as well.
    return (text === undefined ? undefined : fromText(text)) ?? input;
  }
  const bytes = fromText(input);
  if (bytes === undefined)
    throw new ProtocolError("bad-frame", "neither hexadecimal nor base64", 0);
  return bytes;
}

function printable(bytes: Uint8Array): string | undefined {
  const text = readUtf8(bytes, 0, bytes.length);
  return text !== undefined && /^[\x20-\x7e\s]*$/.test(text) ? text : undefined;
}

function fromText(text: string): Uint8Array | undefined {
  const digits = text.replaceAll(/0x|[\s:,]/gi, "");
  if (/^(?:[\da-f]{2})*$/i.test(digits)) {
    return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  }
  return decodeBase64(text.replaceAll(/\s/g, ""));
}

function describe(frame: Frame | UnknownFrame, options: DescribeOptions): string {
  const { type, ...fields } = frame;
  const shown = shownFields(fields, options);
  if (options.json) return quote({ type, ...shown });
  const parts = Object.entries(shown).map(([name, value]) => `${name}=${inLine(value)}`);
  return [type.toUpperCase(), ...parts].join(" ");
}

/** Only what is not the default, so that a line says what is special. */
function shownFields(fields: object, options: DescribeOptions): Record<string, unknown> {
  const shown: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields) as [string, unknown][]) {
    if (name === "raw") continue;
    const text = show(name, value, options);
    if (text !== undefined) shown[name] = text;
  }
  return shown;
}

/** Undefined: the default, which is not shown. */
function show(name: string, value: unknown, options: DescribeOptions): unknown {
  if (value instanceof Uint8Array) return showBytes(name, value, options);
  if (Array.isArray(value)) {
    return value.length === 0
      ? undefined
      : value.map((element: unknown) => show(name, element, options) ?? element);
  }
  switch (typeof value) {
    case "object":
      return value === null ? undefined : shownFields(value, options);
    case "string":
      if (value === "") return undefined;
      if (SECRET.has(name)) return `<${value.length} characters>`;
      if (CONTENT.has(name)) return contentOf(value, `${value.length} characters`, options);
      return value;
    case "number":
      if (value === 0) return undefined;
      if (name === "code") return errorByNumber(value)?.code ?? value;
      return TIMES.has(name) ? `${value} (${isoTime(value)})` : value;
    default:
      return value === false ? undefined : value;
  }
}

function showBytes(name: string, bytes: Uint8Array, options: DescribeOptions): string | undefined {
  if (bytes.length === 0) return undefined;
  if (name === "id" && isUuidv7(bytes)) return `${formatUuid(bytes)} (${isoTime(uuidTime(bytes))})`;
  const length = `${bytes.length} bytes`;
  if (!CONTENT.has(name)) return `<${length}>`;
  return contentOf(readUtf8(bytes, 0, bytes.length) ?? hex(bytes), length, options);
}

function contentOf(text: string, length: string, { payload = false }: DescribeOptions): string {
  if (!payload) return `<${length}>`;
  const beginning = text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
  return `<${length}> ${beginning}`;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes.subarray(0, SHOWN), (byte) => byte.toString(16).padStart(2, "0")).join(
    "",
  );
}

function isoTime(ms: number): string {
  const time = new Date(ms);
  return Number.isNaN(time.getTime()) ? "no time" : time.toISOString();
}

/** Text that could be mistaken for several words is quoted. */
function inLine(value: unknown): string {
  if (typeof value === "string" && /^[\w<(][\w .:,/()<>+-]*$/.test(value)) return value;
  return quote(value);
}

/** JSON that neither breaks the line nor speaks to a terminal: what cannot be seen is escaped. */
function quote(value: unknown): string {
  return JSON.stringify(value).replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, (unseen) =>
    Array.from({ length: unseen.length }, (_, at) => escapeUnit(unseen.charCodeAt(at))).join(""),
  );
}

function escapeUnit(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, "0")}`;
}
