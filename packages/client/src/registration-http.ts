/** What a device asks of a server by HTTP, without a connection. [P-4.13] */
import { BeckonError } from "./errors.ts";

export interface Asked {
  /** The URL of a server, as in `servers` of `connect`: `wss://` or `ws://`; `https://` and `http://` say the same. */
  readonly server: string;
  /** The application's token for this user. */
  readonly token: string;
  readonly device: string;
}

/** What of the global `fetch` is used. */
type Fetch = (
  url: string,
  init: { readonly method: string; readonly headers: object; readonly body: string },
) => Promise<Answer>;

export interface Answer {
  readonly status: number;
  json(): Promise<unknown>;
}

/** Rejects where no server answers. */
export async function askByHttp(
  method: "PUT" | "DELETE",
  { server, token, device }: Asked,
  more: object,
): Promise<Answer> {
  const { fetch } = globalThis as { readonly fetch?: Fetch };
  if (fetch === undefined) throw new BeckonError("unsupported-runtime", "fetch");
  const [, place] = /^(?:ws|http)(s?:\/\/[^?#]+?)\/*([?#]|$)/i.exec(server) ?? [];
  if (place === undefined) throw new BeckonError("bad-argument", "server");
  return fetch(`http${place}/v1/push`, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ device, ...more }),
  });
}
