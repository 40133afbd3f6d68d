/**
 * Secrets that everybody knows, so that a development system, its devices and examples need no file. A server that takes them
 * serves this machine alone.
 */
import type { Config } from "./config.ts";
import type { Problem } from "./problem.ts";

/** 32 bytes: signs the tokens of users. */
export const DEV_SECRET = "beckon dev secret, not a secret!";
/** Of the admin API. */
export const DEV_API_TOKEN = "beckon-dev-admin-token";

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/;

/** What keeps a configuration with such a secret from being served; empty: nothing, or it has none of them. */
export function exposedSecrets(
  config: Pick<Config, "auth" | "apiToken" | "listen" | "listeners" | "admin">,
): Omit<Problem, "where">[] {
  const { keys } = config.auth;
  const known = [
    ...(keys.kind === "secret" && isDevSecret(keys.secret) ? ["auth.secret"] : []),
    ...(config.apiToken === DEV_API_TOKEN ? ["api.token"] : []),
  ];
  if (known.length === 0) return [];
  const listening = [
    { key: "listen", ...config.listen },
    { key: "admin", ...config.admin },
    ...config.listeners.map(({ listen }, at) => ({ key: `listener.${at}.listen`, ...listen })),
  ];
  return listening
    .filter(({ host }) => !LOOPBACK.test(host))
    .map(({ key }) => ({
      key,
      message: `${known.join(" and ")} is that of development systems, which everybody knows: set your own (openssl rand -hex 32), or listen on 127.0.0.1`,
    }));
}

function isDevSecret(secret: Uint8Array): boolean {
  return new TextDecoder().decode(secret) === DEV_SECRET;
}
