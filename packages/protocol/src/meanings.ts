import type { ErrorCode } from "./errors.ts";

/**
 * What each error means, as docs/protocol.md says it. A server says it in ERROR; a module of its own, so that an
 * SDK, which is told, need not carry it.
 */
export const MEANINGS: { readonly [C in ErrorCode]: string } = {
  "bad-frame": "The bytes are not frames of this protocol, or a frame that may not come now.",
  "message-too-large": "One message has more bytes or frames than WELCOME allows.",
  unsupported: "The server does not know this kind of frame; it was ignored.",
  "hello-expected": "Something else than one HELLO came before WELCOME.",
  "hello-timeout": "No HELLO came in time.",
  "bad-hello":
    "HELLO lacks something or contradicts itself: device id, token and ticket, push registration.",
  "bad-token": "The token is not one of this system: signature, issuer, audience or user.",
  "token-expired": "The token, or the one that the ticket stands for, is past its expiry.",
  "token-expiring": "The connection will be closed for its token in 60 seconds.",
  "device-forbidden": "The token is for another device.",
  replaced: "A later connection of the same device took over.",
  revoked: "The user's or the device's access was withdrawn.",
  unavailable:
    "The server cannot take a device now, as its store does not answer; or another connection of the device came to be elsewhere while it waited for the store.",
  full: "The server has as many connections as it may have.",
  draining: "The server is being emptied.",
  stopping: "The server stops now.",
  silent: "Nothing was heard from the device for the idle time.",
  "not-acknowledging": "The device did not acknowledge what it was sent.",
  "slow-consumer":
    "The device reads slower than it is written to; the socket's buffer is at its bound.",
  "rate-limited": "More a second than WELCOME allows. With `send`: that SEND alone is refused.",
  "not-quieted": "A QUIET could not be stored, as the store does not answer.",

  "bad-id":
    "The message id is not a UUIDv7 of 16 bytes, or its time is more than a day ahead; or `ends` is not 16 bytes.",
  "id-too-old": "The message id is older than seven days, too old to know repeats by.",
  "id-conflict": "The same device has sent another message under this id.",
  "bad-recipient":
    "The recipient is not a user id (1 to 128 bytes without control characters), or the sender.",
  "payload-too-large": "The payload or the preview is larger than WELCOME and the protocol allow.",
  "bad-lane": "The position in the lane contradicts itself: prev must be smaller than n.",
  forbidden: "The sender may not write to this recipient.",
  "out-of-order": "An earlier message of the lane was refused and has not come again.",
  "window-exceeded": "More SENDs are unanswered than WELCOME allows.",
  "recipient-full": "Every durable device of the recipient holds as many messages as it may.",
  "store-unavailable":
    "The message could neither be delivered nor held, as the store does not answer.",
  "authorizer-unavailable": "The application did not answer whether this may be sent.",
  internal: "The server failed; its log has the cause.",

  "unsupported-runtime": "The runtime lacks something that the SDK needs.",
  unreachable: "No server answers: none could be reached, or the connection broke.",
  aborted: "The message was withdrawn by its signal before it was acknowledged.",
  closed: "The client was closed.",
  "bad-argument": "An argument is not what the call takes.",
  "storage-failed": "The storage refused to read or write.",
  "token-failed": "The application's `token` function failed, or did not answer in time.",
  "handler-failed": "The application's message handler failed.",
  "outbox-full": "The outbox holds as many unsent messages as it may.",
  expired: "The message was not acknowledged before its own time was over.",
};
