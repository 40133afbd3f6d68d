import type { Hint, Wake } from "./frames.ts";
import type { AnySchema } from "./schema.ts";

import { readFields } from "./decode.ts";
import { writeFields } from "./encode.ts";
import { Reader } from "./reader.ts";
import { HINT, WAKE } from "./schema.ts";
import { Writer } from "./writer.ts";

/** [P-9.1] The envelope that a push carries, in base64url, under the key "beckon". */
export function encodeWake(wake: Wake): Uint8Array<ArrayBuffer> {
  return encode(WAKE, wake);
}

export function decodeWake(bytes: Uint8Array): Wake {
  return readFields(new Reader(bytes), WAKE) as unknown as Wake;
}

/** What is sealed in a wake. */
export function encodeHint(hint: Hint): Uint8Array<ArrayBuffer> {
  return encode(HINT, hint);
}

export function decodeHint(bytes: Uint8Array): Hint {
  return readFields(new Reader(bytes), HINT) as unknown as Hint;
}

function encode(schema: AnySchema, values: object): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  writeFields(writer, schema, values);
  return writer.toBytes();
}
