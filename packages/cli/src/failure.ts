/** What went wrong and what to do about it, said to the person at the terminal. Exit code 1. */
export class Failure extends Error {
  override readonly name: string = "Failure";
  readonly exitCode: 1 | 2 = 1;
  /** What to do; undefined where the message says it. */
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

/** The command was called in a way that can never work. Exit code 2. */
export class UsageError extends Failure {
  override readonly name: string = "UsageError";
  override readonly exitCode = 2;
}
