import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { createAuthenticate, createServer, loadConfig, systemClock } from "@beckon/server";

import { beckon } from "../test-support/terminal.ts";

const folder = mkdtempSync(join(tmpdir(), "beckon-commands-"));
afterAll(() => rmSync(folder, { recursive: true }));

const SECRET = "a secret of thirty-two bytes, or more";
const API_TOKEN = "an admin token that nobody knows";
const env = {
  BECKON_NAME: "s1",
  BECKON_LISTEN: "127.0.0.1:0",
  BECKON_ADMIN: "127.0.0.1:0",
  BECKON_STORE: `sqlite:${join(folder, "beckon.db")}`,
  BECKON_AUTH_SECRET: SECRET,
  BECKON_AUTH_SEND: "anyone",
  BECKON_API_TOKEN: API_TOKEN,
  BECKON_LOG: "error",
};

test("serve --check prints what it would run with, secrets masked", async () => {
  const { code, out, notes } = await beckon(["serve", "--check"], { env });
  expect({ code, notes }).toEqual({ code: 0, notes: "" });
  expect(out).toContain('name = "s1"');
  expect(out).not.toContain(SECRET);
  expect(out).not.toContain(API_TOKEN);
});

test("serve --check says that nobody may use the admin API where it has no token", async () => {
  const { BECKON_API_TOKEN: _, ...rest } = env;
  const { code, notes } = await beckon(["serve", "--check"], { env: rest });
  expect(code).toBe(0);
  expect(notes).toStartWith("Without api.token or api.token_file nobody may use the admin API");
});

test("serve --check names every key that is wrong, with its place", async () => {
  const file = join(folder, "wrong.toml");
  writeFileSync(file, 'nmae = "s1"\nlisten = "nowhere"\n\n[auth]\nsend = "anyone"\n');
  const { code, out, notes } = await beckon(["serve", "--check", file]);
  expect({ code, out }).toEqual({ code: 1, out: "" });
  expect(notes).toMatch(/wrong\.toml:1: nmae/);
  expect(notes).toMatch(/wrong\.toml:2: listen/);
});

test("vapid makes a key that serve takes; --check shows its public half, and not the other", async () => {
  const { out: jwk, notes } = await beckon(["vapid"]);
  const file = join(folder, "vapid.jwk");
  writeFileSync(file, jwk);
  const { d } = JSON.parse(jwk) as { d: string };
  const webpush = {
    BECKON_PUSH_WEBPUSH_KEY_FILE: file,
    BECKON_PUSH_WEBPUSH_SUBJECT: "mailto:push@example.com",
  };
  const { code, out } = await beckon(["serve", "--check"], { env: { ...env, ...webpush } });
  expect(code).toBe(0);
  const [, publicKey] = /^applicationServerKey: ([\w-]{87})\n$/.exec(notes)!;
  expect(out).toContain(`# Pages subscribe with the applicationServerKey ${publicKey}\n`);
  expect(out).not.toContain(d);
});

test("a configuration file that is not there is named", async () => {
  const { code, notes } = await beckon(["serve", join(folder, "none.toml")]);
  expect(code).toBe(1);
  expect(notes).toContain("none.toml: there is no such file");
});

test("BECKON_CONFIG names the configuration", async () => {
  const file = join(folder, "named.toml");
  writeFileSync(file, `name = "named"\n[auth]\nsecret = "${SECRET}"\nsend = "anyone"\n`);
  const { out } = await beckon(["serve", "--check"], { env: { BECKON_CONFIG: file } });
  expect(out).toContain('name = "named"');
});

test("token mints what the server takes: user, device, whom it may write to, until when", async () => {
  const { auth } = await loadConfig(undefined, env);
  const authenticate = createAuthenticate(auth, systemClock);
  const before = Date.now();
  const args = [
    "token",
    "--user",
    "ann",
    "--device",
    "phone",
    "--to",
    "bob,cem",
    "--expires",
    "2h",
  ];
  const { code, out } = await beckon(args, { env });
  expect(code).toBe(0);
  const identity = await authenticate(out.trim());
  expect(identity).toMatchObject({ user: "ann", device: "phone", mayWriteTo: ["bob", "cem"] });
  expect(Math.abs(identity.expires - (before + 7_200_000))).toBeLessThan(60_000);

  const plain = await beckon(["token", "--user", "ann"], { env });
  expect(await authenticate(plain.out.trim())).toMatchObject({
    user: "ann",
    device: undefined,
    mayWriteTo: undefined,
  });
});

