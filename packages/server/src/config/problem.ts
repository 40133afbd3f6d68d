export interface Problem {
  /** As `auth.send`, `address.0.url`; "" for the file as a whole. */
  readonly key: string;
  /** File and line, or variable; undefined: it was not said anywhere. */
  readonly where: string | undefined;
  /** Never repeats the value of a secret. */
  readonly message: string;
}

export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.map(formatProblem).join("\n"));
    this.problems = problems;
  }
}

function formatProblem({ where, key, message }: Problem): string {
  return [where, key, message].filter((part) => part !== undefined && part !== "").join(": ");
}
