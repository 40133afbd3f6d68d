import { ERRORS, type ErrorCode } from "@beckon/protocol";

/** Every error of the SDK: `code` is one of the catalogue, `hint` says what to do about it. */
export class BeckonError extends Error {
  override readonly name = "BeckonError";
  readonly code: ErrorCode;
  /** What to do about it, said to the developer. */
  readonly hint: string;
  /** The same call may succeed later, unchanged. */
  readonly retryable: boolean;

  /** `detail`: what the server said, or what of the call it is about; never a token or a payload. */
  constructor(code: ErrorCode, detail = "", options?: ErrorOptions) {
    const { hint, retryable } = ERRORS[code];
    super(detail === "" ? code : `${code}: ${detail}`, options);
    this.code = code;
    this.hint = hint;
    this.retryable = retryable;
  }
}

/** What a storage's failure is called: it may say so itself. */
export function storageFailed(cause: unknown): BeckonError {
  return cause instanceof BeckonError ? cause : new BeckonError("storage-failed", "", { cause });
}
