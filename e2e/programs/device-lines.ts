/** What `device.ts` is told. */
export type Command =
  | { readonly send: string; readonly to: string }
  | { readonly settle: true }
  | { readonly close: true };

/** What `device.ts` says. */
export type Report =
  | { readonly state: string }
  | { readonly error: string }
  | { readonly left: readonly string[] }
  | { readonly got: string; readonly redelivered: boolean }
  | { readonly acked: string }
  | { readonly settled: true }
  | { readonly closed: true };
