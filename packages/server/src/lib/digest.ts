import { createHash } from "node:crypto";

/** Tells a repeat of a message from another message under the same key. 16 characters. */
export function digest(to: string, payload: Uint8Array): string {
  return createHash("sha256").update(to).update("\n").update(payload).digest("base64").slice(0, 16);
}
