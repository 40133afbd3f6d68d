/** Errors as the admin API says them: `{error: {code, message, hint}}`, from the one catalogue. */
import { type ErrorCode, ERRORS, MEANINGS } from "@beckon/protocol";
import * as z from "zod";

import { StoreUnavailable } from "../store/store.ts";

export const errorBody: z.ZodType = z.object({
  error: z.object({
    code: z.string().meta({ description: "Of the error catalogue in docs/protocol.md, part 10." }),
    message: z.string().meta({ description: "What happened." }),
    hint: z.string().meta({ description: "What to do about it." }),
  }),
});

export type ErrorStatus = 400 | 401 | 403 | 404 | 409 | 413 | 429 | 500 | 503;

const STATUS: { readonly [C in ErrorCode]?: ErrorStatus } = {
  "bad-argument": 400,
  "bad-id": 400,
  "id-too-old": 400,
  "bad-recipient": 400,
  "bad-lane": 400,
  "bad-token": 401,
  forbidden: 403,
  unsupported: 404,
  "id-conflict": 409,
  "payload-too-large": 413,
  "recipient-full": 429,
  "store-unavailable": 503,
  "authorizer-unavailable": 503,
  unavailable: 503,
  internal: 500,
};

/** 500 for a code that no endpoint says. */
export function statusOf(code: ErrorCode): ErrorStatus {
  return STATUS[code] ?? 500;
}

export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
}

/** In the catalogue's words, or in those of the case. */
export function refusal(code: ErrorCode, message?: string, hint?: string): Refusal {
  return { code, message: message ?? MEANINGS[code], hint: hint ?? ERRORS[code].hint };
}

/** What a failure is to whoever asked. Undefined: nothing that was foreseen. */
export function refusalOf(error: unknown): Refusal | undefined {
  if (error instanceof StoreUnavailable) return refusal("store-unavailable");
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  const { code, message } = error;
  if (typeof code !== "string" || !isErrorCode(code)) return undefined;
  if ("hint" in error && typeof error.hint === "string") return refusal(code, message, error.hint);
  return code === "bad-argument" ? refusal(code, message, "Correct the request.") : refusal(code);
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERRORS, code);
}
