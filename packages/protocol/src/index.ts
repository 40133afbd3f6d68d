export type * from "./frames.ts";
export { decodeBase64, decodeBase64Url, encodeBase64Url } from "./base64url.ts";
export { decodeText, describeFrames, type DescribeOptions } from "./describe.ts";
export { CLOSE, reconnectPolicy, type ReconnectPolicy } from "./close.ts";
export { type MessageLimits, readFramesByTable } from "./decode.ts";
export { TableWriter } from "./encode.ts";
export {
  type ConnectionErrorCode,
  type ErrorCode,
  type ErrorEntry,
  errorByNumber,
  ERRORS,
  type SdkErrorCode,
  type SendErrorCode,
  type WireErrorCode,
} from "./errors.ts";
export { decodeDeliverBody, decodeFrame, readFrames } from "./hot-decode.ts";
export {
  deliverBody,
  encodeFrames,
  encodeOrigin,
  encodeSendBody,
  FrameWriter,
} from "./hot-encode.ts";
export { LIMITS, type ProtocolLimits, validDeviceId, validUserId } from "./limits.ts";
export { MEANINGS } from "./meanings.ts";
export { ProtocolError } from "./protocol-error.ts";
export { FrameStream } from "./stream.ts";
export { readUtf8, utf8Length, writeUtf8 } from "./utf8.ts";
export { formatUuid, isUuidv7, parseUuid, uuidTime, uuidv7 } from "./uuid.ts";
export { WAKE_CLASSES } from "./schema.ts";
export { decodeHint, decodeWake, encodeHint, encodeWake } from "./wake.ts";

/** The version of the wire protocol that this package speaks. */
export const PROTOCOL_VERSION = 1;
/** The WebSocket subprotocol of this version. */
export const SUBPROTOCOL = "beckon.v1";
