import { createHmac } from "node:crypto";

import type { Hint, ServerAddresses } from "@beckon/protocol";
import { encodeBase64Url, encodeHint, encodeWake, utf8Length } from "@beckon/protocol";

import type { WakeIntent } from "../store/store.ts";
import type { PushItem } from "./provider.ts";
import { NONCE, type Seal, TAG } from "./seal.ts";
import { selectAddresses } from "./select.ts";

/** Bytes of a push's body: what every vendor takes. Web Push has the least: 4,096 with an encryption of its own, which takes 103. */
const BODY = 3993;
/** `{"beckon":""}` */
const AROUND = 13;
/** Bytes of a wake that are not the hint: tags and lengths, the key's id, nonce and the seal's tag. */
const ENVELOPE = 11 + (2 + NONCE) + 4 + TAG;
/** Bytes of a hint in a body of so many. base64url says three bytes in four characters. */
const longestHint = (body: number): number => Math.floor(((body - AROUND) * 3) / 4) - ENVELOPE;

const ELLIPSIS = "…";

/**
 * The push for an intent (M7, M9): the addresses of `server` that suit the device, and the preview, cut to what a push can carry,
 * sealed for the device. `server` without addresses: the hint names none, and the device goes to a server that it knows (M12).
 * `largest`: bytes of the body.
 */
export async function composeWake(
  intent: WakeIntent,
  server: ServerAddresses,
  seal: Seal,
  largest: number = BODY,
): Promise<PushItem> {
  const content: Hint = {
    server: selectAddresses(server, intent),
    conversation: intent.conversation,
    activity: intent.activity,
    wake: intent.class,
    expires: intent.expires,
    preview: intent.preview,
    call: Uint8Array.fromHex(intent.call),
    ended: intent.ended,
  };
  const hint = encodeFitting(content, longestHint(Math.min(largest, BODY)));
  const wake = await seal(intent.push.key, intent.device, hint);
  return {
    token: intent.push.token,
    body: JSON.stringify({ beckon: encodeBase64Url(encodeWake(wake)) }),
    // There are none of `none`.
    class: intent.class === "none" ? "silent" : intent.class,
    expires: intent.expires,
    collapse: collapseOf(intent),
  };
}

/**
 * One for each conversation of a device, and one for each call: what tells of its end takes the place of what rings. Made with the wake key, which the device alone has beside this
 * system: a push service sees that two pushes are of one conversation, not of which.
 */
function collapseOf({ push, conversation, call }: WakeIntent): string {
  const mac = createHmac("sha256", push.key.key);
  const what = call === "" ? `message\n${conversation}` : `call\n${call}`;
  mac.update(`beckon collapse v1\n${what}`);
  return encodeBase64Url(mac.digest().subarray(0, 24));
}

/** The addresses matter more than the end of the preview; the first of them, more than the last. */
function encodeFitting(hint: Hint, longest: number): Uint8Array {
  const bytes = encodeHint(hint);
  const over = bytes.length - longest;
  if (over <= 0) return bytes;
  if (hint.preview !== "") {
    const preview = cutUtf8(hint.preview, utf8Length(hint.preview) - over);
    return encodeFitting({ ...hint, preview }, longest);
  }
  const addresses = hint.server.addresses.slice(0, -1);
  const name = addresses.length === 0 ? "" : hint.server.name;
  return encodeFitting({ ...hint, server: { name, addresses } }, longest);
}

/** The beginning of a text, in so many bytes of UTF-8 with the ellipsis; never half a character. */
export function cutUtf8(text: string, bytes: number): string {
  let room = bytes - utf8Length(ELLIPSIS);
  if (room <= 0) return "";
  let kept = "";
  for (const character of text) {
    room -= utf8Length(character);
    if (room < 0) break;
    kept += character;
  }
  return kept === "" ? "" : kept + ELLIPSIS;
}
