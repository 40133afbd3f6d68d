import { readUtf8, utf8Length, writeUtf8 } from "@beckon/protocol";

export function encodeText(text: string): Uint8Array {
  const bytes = new Uint8Array(utf8Length(text));
  writeUtf8(bytes, 0, text);
  return bytes;
}

/** What is not UTF-8 keeps its ASCII; each other byte becomes U+FFFD. */
export function decodeText(bytes: Uint8Array): string {
  const text = readUtf8(bytes, 0, bytes.length);
  if (text !== undefined) return text;
  return Array.from(bytes, (byte) => (byte < 0x80 ? String.fromCharCode(byte) : "\uFFFD")).join("");
}
