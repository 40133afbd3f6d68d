import { readVapidKey } from "../push/vapid.ts";
import type { PushChoice } from "./config.ts";
import type { Files } from "./files.ts";
import type { Given } from "./schema.ts";

/** Without those whose files are not as they should be; the problem has been told. */
export async function resolvePush(
  { webpush: given, ...rest }: Given["push"],
  files: Files,
): Promise<PushChoice> {
  if (given === undefined) return rest;
  const { keyFile, subject, allow } = given;
  const text = await files.read("push.webpush.key_file", keyFile);
  if (text === undefined) return rest;
  try {
    return { ...rest, webpush: { key: readVapidKey(text), subject, allow } };
  } catch (error) {
    files.problem("push.webpush.key_file", `${keyFile}: ${(error as Error).message}`);
    return rest;
  }
}
