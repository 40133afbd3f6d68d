/**
 * WebSocket close codes (docs/protocol.md, part 11). The range of a code says what the device does
 * next, so that an old client does the right thing with a code that it has never heard of.
 */
export const CLOSE = {
  /** The answer to BYE. */
  bye: 1000,

  helloTimeout: 4000,
  unavailable: 4001,
  silent: 4002,
  notAcknowledging: 4003,
  slowConsumer: 4004,
  rateLimited: 4005,

  /** Follows a REDIRECT. */
  redirected: 4200,
  full: 4201,
  draining: 4202,
  stopping: 4203,

  badFrame: 4400,
  messageTooLarge: 4401,
  helloExpected: 4402,
  badHello: 4403,
  badToken: 4404,
  tokenExpired: 4405,
  deviceForbidden: 4406,
  replaced: 4407,
  revoked: 4408,
} as const;

/**
 * What a device does after a connection was closed: `backoff`: reconnect, waiting longer each time;
 * `elsewhere`: reconnect to another server, now; `stop`: do not reconnect until the token or the
 * client changes.
 */
export type ReconnectPolicy = "backoff" | "elsewhere" | "stop";

/** [P-11.1] The range decides. Codes of WebSocket itself (1xxx), and all others, mean backoff. */
export function reconnectPolicy(code: number): ReconnectPolicy {
  if (code >= 4200 && code < 4400) return "elsewhere";
  if (code >= 4400 && code < 4600) return "stop";
  return "backoff";
}
