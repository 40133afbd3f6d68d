import type { PhoneReport, StageEvent } from "@beckon/console/stage";

/** What the terminal makes lines of: what the page is told, and what only a terminal has to say in words. */
export type Happening =
  | StageEvent
  | { readonly type: "killed"; readonly server: string }
  | { readonly type: "started"; readonly server: string }
  | { readonly type: "report"; readonly report: PhoneReport }
  /** Whose hands the demo's phones are in now. */
  | { readonly type: "phones"; readonly where: "page" | "here" };
