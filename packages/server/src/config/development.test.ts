import { describe, expect, test } from "bun:test";

import { ConfigError, DEV_API_TOKEN, DEV_SECRET, loadConfig } from "../config.ts";
import { createServer } from "../server.ts";

const here = {
  BECKON_LISTEN: "127.0.0.1:0",
  BECKON_ADMIN: "127.0.0.1:0",
  BECKON_AUTH_SEND: "anyone",
};
const secret = { BECKON_AUTH_SECRET: DEV_SECRET };
const token = {
  BECKON_AUTH_SECRET: "a secret of thirty-two bytes, or more",
  BECKON_API_TOKEN: DEV_API_TOKEN,
};

test("the secret that everybody knows has the 32 bytes that a secret needs", () => {
  expect(new TextEncoder().encode(DEV_SECRET)).toHaveLength(32);
});

describe.each([
  ["secret", secret, "auth.secret"],
  ["admin token", token, "api.token"],
])("the %s of development systems", (_, env, named) => {
  test.each(["127.0.0.1:0", "localhost:0", "[::1]:0", "127.8.0.1:0"])(
    "is taken on %s",
    async (at) => {
      const config = await loadConfig(undefined, { ...here, ...env, BECKON_LISTEN: at });
      expect(() => createServer(config)).not.toThrow();
    },
  );

  test.each([
    ["BECKON_LISTEN", "0.0.0.0:0"],
    ["BECKON_LISTEN", "10.0.0.5:8080"],
    ["BECKON_LISTEN", "[::]:0"],
    ["BECKON_ADMIN", ":9090"],
  ])("is refused where %s is %s, with what to do", async (variable, at) => {
    const refused = await loadConfig(undefined, { ...here, ...env, [variable]: at }).catch(
      (error: unknown) => error,
    );
    expect(refused).toBeInstanceOf(ConfigError);
    const { message } = refused as ConfigError;
    expect(message).toStartWith(`${variable}: `);
    expect(message).toContain(`${named} is that of development systems, which everybody knows`);
    expect(message).toContain("openssl rand");
    expect(message).not.toContain(DEV_SECRET);
    expect(message).not.toContain(DEV_API_TOKEN);
  });

  test("is refused where an application hands the configuration over itself", async () => {
    const config = await loadConfig(undefined, { ...here, ...env });
    const open = { ...config, listen: { host: "0.0.0.0", port: 0 } };
    expect(() => createServer(open)).toThrow(ConfigError);
  });
});
