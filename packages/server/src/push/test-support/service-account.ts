import { generateKeyPairSync, type KeyObject } from "node:crypto";

export const PROJECT = "chat-4f2a1";
export const EMAIL: string = `firebase-adminsdk@${PROJECT}.iam.gserviceaccount.com`;

/** Made once: a key of 2,048 bits takes a while. */
export const keys: { readonly publicKey: KeyObject; readonly privateKey: KeyObject } =
  generateKeyPairSync("rsa", { modulusLength: 2048 });

/** The file of a service account, as Google's console makes it. */
export function serviceAccountFile(change: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({
    type: "service_account",
    project_id: PROJECT,
    private_key_id: "5d1f0c",
    private_key: keys.privateKey.export({ type: "pkcs8", format: "pem" }),
    client_email: EMAIL,
    client_id: "1",
    token_uri: "https://oauth2.googleapis.com/token",
    ...change,
  });
}
