import { CLOSE } from "./close.ts";

/** Refuse or end a connection; ERROR with `send` = 0. `rate-limited` may refuse a SEND alone, too. */
export type ConnectionErrorCode =
  | "bad-frame"
  | "message-too-large"
  | "unsupported"
  | "hello-expected"
  | "hello-timeout"
  | "bad-hello"
  | "bad-token"
  | "token-expired"
  | "token-expiring"
  | "device-forbidden"
  | "replaced"
  | "revoked"
  | "unavailable"
  | "full"
  | "draining"
  | "stopping"
  | "silent"
  | "not-acknowledging"
  | "slow-consumer"
  | "rate-limited";

/** Refuse one SEND; ERROR with its number in `send`. */
export type SendErrorCode =
  | "bad-id"
  | "id-too-old"
  | "id-conflict"
  | "bad-recipient"
  | "payload-too-large"
  | "bad-lane"
  | "forbidden"
  | "out-of-order"
  | "window-exceeded"
  | "recipient-full"
  | "store-unavailable"
  | "authorizer-unavailable"
  | "internal";

/** Raised by an SDK; never on the wire. */
export type SdkErrorCode =
  | "unsupported-runtime"
  | "aborted"
  | "closed"
  | "bad-argument"
  | "storage-failed"
  | "token-failed"
  | "handler-failed"
  | "outbox-full"
  | "expired";

export type WireErrorCode = ConnectionErrorCode | SendErrorCode;
export type ErrorCode = WireErrorCode | SdkErrorCode;

export interface ErrorEntry<C extends ErrorCode = ErrorCode> {
  readonly code: C;
  /** On the wire; 0: never on the wire. Numbers are never reused. */
  readonly number: number;
  readonly scope: "connection" | "send" | "sdk";
  readonly meaning: string;
  /**
   * The same thing may succeed later, unchanged. For an error that closes: whether the same client
   * may reconnect with the same token.
   */
  readonly retryable: boolean;
  /** The close code that follows on the connection; undefined: it stays open. */
  readonly closes: number | undefined;
  /** What to do about it, said to the developer. */
  readonly hint: string;
}

function connection<C extends ConnectionErrorCode>(
  code: C,
  number: number,
  retryable: boolean,
  closes: number | undefined,
  meaning: string,
  hint: string,
): ErrorEntry<C> {
  return { code, number, scope: "connection", meaning, retryable, closes, hint };
}

/** A refused SEND never closes the connection. */
function send<C extends SendErrorCode>(
  code: C,
  number: number,
  retryable: boolean,
  meaning: string,
  hint: string,
): ErrorEntry<C> {
  return { code, number, scope: "send", meaning, retryable, closes: undefined, hint };
}

function sdk<C extends SdkErrorCode>(
  code: C,
  retryable: boolean,
  meaning: string,
  hint: string,
): ErrorEntry<C> {
  return { code, number: 0, scope: "sdk", meaning, retryable, closes: undefined, hint };
}

