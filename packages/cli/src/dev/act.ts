/** The form of what may be asked of the stage. */
import type { Act } from "@beckon/console/stage";
import * as z from "zod";

const name = z.string().min(1).max(128);

const report = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("woke"),
    user: name,
    server: name,
    ms: z.number().min(0).max(600_000),
  }),
  z.object({
    kind: z.literal("asleep"),
    user: name,
    last: z
      .string()
      .max(128)
      .optional()
      .transform((last): string | undefined => last),
  }),
]);

const act = z.discriminatedUnion("act", [
  z.object({ act: z.literal("kill"), server: name }),
  z.object({ act: z.literal("start"), server: name }),
  z.object({ act: z.literal("wakes"), wakes: z.enum(["sender", "balanced"]) }),
  z.object({
    act: z.literal("fault"),
    fault: z.enum(["disk-full", "push-down"]),
    on: z.boolean(),
  }),
  z.object({ act: z.literal("day") }),
  z.object({ act: z.literal("report"), report }),
]);

/** The act, or in words why it is none. */
export function readAct(value: unknown): Act | string {
  const result = act.safeParse(value);
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0]!;
  return path.length === 0 ? message : `${path.join(".")}: ${message}`;
}
