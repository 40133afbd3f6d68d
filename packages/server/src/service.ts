import { uuidv7 } from "@beckon/protocol";
import type { ErrorCode, ProtocolLimits, SendFrame } from "@beckon/protocol";

import type { AdminBackend, Health, UserDevice } from "./admin/backend.ts";
import { faultOf } from "./gateway/send.ts";
import type { Metrics } from "./lib/metrics.ts";
import type { Node } from "./node.ts";
import type { Session } from "./sessions/table.ts";
import type { DeviceRecord, Store } from "./store/store.ts";

/** What the application's backend is told in the catalogue's words. */
class Refused extends Error {
  override readonly name = "Refused";
  readonly code: ErrorCode;
  constructor(code: ErrorCode) {
    super(code);
    this.code = code;
  }
}

/** What the admin API asks of a server, done by its node and its store. */
export function adminBackend(
  node: Node,
  store: Store,
  limits: ProtocolLimits,
  metrics: Metrics,
  health: () => Health,
): AdminBackend {
  return {
    async sendMessage({ id = newId(), from, to, payload, wake, preview }) {
      const send: SendFrame = { type: "send", id, to, n: 0, prev: 0, payload, wake, preview };
      const fault = faultOf(send, from, limits, Date.now());
      if (fault !== undefined) throw new Refused(fault);
      const answer = await node.sendAsService({ from, send });
      return { id, ...answer };
    },
    async registerDevice({ user, device, protocols, push }) {
      const set = await store.devices.register(user, device, protocols, push);
      node.table.announceSet(user, set.setVersion, set.setSize);
    },
    async devices(user) {
      const { devices } = await store.devices.devices(user);
      return listDevices(node.table.lookup(user), devices);
    },
    async forgetDevice(user, device) {
      const set = await store.devices.forget(user, device);
      node.table.announceSet(user, set.setVersion, set.setSize);
    },
    health,
    metrics: () => metrics.render(),
  };
}

/** Dormant ones are owed nothing, and left out unless they are connected. */
function listDevices(
  sessions: readonly Session[],
  durable: readonly DeviceRecord[],
): readonly UserDevice[] {
  const devices = new Map<string, UserDevice>();
  for (const { device, dormant } of durable) {
    if (!dormant) devices.set(device, { device, server: null, durable: true, background: false });
  }
  for (const { device, server, durable, background } of sessions) {
    devices.set(device, { device, server, durable, background });
  }
  return [...devices.values()].sort((a, b) => (a.device < b.device ? -1 : 1));
}

function newId(): Uint8Array {
  return uuidv7(Date.now(), (bytes) => void crypto.getRandomValues(bytes));
}
