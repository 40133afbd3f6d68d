import { afterEach, describe, expect, test } from "bun:test";
import { createHmac, generateKeyPairSync, type KeyObject } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, type JWTPayload, SignJWT } from "jose";

import { systemClock } from "../lib/clock.ts";
import { BadToken } from "./identity.ts";
import { createAuthenticate, type TokenOptions } from "./jwt.ts";
import { KeysUnavailable, readPublicKey, type TokenKeys } from "./token-keys.ts";

const SECRET = new TextEncoder().encode("0123456789abcdef0123456789abcdef");
const OTHER = new TextEncoder().encode("fedcba9876543210fedcba9876543210");

const NOW = 1_700_000_000_000;
const clock = { ...systemClock, now: () => NOW };
const IN_AN_HOUR = NOW / 1000 + 3600;

function authenticator(keys: TokenKeys, options: Partial<TokenOptions> = {}) {
  return createAuthenticate(
    { keys, deviceClaim: "device", toClaim: "to", tolerance: 5000, ...options },
    clock,
  );
}

const withSecret = (options: Partial<TokenOptions> = {}) =>
  authenticator({ kind: "secret", secret: SECRET }, options);

function sign(
  claims: JWTPayload,
  key: KeyObject | Uint8Array = SECRET,
  header: { alg: string; kid?: string } = { alg: "HS256" },
): Promise<string> {
  return new SignJWT({ sub: "ann", exp: IN_AN_HOUR, ...claims })
    .setProtectedHeader(header)
    .sign(key);
}

async function refusalOf(identity: Promise<unknown>): Promise<string> {
  const error = await identity.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(BadToken);
  const { code, message } = error as BadToken;
  return `${code}: ${message}`;
}

const base64url = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");

describe("a secret (HS256)", () => {
  test("says user, expiry, device and list", async () => {
    const authenticate = withSecret();
    expect(await authenticate(await sign({}))).toEqual({
      user: "ann",
      device: undefined,
      expires: IN_AN_HOUR * 1000 + 5000,
      mayWriteTo: undefined,
    });
    expect(await authenticate(await sign({ device: "phone", to: ["bob", "cem"] }))).toMatchObject({
      device: "phone",
      mayWriteTo: ["bob", "cem"],
    });
  });

  test("the claims' names are configured", async () => {
    const authenticate = withSecret({ deviceClaim: "did", toClaim: "friends" });
    const token = await sign({ did: "phone", friends: ["bob"], device: 7, to: "no list" });
    expect(await authenticate(token)).toMatchObject({ device: "phone", mayWriteTo: ["bob"] });
  });

  test("another key's signature, and a changed token, are refused", async () => {
    const authenticate = withSecret();
    const wrong = "bad-token: the signature does not verify";
    expect(await refusalOf(authenticate(await sign({}, OTHER)))).toBe(wrong);
    const [header, , signature] = (await sign({})).split(".");
    const body = base64url({ sub: "bob", exp: IN_AN_HOUR });
    expect(await refusalOf(authenticate(`${header}.${body}.${signature}`))).toBe(wrong);
  });

  test("an expired token is token-expired, up to the tolerance", async () => {
    const authenticate = withSecret();
    const at = (seconds: number) => sign({ exp: NOW / 1000 + seconds });
    expect(await authenticate(await at(-4))).toMatchObject({ user: "ann", expires: NOW + 1000 });
    expect(await refusalOf(authenticate(await at(-6)))).toBe(
      "token-expired: the token is past its expiry",
    );
    expect(await refusalOf(authenticate(await sign({ nbf: NOW / 1000 + 6 })))).toBe(
      'bad-token: the claim "nbf" is not what this server wants',
    );
  });

  test("an expiry beyond what a clock can say is bounded", async () => {
    const { expires } = await withSecret()(await sign({ exp: 1e300 }));
    expect(expires).toBe(8.64e15);
  });

  test.each([
    ["sub", { sub: undefined }, 'the claim "sub" is missing'],
    ["exp", { exp: undefined }, 'the claim "exp" is missing'],
    ["a user id", { sub: "" }, '"sub" is not a user id'],
    ["a user id without control characters", { sub: "ann\n" }, '"sub" is not a user id'],
    ["a short user id", { sub: "a".repeat(129) }, '"sub" is not a user id'],
    ["a device id", { device: "" }, '"device" is not a device id'],
    ["a device id that is text", { device: 7 }, '"device" is not a device id'],
    ["a list that is a list", { to: "bob" }, '"to" is not a list of user ids'],
    ["a list of user ids", { to: ["bob", ""] }, '"to" is not a list of user ids'],
  ])("must have %s", async (_, claims, why) => {
    expect(await refusalOf(withSecret()(await sign(claims as JWTPayload)))).toBe(
      `bad-token: ${why}`,
    );
  });

  test("a foreign issuer or audience is refused, where they are configured", async () => {
    const authenticate = withSecret({ issuer: "https://app", audience: "beckon" });
    const mine = { iss: "https://app", aud: ["other", "beckon"] };
    expect(await authenticate(await sign(mine))).toMatchObject({ user: "ann" });
    expect(await refusalOf(authenticate(await sign({ ...mine, iss: "https://evil" })))).toBe(
      'bad-token: the claim "iss" is not what this server wants',
    );
    expect(await refusalOf(authenticate(await sign({ ...mine, aud: "other" })))).toBe(
      'bad-token: the claim "aud" is not what this server wants',
    );
    expect(await refusalOf(authenticate(await sign({ iss: "https://app" })))).toBe(
      'bad-token: the claim "aud" is missing',
    );
  });

  test("what is no token is refused, and never repeated in the error", async () => {
    const none = `${base64url({ alg: "none" })}.${base64url({ sub: "ann", exp: IN_AN_HOUR })}.`;
    const critical = `${base64url({ alg: "HS256", crit: ["x"], x: 1 })}.${base64url({})}.AAAA`;
    const tokens = ["", "x", "a.b.c", "..", none, critical, `${"x".repeat(9000)}.y.z`, "💥.💥.💥"];
    for (const token of tokens) {
      const said = await refusalOf(withSecret()(token));
      expect(said).toStartWith("bad-token: ");
      if (token.length > 3) expect(said).not.toContain(token);
    }
  });
});

