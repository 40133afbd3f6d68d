import type { Millis } from "@beckon/protocol";

/** Who a connection speaks for, as a token or a ticket says. */
export interface Identity {
  readonly user: string;
  /** The token is good for this device alone; undefined: for any of the user's. */
  readonly device: string | undefined;
  /** When the token expires. */
  readonly expires: Millis;
  /** The users that the token allows to write to (`auth.send = "claim"`); undefined: the token has no such list. */
  readonly mayWriteTo: readonly string[] | undefined;
}

export class BadToken extends Error {
  override readonly name = "BadToken";
  readonly code: "bad-token" | "token-expired";
  constructor(code: "bad-token" | "token-expired", message: string) {
    super(message);
    this.code = code;
  }
}

/** Rejects with {@link BadToken}; never says the token in the message. */
export type Authenticate = (token: string) => Promise<Identity>;

/** Stands in for a token at a reconnect to any server of the cluster: bound to user, device and the token's expiry. */
export interface Tickets {
  issue(identity: Identity, device: string): Uint8Array;
  /** @throws {BadToken} */
  check(ticket: Uint8Array, device: string, now: Millis): Identity;
}
