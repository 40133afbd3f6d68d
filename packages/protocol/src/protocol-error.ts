import type { ConnectionErrorCode } from "./errors.ts";

/** Bytes that are not what the protocol says. `at` is the offending byte's position in the input. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  readonly code: ConnectionErrorCode;
  readonly at: number;

  constructor(code: ConnectionErrorCode, what: string, at: number) {
    super(`${what} at byte ${at}`);
    this.code = code;
    this.at = at;
  }
}