const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const p256 = generateKeyPairSync("ec", { namedCurve: "P-256" });
const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" });
const ed25519 = generateKeyPairSync("ed25519");
const pem = (key: KeyObject) => key.export({ type: "spki", format: "pem" });

describe("a public key", () => {
  const withKey = (text: string) => authenticator({ kind: "public-key", key: readPublicKey(text) });

  test.each([
    ["RS256", rsa],
    ["PS256", rsa],
    ["ES256", p256],
    ["ES384", p384],
    ["EdDSA", ed25519],
    ["Ed25519", ed25519],
  ])("%s, in PEM and as JWK", async (alg, pair) => {
    const token = await sign({}, pair.privateKey, { alg });
    for (const text of [
      pem(pair.publicKey),
      JSON.stringify(pair.publicKey.export({ format: "jwk" })),
    ]) {
      expect(await withKey(text)(token)).toMatchObject({ user: "ann" });
    }
  });

  test("its text is no secret for HS256 (algorithm confusion)", async () => {
    for (const pair of [rsa, p256, ed25519]) {
      const text = pem(pair.publicKey);
      const der = pair.publicKey.export({ type: "spki", format: "der" });
      for (const secret of [text, text.trimEnd(), der]) {
        const body = `${base64url({ alg: "HS256" })}.${base64url({ sub: "ann", exp: IN_AN_HOUR })}`;
        const mac = createHmac("sha256", secret).update(body).digest("base64url");
        expect(await refusalOf(withKey(text)(`${body}.${mac}`))).toBe(
          "bad-token: the algorithm is not one of the configured key",
        );
      }
    }
  });

  test("a token of another key or kind of key is refused", async () => {
    const foreign = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const authenticate = withKey(pem(rsa.publicKey));
    expect(
      await refusalOf(authenticate(await sign({}, foreign.privateKey, { alg: "RS256" }))),
    ).toBe("bad-token: the signature does not verify");
    expect(await refusalOf(authenticate(await sign({}, p256.privateKey, { alg: "ES256" })))).toBe(
      "bad-token: the algorithm is not one of the configured key",
    );
  });

  test.each([
    ["garbage", "nothing", "not a public key"],
    ["a private key", rsa.privateKey.export({ type: "pkcs8", format: "pem" }), "private"],
    ["a private JWK", JSON.stringify(p256.privateKey.export({ format: "jwk" })), "private"],
    [
      "a short RSA key",
      pem(generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey),
      "2048 bits",
    ],
    ["X25519", pem(generateKeyPairSync("x25519").publicKey), "neither RSA"],
  ])("%s is none", (_, text, why) => {
    expect(() => readPublicKey(text)).toThrow(why);
    try {
      readPublicKey(text);
    } catch (error) {
      expect(String(error)).not.toContain(text.slice(30, 60) || "nothing");
    }
  });
});

