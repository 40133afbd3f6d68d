import * as z from "zod";

import type { PushOutcome } from "./provider.ts";

const answer = z.object({
  outcomes: z.array(
    z.discriminatedUnion("kind", [
      z.object({ kind: z.literal("sent") }),
      z.object({ kind: z.literal("gone") }),
      z.object({ kind: z.literal("retry"), after: z.number() }),
      z.object({ kind: z.literal("rejected"), reason: z.string() }),
    ]),
  ),
});

/** What a service says of a batch of `count`: `{"outcomes": […]}`, one an item and in order. Undefined: it says something else. */
export function outcomesOf(json: unknown, count: number): readonly PushOutcome[] | undefined {
  const outcomes = answer.safeParse(json).data?.outcomes;
  return outcomes?.length === count ? outcomes : undefined;
}
