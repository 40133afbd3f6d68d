/** What proxies say of where a request came from. Nothing here trusts any of it: `remote.ts` does. */
import { canonicalAddress } from "./address.ts";

/**
 * The elements of a list header, the last first: what the nearest proxy wrote comes before what anybody may have written. Read
 * from the end, so that nothing further ahead, such as a quote that never ends, changes how an element is read.
 */
export function* elementsFromEnd(header: string): Generator<string> {
  let end = header.length;
  let isQuoted = false;
  for (let at = header.length - 1; at >= -1; at--) {
    if (header[at] === '"') isQuoted = !isQuoted;
    if (at >= 0 && (header[at] !== "," || isQuoted)) continue;
    const element = header.slice(at + 1, end).trim();
    end = at;
    if (element !== "") yield element;
  }
}

const TOKEN = "[\\w!#$%&'*+.^`|~-]+";
const PAIR = new RegExp(`[ \\t]*(${TOKEN})=(?:(${TOKEN})|"([^"\\\\]*)")[ \\t]*(?:;|$)`, "y");

/** The address in an element of `Forwarded` (RFC 7239); undefined: it has none, hides it, or is malformed. */
export function addressInForwarded(element: string): string | undefined {
  let node: string | undefined;
  PAIR.lastIndex = 0;
  while (PAIR.lastIndex < element.length) {
    const [, name, token, quoted] = PAIR.exec(element) ?? [];
    if (name === undefined) return undefined;
    if (name.toLowerCase() !== "for") continue;
    if (node !== undefined) return undefined;
    node = token ?? quoted;
  }
  return node === undefined ? undefined : addressOfNode(node);
}

/** The address in an element of `X-Forwarded-For`, which no standard describes: IPv6 is written with brackets and without. */
export function addressInXForwardedFor(element: string): string | undefined {
  return addressOfNode(element) ?? canonicalAddress(element);
}

const NODE = /^(?:\[([\da-fA-F:.]+)\]|(\d+(?:\.\d+){3}))(?::(?:\d{1,5}|_[\w.-]+))?$/;

/** An address as URLs write it, with or without a port. */
function addressOfNode(node: string): string | undefined {
  const [, v6, v4] = NODE.exec(node) ?? [];
  if (v6 !== undefined) return v6.includes(":") ? canonicalAddress(v6) : undefined;
  return v4 === undefined ? undefined : canonicalAddress(v4);
}
