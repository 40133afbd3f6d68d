/** The system that a device in the terminal belongs to: `beckon dev` on this machine, or servers that are named. */
import type { Stage } from "@beckon/console/stage";

import { Failure } from "../failure.ts";
import { listen } from "./ear.ts";

export interface System {
  /** URLs of servers. */
  readonly servers: readonly string[];
  readonly token: () => Promise<string>;
  /** The ear for pushes; undefined: there are none. The answer ends the listening. */
  readonly listen: ((pushToken: string, handler: (body: string) => void) => () => void) | undefined;
}

const TIMEOUT_MS = 5_000;

/** What `beckon dev` at this address says of itself. */
export async function devSystem(dev: string, user: string): Promise<System> {
  const { servers } = (await (await ask(dev, "/dev/stage")).json()) as Stage;
  const path = `/dev/token?user=${encodeURIComponent(user)}`;
  return {
    servers: servers.map(({ url }) => url),
    token: async () => (await ask(dev, path)).text(),
    listen: earAt(new URL("/push/", dev)),
  };
}

/** For pushes of the dev push service at this address. */
function earAt(push: URL): NonNullable<System["listen"]> {
  return (token, handler) =>
    listen(new URL(`v1/phones/${encodeURIComponent(token)}`, push), handler);
}

async function ask(dev: string, path: string): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(new URL(path, dev), { signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new Failure(
      `no development system answers at ${dev}`,
      `Start one in another terminal: npx beckon dev
Is it on another port? --dev http://localhost:PORT
For a server of your own: --server ws://HOST:PORT --token TOKEN`,
    );
  }
  if (response.ok) return response;
  throw new Failure(
    `${dev} answers ${response.status}, and not as a development system does`,
    "Name the page of `beckon dev` with --dev.",
  );
}

/** `push`: their development push service, if they have one. */
export function ownSystem(
  servers: readonly string[],
  token: string,
  push: URL | undefined,
): System {
  return {
    servers,
    token: () => Promise.resolve(token),
    listen: push === undefined ? undefined : earAt(push),
  };
}
