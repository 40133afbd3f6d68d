import { createHmac, randomUUID } from "node:crypto";

/** Names the environment variable that has the secret which the bench's processes share. */
export const SECRET = "BECKON_BENCH_SECRET";

export function secret(): string {
  const value = process.env[SECRET];
  if (value === undefined) throw new Error(`${SECRET} is not set: start it with npm run bench`);
  return value;
}

/** A token for a user, as an application's backend mints it (HS256); each has a signature of its own. */
export function mintToken(user: string): string {
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: user, iat: now, exp: now + 3600, jti: randomUUID() };
  const text = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  return `${text}.${createHmac("sha256", secret()).update(text).digest("base64url")}`;
}

function encode(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString("base64url");
}
