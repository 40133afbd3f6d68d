/** The end of this device at the servers, so that nobody pushes to it any more. */
import { type Address, CLOSE, type Millis } from "@beckon/protocol";

import type { Connection } from "./connection.ts";
import { askByHttp } from "./registration-http.ts";

/** What a log-out has reached: `local`: no server could be told. */
export type Forgotten = "forgotten" | "local";

/** How long a log-out waits for the servers, each way of asking for itself. */
export const LOG_OUT_MS: Millis = 10_000;
/** Addresses that are asked by HTTP. */
const ASKED = 3;

/** [P-4.12] Whether the server says that it has forgotten the device. */
export async function forgetOver(connection: Connection): Promise<boolean> {
  connection.write({ type: "forget" });
  return (await connection.closed).code === CLOSE.revoked;
}

/** [P-4.13] The same, of some servers at once. */
export function forgetByHttp(
  addresses: readonly Address[],
  device: string,
  token: string,
): Promise<boolean> {
  const urls = addresses.filter(({ protocol }) => protocol === "ws").map(({ url }) => url);
  const asked = [...new Set(urls)].slice(0, ASKED).map(async (server) => {
    const { status } = await askByHttp("DELETE", { server, token, device }, { forget: true });
    if (status !== 204) throw new Error();
    return true;
  });
  return Promise.any(asked).catch(() => false);
}
