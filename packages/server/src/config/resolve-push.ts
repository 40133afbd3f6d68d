import { readApnsKey } from "../push/apns-key.ts";
import { readServiceAccount } from "../push/service-account.ts";
import { readVapidKey } from "../push/vapid.ts";
import { readWebhookSecrets } from "../push/webhook-sign.ts";
import type { PushChoice } from "./config.ts";
import type { Files } from "./files.ts";
import type { Given, GivenApns, GivenFcm, GivenWebhook, GivenWebPush } from "./schema.ts";

/** Without those whose files are not as they should be; the problem has been told. */
export async function resolvePush(
  { dev, apns, webpush, fcm, webhook }: Given["push"],
  files: Files,
): Promise<PushChoice> {
  return {
    ...(dev === undefined ? {} : { dev }),
    ...(apns === undefined ? {} : await resolveApns(apns, files)),
    ...(webpush === undefined ? {} : await resolveWebPush(webpush, files)),
    ...(fcm === undefined ? {} : await resolveFcm(fcm, files)),
    ...(webhook === undefined ? {} : await resolveWebhook(webhook, files)),
  };
}

async function resolveApns(
  { keyFile, keyId, teamId, ...rest }: GivenApns,
  files: Files,
): Promise<Pick<PushChoice, "apns">> {
  const jwk = await readAs(readApnsKey, "push.apns.key_file", keyFile, files);
  return jwk === undefined ? {} : { apns: { key: { jwk, keyId, teamId }, ...rest } };
}

async function resolveWebPush(
  { keyFile, ...rest }: GivenWebPush,
  files: Files,
): Promise<Pick<PushChoice, "webpush">> {
  const key = await readAs(readVapidKey, "push.webpush.key_file", keyFile, files);
  return key === undefined ? {} : { webpush: { key, ...rest } };
}

async function resolveFcm(
  { serviceAccountFile, ...rest }: GivenFcm,
  files: Files,
): Promise<Pick<PushChoice, "fcm">> {
  const key = "push.fcm.service_account_file";
  const account = await readAs(readServiceAccount, key, serviceAccountFile, files);
  return account === undefined ? {} : { fcm: { account, ...rest } };
}

async function resolveWebhook(
  { url, secret }: GivenWebhook,
  files: Files,
): Promise<Pick<PushChoice, "webhook">> {
  if (secret.text === undefined && secret.file === undefined) {
    files.problem("push.webhook.secret_file", "missing; so is push.webhook.secret");
    return {};
  }
  const text = await files.secret("push.webhook.secret", secret, 1);
  if (text === undefined) return {};
  try {
    return { webhook: { url, secrets: readWebhookSecrets(text) } };
  } catch (error) {
    const { message } = error as Error;
    if (secret.file === undefined || secret.text !== undefined) {
      files.problem("push.webhook.secret", message);
    } else files.problem("push.webhook.secret_file", `${secret.file}: ${message}`);
    return {};
  }
}

/** Undefined: it cannot be read, or not as what it should be. `read` throws an error that says what that is. */
async function readAs<T>(
  read: (text: string) => T,
  key: string,
  path: string,
  files: Files,
): Promise<T | undefined> {
  const text = await files.read(key, path);
  if (text === undefined) return undefined;
  try {
    return read(text);
  } catch (error) {
    files.problem(key, `${path}: ${(error as Error).message}`);
    return undefined;
  }
}
