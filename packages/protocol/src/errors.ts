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
  | "rate-limited"
  | "not-quieted";

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
  | "unreachable"
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
  /** On the wire: 1 to 99 of the connection, 101 to 199 of a SEND; 0: never on the wire. Never reused. */
  readonly number: number;
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

type Row = Omit<ErrorEntry, "code">;
type Rows<C extends ErrorCode> = { readonly [K in C]: Row };

const row = (
  number: number,
  retryable: boolean,
  closes: number | undefined,
  hint: string,
): Row => ({
  number,
  retryable,
  closes,
  hint,
});
/** A refused SEND never closes the connection. */
const send = (number: number, retryable: boolean, hint: string): Row =>
  row(number, retryable, undefined, hint);
const sdk = (retryable: boolean, hint: string): Row => send(0, retryable, hint);

const AGAIN = "Wait; the client tries again by itself.";
const ELSEWHERE = "Wait; the client tries elsewhere by itself.";

const CONNECTION: Rows<ConnectionErrorCode> = {
  "bad-frame": row(
    1,
    false,
    CLOSE.badFrame,
    "Update the client; `beckon decode` shows what it sent.",
  ),
  "message-too-large": row(2, false, CLOSE.messageTooLarge, "Send fewer frames in one message."),
  unsupported: row(3, false, undefined, "Do without it, or update the server."),
  "hello-expected": row(4, false, CLOSE.helloExpected, "Send HELLO alone, and wait for WELCOME."),
  "hello-timeout": row(5, true, CLOSE.helloTimeout, "Send HELLO at once."),
  "bad-hello": row(6, false, CLOSE.badHello, "The message says what to correct."),
  "bad-token": row(7, false, CLOSE.badToken, "Mint the token with the key that the server knows."),
  "token-expired": row(
    8,
    false,
    CLOSE.tokenExpired,
    "Get a new token from the application's backend.",
  ),
  "token-expiring": row(9, false, undefined, "Send AUTH with a new token."),
  "device-forbidden": row(
    10,
    false,
    CLOSE.deviceForbidden,
    "Use the device id that the token names.",
  ),
  replaced: row(11, false, CLOSE.replaced, "Give each instance a device id of its own."),
  revoked: row(12, false, CLOSE.revoked, "Log in again."),
  unavailable: row(13, true, CLOSE.unavailable, AGAIN),
  full: row(14, true, CLOSE.full, ELSEWHERE),
  draining: row(15, true, CLOSE.draining, ELSEWHERE),
  stopping: row(16, true, CLOSE.stopping, ELSEWHERE),
  silent: row(17, true, CLOSE.silent, "Send PING after each heartbeat of silence."),
  "not-acknowledging": row(
    18,
    true,
    CLOSE.notAcknowledging,
    "Send RECEIVED in time; keep handlers short.",
  ),
  "slow-consumer": row(19, true, CLOSE.slowConsumer, "Read faster; nothing is lost."),
  "rate-limited": row(20, true, CLOSE.rateLimited, "Pace SENDs as WELCOME says."),
  "not-quieted": row(21, true, undefined, AGAIN),
};

const SEND: Rows<SendErrorCode> = {
  "bad-id": send(101, false, "Make the id with the server's time."),
  "id-too-old": send(102, false, "Send it as a new message, if it still matters."),
  "id-conflict": send(103, false, "Make a new id for each message."),
  "bad-recipient": send(104, false, "Pass another user's id, as it stands in the token."),
  "payload-too-large": send(105, false, "Send a reference to the data instead."),
  "bad-lane": send(106, false, "Count n from 1 for each recipient, with prev below it."),
  forbidden: send(107, false, "Check `auth.send` of the server, or who may write to whom."),
  "out-of-order": send(108, true, "Send the lane again from the refused message on."),
  "window-exceeded": send(109, true, "Wait for ACKs before sending more."),
  "recipient-full": send(110, true, "Wait; the recipient must come and read."),
  "store-unavailable": send(111, true, AGAIN),
  "authorizer-unavailable": send(112, true, "Check the URL in `auth.send`."),
  internal: send(113, true, AGAIN),
};

const SDK: Rows<SdkErrorCode> = {
  "unsupported-runtime": sdk(
    false,
    "Pass what the message names as an option, like `ws` on Node 20.",
  ),
  unreachable: sdk(true, "Check `servers`; the client tries again by itself."),
  aborted: sdk(false, "It may have been delivered all the same."),
  closed: sdk(false, "Make a new client."),
  "bad-argument": sdk(false, "The message names it."),
  "storage-failed": sdk(true, "See the cause, as a full disk."),
  "token-failed": sdk(true, "See the cause; the client tries again by itself."),
  "handler-failed": sdk(true, "See the cause; the message is handed over again."),
  "outbox-full": sdk(true, "Wait until some are acknowledged."),
  expired: sdk(false, "Send it as a new message, if it still matters."),
};

type Catalogue = { readonly [C in ErrorCode]: ErrorEntry<C> };

/**
 * [P-10.1] Every error of the system, by its code; what each means is in `meanings.ts`. A test holds docs/protocol.md
 * against both.
 */
export const ERRORS: Catalogue = Object.fromEntries(
  Object.entries({ ...CONNECTION, ...SEND, ...SDK }).map(([code, entry]) => [
    code,
    { code, ...entry },
  ]),
) as unknown as Catalogue;

/** The entry of an ERROR frame's `code`; undefined for one that this version does not know. */
export function errorByNumber(number: number): ErrorEntry | undefined {
  return Object.values<ErrorEntry>(ERRORS).find((entry) => number > 0 && entry.number === number);
}
