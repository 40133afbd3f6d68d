import type { ErrorCode, SendFrame } from "@beckon/protocol";

import type { FakeConnection, FakeServer } from "./fake-server.ts";

/** What the server makes of a SEND that is in order: undefined takes it. */
export type Verdict = (send: SendFrame) => ErrorCode | undefined;

/**
 * Makes the servers take SENDs by the rule of the protocol: after one was refused, nothing after it in its lane is taken on that
 * connection until it comes again, or one that is linked past it. A repeat is acknowledged and not taken again. The answer is
 * what was taken, in order.
 */
export function accept(servers: readonly FakeServer[], verdict: Verdict): SendFrame[] {
  const taken: SendFrame[] = [];
  const refused = new Map<string, number>();
  let connection: FakeConnection | undefined;
  for (const server of servers) {
    server.onSend = (on, send, number) => {
      if (on !== connection) refused.clear();
      connection = on;
      const { to, n, prev } = send;
      const hole = refused.get(to) ?? Infinity;
      if (n > hole && prev >= hole) return on.refuse("out-of-order", number);
      if (n >= hole) refused.delete(to);
      const known = taken.some(({ id }) => Buffer.compare(id, send.id) === 0);
      const code = known ? undefined : verdict(send);
      if (code !== undefined) {
        refused.set(to, Math.min(n, refused.get(to) ?? Infinity));
        return on.refuse(code, number);
      }
      if (!known) taken.push(send);
      return server.ack(on, number);
    };
  }
  return taken;
}
