import type { Stored } from "../storage.ts";

/** What a storage in another process is to do. */
export interface UserCall {
  readonly id: number;
  readonly method: "read" | "write" | "clear" | "close";
  readonly changes: readonly (readonly [key: string, value?: Stored])[];
}

/** Stands for a value that cannot be stored. */
export const IMPOSSIBLE = "\0impossible";
