import type { Millis } from "@beckon/protocol";

import type { BeckonError } from "./errors.ts";

/**
 * `connecting`: dialling, or waiting for WELCOME. `waiting`: between two attempts. `closed`: for good, by
 * `close` or by what `error` says.
 */
export type StateName = "connecting" | "connected" | "waiting" | "closed";

/** How the client stands to the system. */
export interface State {
  readonly name: StateName;
  /** Name of the server, when `connected`. */
  readonly server: string | undefined;
  /** When `connected`: false if something that was owed to this device was dropped (expired, or too much). */
  readonly recovered: boolean | undefined;
  /** When `waiting`: when the next attempt begins. */
  readonly retryAt: Millis | undefined;
  /** Why it is not connected: how the last attempt or connection ended. Undefined when `connected`, at first, and after `close`. */
  readonly error: BeckonError | undefined;
}
