import type { Millis } from "@beckon/protocol";
import * as z from "zod";

import { parseJson } from "./post.ts";
import type { PushItem } from "./provider.ts";

/** What is shown to the user, whoever wrote: a push service can read it. */
export interface FcmText {
  /** Empty: none. */
  readonly title: string;
  readonly body: string;
  /** Instead of `body`, for a call. */
  readonly callBody: string;
  /** Android, too, shows it without waking the application. Else the application does, and iOS alone shows it. */
  readonly isShown: boolean;
}

/** Bytes of data, keys and values, and of what is shown. */
const LONGEST = 4096;
/** Bytes of a title and of a body: with the longest wake they fit. */
export const LONGEST_TEXT = 48;
/** Seconds: FCM keeps nothing for longer. */
const LONGEST_TTL = 28 * 86_400;

const strings = z.record(z.string(), z.string());

/**
 * The body of a request (FCM HTTP v1), or why there is none. FCM passes its `data` on, and of `android`, `apns` and `webpush` what is
 * for the kind of device that the token is of. No `collapse_key`: FCM lets through 20 messages with one, and then one in three
 * minutes, and a device that is away has few wakes waiting without.
 */
export function fcmMessage(item: PushItem, text: FcmText, now: Millis): { json: string } | string {
  const data = strings.safeParse(parseJson(item.body)).data;
  if (data === undefined) return "it is no JSON object of strings";
  const isSilent = item.class === "silent";
  const { title } = text;
  const shown = {
    ...(title === "" ? {} : { title }),
    body: item.class === "call" ? text.callBody : text.body,
  };
  const isShown = text.isShown && !isSilent;
  const carried = isShown ? [data, shown] : [data];
  const bytes = carried.flatMap((part) => Object.entries(part).flat()).join("");
  if (Buffer.byteLength(bytes) > LONGEST) return `it has more than ${LONGEST} bytes`;

  // Down to a second: a call is not to ring after its end.
  const ttl = Math.min(LONGEST_TTL, Math.max(0, Math.floor((item.expires - now) / 1_000)));
  const { collapse } = item;
  const message = {
    token: item.token,
    data,
    ...(isShown ? { notification: shown } : {}),
    android: {
      priority: isSilent ? "normal" : "high",
      ttl: `${ttl}s`,
      ...(isShown && collapse !== undefined ? { notification: { tag: collapse } } : {}),
    },
    apns: {
      headers: {
        "apns-push-type": isSilent ? "background" : "alert",
        "apns-priority": isSilent ? "5" : "10",
        "apns-expiration": String(Math.floor(now / 1_000) + ttl),
        ...(collapse === undefined ? {} : { "apns-collapse-id": collapse }),
      },
      payload: {
        aps: isSilent
          ? { "content-available": 1 }
          : { alert: shown, sound: "default", "mutable-content": 1 },
      },
    },
    webpush: {
      headers: {
        TTL: String(ttl),
        Urgency: isSilent ? "normal" : "high",
        ...(collapse === undefined ? {} : { Topic: collapse }),
      },
    },
  };
  return { json: JSON.stringify({ message }) };
}
