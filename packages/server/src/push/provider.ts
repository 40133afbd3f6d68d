import type { Millis, WakeClass } from "@beckon/protocol";

/** Of what a device is told; of `none` it is told nothing. */
export type PushClass = Exclude<WakeClass, "none">;

/** One notification for one device's registration. */
export interface PushItem {
  /** The registration, as the device gave it. A secret: never logged. */
  readonly token: string;
  /** JSON that the push carries: `{"beckon": …}`. */
  readonly body: string;
  /** A vendor delays what is silent; a call rings at once, or not at all. */
  readonly class: PushClass;
  readonly expires: Millis;
  /**
   * It replaces one for this device that still waits at the push service and has the same: 32 characters of base64url, which tell nobody
   * but the device what they stand for (B5).
   */
  readonly collapse?: string;
}

export type PushOutcome =
  | { readonly kind: "sent" }
  /** The service no longer knows the token. */
  | { readonly kind: "gone" }
  | { readonly kind: "retry"; readonly after: Millis }
  /** The service will never take this one. */
  | { readonly kind: "rejected"; readonly reason: string };

export function rejected(reason: string): PushOutcome & { readonly kind: "rejected" } {
  return { kind: "rejected", reason };
}

/** What has not been answered by then counts as not answered. */
export const PUSH_ANSWER_MS: Millis = 5_000;

/**
 * A push service. MUST answer one outcome an item, in order, and MUST NOT throw or reject because of one of them; all of them within
 * {@link PUSH_ANSWER_MS}, so that no other server takes the intents for abandoned meanwhile (L5). Several calls may be under way.
 */
export interface PushProvider {
  /** As registrations name it: "webpush", "fcm", "apns", "webhook", "dev". */
  readonly name: string;
  /** Bytes of a body that it takes, where these are fewer than other services take. */
  readonly largestBody?: number;
  /** What is wrong with a registration, as far as can be seen without asking; undefined: nothing. Never says a part of the token. */
  fault?(token: string): string | undefined;
  send(items: readonly PushItem[]): Promise<readonly PushOutcome[]>;
  close(): Promise<void>;
}
