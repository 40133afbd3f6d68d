/** What APNs is told of a push. Pure. */
import { type Millis, utf8Length } from "@beckon/protocol";

import type { Registration } from "./apns-registration.ts";
import type { PushItem } from "./provider.ts";

/** What a device shows where nothing has opened the seal. */
export interface AlertTexts {
  readonly title?: string | undefined;
  readonly message: AlertText;
  readonly call: AlertText;
}

/** `key`: of the application's localised texts. */
export type AlertText = { readonly text: string } | { readonly key: string };

export interface Notification {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly payload: string;
}

/** Bytes of a payload; of one by PushKit. */
const PAYLOAD = 4096;
const VOIP_PAYLOAD = 5120;
/** `{"aps":`, and a comma in the place of the body's first brace. */
const AROUND = 7;
/** APNs keeps nothing for longer. */
const LONGEST: Millis = 30 * 86_400_000;

/** Written once for each class. */
export interface Dressing {
  readonly message: string;
  readonly call: string;
  readonly silent: string;
  /** Bytes of an item's body that fit into each. */
  readonly largestBody: number;
}

export function dress({ title, message, call }: AlertTexts): Dressing {
  const alert = (text: AlertText, more: object): string =>
    JSON.stringify({
      alert: {
        ...(title === undefined ? {} : { title }),
        ...("key" in text ? { "loc-key": text.key } : { body: text.text }),
      },
      sound: "default",
      // A notification service extension may open the seal, and show what is in it instead;
      "mutable-content": 1,
      // and the application is started in the background, to connect.
      "content-available": 1,
      ...more,
    });
  const dressing = {
    message: alert(message, {}),
    call: alert(call, { "interruption-level": "time-sensitive" }),
    silent: JSON.stringify({ "content-available": 1 }),
  };
  const longest = Math.max(...Object.values(dressing).map(utf8Length));
  return { ...dressing, largestBody: PAYLOAD - AROUND - longest };
}

/** Undefined: it is too large. `now`: ms since 1970; `id`: a UUID. */
export function notificationOf(
  item: PushItem,
  registration: Registration,
  dressing: Dressing,
  now: Millis,
  id: string,
): Notification | undefined {
  const payload = payloadOf(dressing[item.class], item.body);
  if (utf8Length(payload) > PAYLOAD) return undefined;
  return {
    path: `/3/device/${registration.device}`,
    headers: {
      ...headersOf(item, now, id),
      "apns-topic": registration.topic,
      "apns-push-type": item.class === "silent" ? "background" : "alert",
      // APNs refuses a background push that is urgent.
      "apns-priority": item.class === "silent" ? "5" : "10",
      ...(item.collapse === undefined ? {} : { "apns-collapse-id": item.collapse }),
    },
    payload,
  };
}

/**
 * The same for a call that PushKit hands to the application, which has to show it at once. It replaces nothing: each call rings.
 * Undefined: it is too large.
 */
export function voipOf(
  item: PushItem,
  voip: string,
  topic: string,
  now: Millis,
  id: string,
): Notification | undefined {
  const payload = payloadOf("{}", item.body);
  if (utf8Length(payload) > VOIP_PAYLOAD) return undefined;
  return {
    path: `/3/device/${voip}`,
    headers: {
      ...headersOf(item, now, id),
      "apns-topic": `${topic}.voip`,
      "apns-push-type": "voip",
      "apns-priority": "10",
    },
    payload,
  };
}

function headersOf({ expires }: PushItem, now: Millis, id: string): Record<string, string> {
  // 0: once, now, and never again.
  const until = expires <= now ? 0 : Math.ceil(Math.min(expires, now + LONGEST) / 1_000);
  return { "apns-id": id, "apns-expiration": String(until), "content-type": "application/json" };
}

/** `body` is JSON of an object that is not empty. */
function payloadOf(aps: string, body: string): string {
  return `{"aps":${aps},${body.slice(1)}`;
}