describe("a key set at a URL (JWKS)", () => {
  let server: Server | undefined;
  afterEach(() => void server?.close());

  /** A key set that a test can change, and take away. */
  async function keySet(...pairs: { kid?: string; alg?: string; publicKey: KeyObject }[]) {
    const state = { pairs, up: true, fetched: 0 };
    server = createServer((_, response) => {
      state.fetched++;
      if (!state.up) {
        response.writeHead(503).end();
        return;
      }
      void Promise.all(
        state.pairs.map(async ({ publicKey, ...names }) => ({
          ...(await exportJWK(publicKey)),
          ...names,
        })),
      ).then((keys) => response.end(JSON.stringify({ keys })));
    });
    await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    return Object.assign(state, { url: new URL(`http://127.0.0.1:${port}/jwks.json`) });
  }

  const withSet = (
    url: URL,
    jwks = { timeout: 1000, cooldown: 0, refreshAfter: 1e9, maxAge: 1e9 },
  ) =>
    createAuthenticate(
      { keys: { kind: "jwks", url }, deviceClaim: "device", toClaim: "to", tolerance: 5000, jwks },
      // Ages of key sets are by the real clock, the tokens' expiry is an hour from now by it.
      systemClock,
    );

  const soon = () => ({ exp: Math.floor(Date.now() / 1000) + 3600 });
  const one = { kid: "one", publicKey: rsa.publicKey };
  const two = { kid: "two", publicKey: p256.publicKey };
  const byOne = () => sign(soon(), rsa.privateKey, { alg: "RS256", kid: "one" });
  const byTwo = () => sign(soon(), p256.privateKey, { alg: "ES256", kid: "two" });

  test("is fetched once, by however many at once", async () => {
    const set = await keySet(one);
    const authenticate = withSet(set.url);
    const token = await byOne();
    const all = await Promise.all(Array.from({ length: 20 }, () => authenticate(token)));
    expect(all.map(({ user }) => user)).toEqual(Array.from({ length: 20 }, () => "ann"));
    expect(set.fetched).toBe(1);
  });

  test("rotation: a new key is found, a withdrawn one is refused", async () => {
    const set = await keySet(one);
    const authenticate = withSet(set.url);
    await authenticate(await byOne());
    set.pairs = [two];
    expect(await authenticate(await byTwo())).toMatchObject({ user: "ann" });
    expect(await refusalOf(authenticate(await byOne()))).toBe(
      "bad-token: no key of the key set fits the token",
    );
  });

  test("an unknown key id causes at most one fetch a cooldown", async () => {
    const set = await keySet(one);
    const authenticate = withSet(set.url, {
      timeout: 1000,
      cooldown: 60_000,
      refreshAfter: 1e9,
      maxAge: 1e9,
    });
    for (let i = 0; i < 5; i++) {
      expect(await refusalOf(authenticate(await byTwo()))).toContain("no key of the key set");
    }
    expect(set.fetched).toBe(1);
  });

  test("a token without a key id is tried against each key that fits", async () => {
    const foreign = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const set = await keySet({ kid: "foreign", publicKey: foreign.publicKey }, one);
    const token = await sign(soon(), rsa.privateKey, { alg: "RS256" });
    expect(await withSet(set.url)(token)).toMatchObject({ user: "ann" });
    const stranger = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const strange = await sign(soon(), stranger.privateKey, { alg: "RS256" });
    expect(await refusalOf(withSet(set.url)(strange))).toBe(
      "bad-token: the signature does not verify",
    );
  });

  test("a secret's algorithm is refused, whatever the set holds", async () => {
    const set = await keySet(one);
    const token = await sign(soon(), SECRET, { alg: "HS256", kid: "one" });
    expect(await refusalOf(withSet(set.url)(token))).toBe(
      "bad-token: the algorithm is not one of the configured key",
    );
  });

  test("while it does not answer, nobody is told that the token is bad", async () => {
    const set = await keySet(one);
    set.up = false;
    const authenticate = withSet(set.url);
    const error = await authenticate(await byOne()).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(KeysUnavailable);
    set.up = true;
    expect(await authenticate(await byOne())).toMatchObject({ user: "ann" });
  });

  test("old keys serve while it does not answer, up to their greatest age", async () => {
    const set = await keySet(one);
    const fresh = { timeout: 1000, cooldown: 0, refreshAfter: 0, maxAge: 1e9 };
    const authenticate = withSet(set.url, fresh);
    await authenticate(await byOne());
    set.up = false;
    expect(await authenticate(await byOne())).toMatchObject({ user: "ann" });

    set.up = true;
    const short = withSet(set.url, { ...fresh, maxAge: 0 });
    await short(await byOne());
    set.up = false;
    const error = await short(await byOne()).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(KeysUnavailable);
  });
});
