/**
 * Who may ask: programs of this machine, and pages that come from it. A page of another site may not, also when its name has been
 * made to lead here (DNS rebinding).
 */
import type { MiddlewareHandler } from "hono";

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

const isLoopback = (host: string | undefined): boolean => {
  const url = `http://${host ?? ""}`;
  return URL.canParse(url) && LOOPBACK.test(new URL(url).hostname);
};

const isLocalOrigin = (origin: string): boolean =>
  /^https?:\/\//.test(origin) && isLoopback(origin.replace(/^https?:\/\//, ""));

/** What another page of this machine may read: an application under development asks for tokens and listens to pushes. */
const SHARED = /^\/(dev\/token|dev\/stage|push\/)/;

export const guard: MiddlewareHandler = async (c, next) => {
  const host = c.req.header("host");
  if (!isLoopback(host)) {
    return c.json(
      refusal(`"${host}" is not this machine`, "Use http://127.0.0.1 or http://localhost."),
      403,
    );
  }
  const origin = c.req.header("origin");
  if (origin !== undefined && c.req.method !== "GET") {
    const own = isLocalOrigin(origin) && origin.endsWith(`//${host}`);
    if (!own)
      return c.json(
        refusal(`pages of ${origin} may not do this`, "Use the page of `beckon dev`."),
        403,
      );
  }
  await next();
  if (origin !== undefined && isLocalOrigin(origin) && SHARED.test(c.req.path)) {
    c.header("access-control-allow-origin", origin);
    c.header("vary", "origin");
  }
  return undefined;
};

export function refusal(message: string, hint: string): object {
  return { error: { code: "bad-argument", message, hint } };
}