test("token cannot sign for a server that checks with a public key", async () => {
  const { BECKON_AUTH_SECRET: _, ...rest } = env;
  const foreign = { ...rest, BECKON_AUTH_JWKS: "https://app.example.com/jwks.json" };
  const { code, notes } = await beckon(["token", "--user", "ann"], { env: foreign });
  expect(code).toBe(1);
  expect(notes).toContain("with a public key");
});

test("send goes through a running server's admin API, and errors come with a hint", async () => {
  const server = createServer(await loadConfig(undefined, env));
  await server.start();
  try {
    const admin = server.adminUrl!.href;
    const args = ["send", "--from", "shop", "--to", "ann", "--admin", admin, "your parcel"];
    const sent = await beckon(args, { env });
    expect(sent).toMatchObject({ code: 0, notes: "" });
    expect(sent.out).toMatch(/^held \(wake\) [\da-f-]{36}\n$/);

    const json = await beckon([...args, "--json"], { env });
    expect(JSON.parse(json.out)).toMatchObject({ status: "held", route: "wake" });

    const wrong = await beckon(args, { env: { BECKON_API_TOKEN: "another token" } });
    expect(wrong).toMatchObject({ code: 1, out: "" });
    expect(wrong.notes).toStartWith("beckon: bad-token: ");
    expect(wrong.notes.trim().split("\n")).toHaveLength(2);

    const device = await beckon([...args, "--admin", server.url!.replace("ws:", "http:")], { env });
    expect(device).toMatchObject({ code: 1, out: "" });
    expect(device.notes).toContain("not as a Beckon server does");
  } finally {
    await server.drain();
  }
});

test("send says when no server is there", async () => {
  const args = ["send", "--from", "shop", "--to", "ann", "--admin", "http://127.0.0.1:1", "hello"];
  const { code, notes } = await beckon(args, { env });
  expect(code).toBe(1);
  expect(notes).toStartWith("beckon: no server answers at http://127.0.0.1:1\nStart one");
});

test("decode prints frames from an argument or the input, and payloads only when asked", async () => {
  expect((await beckon(["decode", "02", "2a", "00"])).out).toBe("PING\n");
  expect((await beckon(["decode"], { input: "022a00\n" })).out).toBe("PING\n");
  expect((await beckon(["decode", "--json", "022a00"])).out).toBe('{"type":"ping"}\n');
});

test("decode says what it cannot read", async () => {
  const { code, notes } = await beckon(["decode", "what is this?"]);
  expect(code).toBe(1);
  expect(notes).toContain("neither hexadecimal nor base64");
  expect((await beckon(["decode"])).notes).toContain("there is nothing to decode");
});

test("decode fails where the bytes are no frames, after it has printed those that are", async () => {
  const { code, out, notes } = await beckon(["decode", "022a00ff"]);
  expect(code).toBe(1);
  expect(out).toStartWith("PING\nbad-frame: ");
  expect(notes).toStartWith(
    "beckon: not frames of the protocol: truncated varint at byte 3\nIs it",
  );
  expect((await beckon(["decode", "--json", "ff"])).code).toBe(1);
});

test.each([
  ["--processes", "--processes needs --bus nats://… and --store postgres://…"],
  ["--bus nats://a --store postgres://u@h/d", "are what servers of several processes stand on"],
  ["--processes --bus nats://a --store postgres://u@h/d --compare", "names its own addresses"],
  [
    "--processes --bus nats://a --store postgres://u@h/d --policy random",
    "names its own addresses",
  ],
])("replay %s is refused, with what to do", async (args, why) => {
  const { code, notes } = await beckon(["replay", "--generate", "community", ...args.split(" ")]);
  expect(code).toBe(2);
  expect(notes).toContain(why);
  expect(notes.trim().split("\n")).toHaveLength(2);
});