/** [P-10.1] Every error of the system, by its code. A test holds docs/protocol.md against it. */
export const ERRORS: { readonly [C in ErrorCode]: ErrorEntry<C> } = {
  "bad-frame": connection(
    "bad-frame",
    1,
    false,
    CLOSE.badFrame,
    "The bytes are not frames of this protocol, or a frame that may not come now.",
    "Update the client; `beckon decode` shows what it sent.",
  ),
  "message-too-large": connection(
    "message-too-large",
    2,
    false,
    CLOSE.messageTooLarge,
    "One message has more bytes or frames than WELCOME allows.",
    "Send fewer frames in one message; the limits are in WELCOME.",
  ),
  unsupported: connection(
    "unsupported",
    3,
    false,
    undefined,
    "The server does not know this kind of frame; it was ignored.",
    "Do without it, or update the server.",
  ),
  "hello-expected": connection(
    "hello-expected",
    4,
    false,
    CLOSE.helloExpected,
    "Something else than one HELLO came before WELCOME.",
    "Send HELLO alone, first, and wait for WELCOME.",
  ),
  "hello-timeout": connection(
    "hello-timeout",
    5,
    true,
    CLOSE.helloTimeout,
    "No HELLO came in time.",
    "Send HELLO at once when the connection is open.",
  ),
  "bad-hello": connection(
    "bad-hello",
    6,
    false,
    CLOSE.badHello,
    "HELLO lacks something or contradicts itself: device id, token and ticket, push registration.",
    "The message says what is wrong; correct the client.",
  ),
  "bad-token": connection(
    "bad-token",
    7,
    false,
    CLOSE.badToken,
    "The token is not one of this system: signature, issuer, audience or user.",
    "Mint the token with the key that the server was configured with.",
  ),
  "token-expired": connection(
    "token-expired",
    8,
    false,
    CLOSE.tokenExpired,
    "The token, or the one that the ticket stands for, is past its expiry.",
    "Ask the application's backend for a new token.",
  ),
  "token-expiring": connection(
    "token-expiring",
    9,
    false,
    undefined,
    "The connection will be closed for its token in 60 seconds.",
    "Send AUTH with a new token.",
  ),
  "device-forbidden": connection(
    "device-forbidden",
    10,
    false,
    CLOSE.deviceForbidden,
    "The token is for another device.",
    "Use the device id that the token names.",
  ),
  replaced: connection(
    "replaced",
    11,
    false,
    CLOSE.replaced,
    "A later connection of the same device took over.",
    "Let one instance hold the connection, or give each a device id of its own.",
  ),
  revoked: connection(
    "revoked",
    12,
    false,
    CLOSE.revoked,
    "The user's or the device's access was withdrawn.",
    "Log in again.",
  ),
  unavailable: connection(
    "unavailable",
    13,
    true,
    CLOSE.unavailable,
    "The server cannot take a device now, as its store does not answer.",
    "Wait; the client tries again by itself.",
  ),
  full: connection(
    "full",
    14,
    true,
    CLOSE.full,
    "The server has as many connections as it may have.",
    "Connect to another server; the client does so by itself.",
  ),
  draining: connection(
    "draining",
    15,
    true,
    CLOSE.draining,
    "The server is being emptied.",
    "Connect to another server; the client does so by itself.",
  ),
  stopping: connection(
    "stopping",
    16,
    true,
    CLOSE.stopping,
    "The server stops now.",
    "Connect to another server; the client does so by itself.",
  ),
  silent: connection(
    "silent",
    17,
    true,
    CLOSE.silent,
    "Nothing was heard from the device for the idle time.",
    "Send PING after each heartbeat of silence.",
  ),
  "not-acknowledging": connection(
    "not-acknowledging",
    18,
    true,
    CLOSE.notAcknowledging,
    "The device did not acknowledge what it was sent.",
    "Send RECEIVED for every DELIVER; keep handlers short.",
  ),
  "slow-consumer": connection(
    "slow-consumer",
    19,
    true,
    CLOSE.slowConsumer,
    "The device reads slower than it is written to; the socket's buffer is at its bound.",
    "Read faster, or use a better link; nothing is lost.",
  ),
  "rate-limited": connection(
    "rate-limited",
    20,
    true,
    CLOSE.rateLimited,
    "More a second than WELCOME allows. With `send`: that SEND alone is refused.",
    "Pace SENDs by the rate and burst in WELCOME; wait for `retry_after`.",
  ),

  "bad-id": send(
    "bad-id",
    101,
    false,
    "The message id is not a UUIDv7 of 16 bytes, or its time is more than a day ahead.",
    "Make the id with the server's time.",
  ),
  "id-too-old": send(
    "id-too-old",
    102,
    false,
    "The message id is older than seven days, too old to know repeats by.",
    "Send it as a new message, if it still matters.",
  ),
  "id-conflict": send(
    "id-conflict",
    103,
    false,
    "The same device has sent another message under this id.",
    "Make a new id for each message.",
  ),
  "bad-recipient": send(
    "bad-recipient",
    104,
    false,
    "The recipient is not a user id (1 to 128 bytes without control characters), or the sender.",
    "Pass the user's id as it stands in the token.",
  ),
  "payload-too-large": send(
    "payload-too-large",
    105,
    false,
    "The payload or the preview is larger than WELCOME and the protocol allow.",
    "Send a reference to the data instead.",
  ),
  "bad-lane": send(
    "bad-lane",
    106,
    false,
    "The position in the lane contradicts itself: prev must be smaller than n.",
    "Count n from 1 for each recipient; n = 0 is for messages without a lane.",
  ),
  forbidden: send(
    "forbidden",
    107,
    false,
    "The sender may not write to this recipient.",
    "Check `auth.send` of the server, or who the application lets write to whom.",
  ),
  "out-of-order": send(
    "out-of-order",
    108,
    true,
    "An earlier message of the lane was refused and has not come again.",
    "Send the lane again from the refused message on.",
  ),
  "window-exceeded": send(
    "window-exceeded",
    109,
    true,
    "More SENDs are unanswered than WELCOME allows.",
    "Wait for ACKs before sending more.",
  ),
  "recipient-full": send(
    "recipient-full",
    110,
    true,
    "Every durable device of the recipient holds as many messages as it may.",
    "Try again later; the recipient must come and read.",
  ),
  "store-unavailable": send(
    "store-unavailable",
    111,
    true,
    "The message could neither be delivered nor held, as the store does not answer.",
    "Wait; the client tries again by itself.",
  ),
  "authorizer-unavailable": send(
    "authorizer-unavailable",
    112,
    true,
    "The application did not answer whether this may be sent.",
    "Check the URL in `auth.send`; the client tries again by itself.",
  ),
  internal: send(
    "internal",
    113,
    true,
    "The server failed; its log has the cause.",
    "Wait; the client tries again by itself.",
  ),

  "unsupported-runtime": sdk(
    "unsupported-runtime",
    false,
    "The runtime lacks something that the SDK needs.",
    "Pass it as an option; the message names it (Node 20 has no WebSocket: pass that of `ws`).",
  ),
  aborted: sdk(
    "aborted",
    false,
    "The message was withdrawn by its signal before it was acknowledged.",
    "Nothing to do; it may have been delivered all the same.",
  ),
  closed: sdk("closed", false, "The client was closed.", "Make a new one with `connect`."),
  "bad-argument": sdk(
    "bad-argument",
    false,
    "An argument is not what the call takes.",
    "The message names it.",
  ),
  "storage-failed": sdk(
    "storage-failed",
    true,
    "The storage refused to read or write.",
    "Check the quota, and that no other tab blocks the database.",
  ),
  "token-failed": sdk(
    "token-failed",
    true,
    "The application's `token` function failed, or did not answer in time.",
    "The cause has what it threw; the client asks again by itself.",
  ),
  "handler-failed": sdk(
    "handler-failed",
    true,
    "The application's message handler failed.",
    "The cause has what it threw; the message stays unacknowledged and is handed over again.",
  ),
  "outbox-full": sdk(
    "outbox-full",
    true,
    "The outbox holds as many unsent messages as it may.",
    "Wait until some are acknowledged.",
  ),
  expired: sdk(
    "expired",
    false,
    "The message was not acknowledged before its own time was over.",
    "Send it as a new message, if it still matters.",
  ),
};

const BY_NUMBER: ReadonlyMap<number, ErrorEntry> = new Map(
  Object.values<ErrorEntry>(ERRORS)
    .filter((entry) => entry.number !== 0)
    .map((entry) => [entry.number, entry]),
);

/** The entry of an ERROR frame's `code`; undefined for one that this version does not know. */
export function errorByNumber(number: number): ErrorEntry | undefined {
  return BY_NUMBER.get(number);
}
