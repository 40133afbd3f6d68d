/** What Google knows an operator's server by: the JSON file of a service account. */
import { createPrivateKey, type KeyObject } from "node:crypto";

import * as z from "zod";

import { parseJson } from "./post.ts";

export interface ServiceAccount {
  readonly email: string;
  /** RSA. A secret. */
  readonly key: KeyObject;
  /** Which of the account's keys it is. */
  readonly keyId: string | undefined;
  readonly project: string;
  /** Where access tokens are to be had. */
  readonly tokenUri: URL;
}

const file = z.object({
  type: z.literal("service_account"),
  client_email: z.string().min(1),
  private_key: z.string(),
  private_key_id: z.string().optional(),
  /** It becomes a part of a URL. */
  project_id: z.string().regex(/^[\w.:-]+$/),
  token_uri: z.url({ protocol: /^https?$/ }),
});

/** RS256 is not to be signed with less (RFC 7518, 3.3). */
const LEAST_BITS = 2048;

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/** @throws {Error} that says what it should be, and nothing of the text. */
export function readServiceAccount(text: string): ServiceAccount {
  const { success, data } = file.safeParse(parseJson(text));
  if (!success) {
    throw new Error(
      "must be the JSON of a service account, with type, project_id, client_email, private_key and token_uri, as Google's console makes it",
    );
  }
  const tokenUri = new URL(data.token_uri);
  // Whoever reads what goes there can push in the operator's name.
  if (tokenUri.protocol === "http:" && !LOOPBACK.test(tokenUri.hostname)) {
    throw new Error("its token_uri must be an https:// URL (http:// only to this machine)");
  }
  return {
    email: data.client_email,
    key: readKey(data.private_key),
    keyId: data.private_key_id,
    project: data.project_id,
    tokenUri,
  };
}

function readKey(pem: string): KeyObject {
  try {
    const key = createPrivateKey(pem);
    const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
    if (key.asymmetricKeyType === "rsa" && bits >= LEAST_BITS) return key;
  } catch {
    // The reason shows a part of the text.
  }
  throw new Error(`its private_key must be an RSA key of ${LEAST_BITS} bits or more, as PEM`);
}
