import { uuidv7 } from "@beckon/protocol";
import type { ErrorCode, Millis, ProtocolLimits, SendFrame } from "@beckon/protocol";

import type { AdminBackend, Health, UserDevice, UserPlacement } from "./admin/backend.ts";
import type { DeviceDecision, ServerStatus } from "./cluster/control-messages.ts";
import type { Control } from "./cluster/control.ts";
import { overviewOf } from "./cluster/overview.ts";
import { faultOf } from "./gateway/send.ts";
import type { Metrics } from "./lib/metrics.ts";
import { didYouMean } from "./lib/nearest.ts";
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

/** The same, in words of the case. */
class NotDone extends Refused {
  readonly hint: string;
  constructor(code: ErrorCode, message: string, hint: string) {
    super(code);
    this.message = message;
    this.hint = hint;
  }
}

/** What the admin API asks of a server, done by its node and its store. */
export function adminBackend(
  node: Node,
  store: Store,
  control: Control,
  limits: ProtocolLimits,
  metrics: Metrics,
  health: () => Health,
): AdminBackend {
  return {
    async sendMessage({ id = newId(), from, to, payload, wake, preview }) {
      const lane = { n: 0, prev: 0 };
      const content = { payload, wake, preview, ends: new Uint8Array() };
      const send: SendFrame = { type: "send", id, to, ...lane, ...content };
      const fault = faultOf(send, from, limits, Date.now());
      if (fault !== undefined) throw new Refused(fault);
      const answer = await node.sendAsService({ from, send });
      return { id, ...answer };
    },
    async registerDevice({ user, device, protocols, push }) {
      const fault = node.pushFault(push);
      if (fault !== undefined) {
        const hint = "Register what the push service gave the device, as it is.";
        throw new NotDone("bad-argument", `push.token: ${fault}`, hint);
      }
      const set = await store.devices.register(user, device, protocols, push);
      node.table.announceSet(user, set.setVersion, set.setSize);
    },
    async devices(user) {
      const { devices } = await store.devices.devices(user);
      return listDevices(node.table.lookup(user), devices, Date.now());
    },
    placement: (user) => placementOf(node, store, control, user),
    async forgetDevice(user, device) {
      const set = await store.devices.forget(user, device);
      node.table.announceSet(user, set.setVersion, set.setSize);
    },
    async quietDevice(user, device, until) {
      if (await store.wakes.quiet(user, device, "", until)) return;
      const hint = "Register the device for push, or let it connect, before it is quiet.";
      throw new NotDone("bad-argument", "the user has no such device", hint);
    },
    async mute(user, conversation, until) {
      await store.wakes.quiet(user, "", conversation, until);
    },
    mutes: (user) => store.wakes.mutes(user),
    async eraseAssociates(user) {
      const others = node.members.list().filter(({ name }) => name !== node.name);
      const missing = new Set<string>();
      const forgetEverywhere = async (): Promise<void> => {
        const forgetting = others.map(({ name }) =>
          control.forget(name, user).catch(() => void missing.add(name)),
        );
        await Promise.all(forgetting);
      };
      // Before, so that nothing of theirs comes to the store afterwards; and after, as they may have read what was there yet.
      await forgetEverywhere();
      await node.circles.erase(user);
      await forgetEverywhere();
      return [...missing].sort();
    },
    async servers() {
      const members = node.members.list();
      const answers = new Map<string, ServerStatus>();
      await Promise.all(
        members.map(({ name }) =>
          control.status(name).then(
            (status) => void answers.set(name, status),
            // It is shown as one that does not answer.
            () => undefined,
          ),
        ),
      );
      return overviewOf(members, answers, (name) => node.members.silence(name));
    },
    async drainServer(name) {
      if (node.members.get(name) === undefined) {
        const names = node.members.list().map((member) => member.name);
        const message = `no server is called ${name}${didYouMean(name, names)}`;
        throw new NotDone("bad-argument", message, `The system has: ${names.join(", ")}.`);
      }
      return control.drain(name).catch(() => {
        const hint = "Look at its process and its link to the bus; SIGTERM to it does the same.";
        throw new NotDone("unavailable", `${name} does not answer`, hint);
      });
    },
    health,
    metrics: () => metrics.render(),
  };
}

/** How this server is, for whichever of the others is asked. */
export function statusOf(node: Node, store: boolean): ServerStatus {
  const { published, incarnation, replicas } = node.replicator.stats();
  const { state, load, cpu } = node.members.get(node.name)!;
  return {
    state,
    store,
    incarnation,
    connections: load,
    cpu,
    published,
    lately: node.counters.lately,
    replicas: replicas.map((replica) => ({
      ...replica,
      confirmed: Math.round(replica.confirmed),
    })),
  };
}

async function placementOf(
  node: Node,
  store: Store,
  control: Control,
  user: string,
): Promise<UserPlacement> {
  const registered = await store.devices.devices(user);
  const devices = listDevices(node.table.lookup(user), registered.devices, Date.now());
  const { placement } = node;
  if (placement === undefined) {
    return {
      policy: "wake",
      gains: { redirect: null, move: null },
      devices: devices.map((device) => ({ ...whereOf(device), now: null, last: null })),
      servers: [],
      associates: 0,
      strongest: [],
      silent: [],
    };
  }
  const [reasons, { last, silent }] = await Promise.all([
    placement.explain(user, devices),
    lastDecisions(node, control, user, devices),
  ]);
  const { moves, redirectGain, moveGain, servers, associates, strongest, verdicts } = reasons;
  return {
    policy: moves ? "move" : "place",
    gains: { redirect: redirectGain, move: moves ? moveGain : null },
    devices: devices.map((device, i) => ({
      ...whereOf(device),
      now: verdicts[i]!,
      last: last[i] ?? null,
    })),
    servers,
    associates,
    strongest,
    silent,
  };
}

function whereOf({
  device,
  server,
  background,
  since,
}: UserDevice): Pick<UserDevice, "device" | "server" | "background" | "since"> {
  return { device, server, background, since };
}

/** Devices of a user whose last decision is asked for; connections of devices that are not durable have no bound of their own. */
const ASKED = 64;

/** The newest that any server remembers about each device, and who did not answer. */
async function lastDecisions(
  node: Node,
  control: Control,
  user: string,
  devices: readonly UserDevice[],
): Promise<{ last: (DeviceDecision | undefined)[]; silent: string[] }> {
  const names = devices.slice(0, ASKED).map(({ device }) => device);
  const last: (DeviceDecision | undefined)[] = [];
  const silent: string[] = [];
  if (names.length === 0) return { last, silent };
  await Promise.all(
    node.members.list().map(async ({ name }) => {
      try {
        for (const [i, decision] of (await control.decisions(name, user, names)).entries()) {
          if (decision !== undefined && decision.at >= (last[i]?.at ?? 0)) last[i] = decision;
        }
      } catch {
        // It is named as one that does not answer.
        silent.push(name);
      }
    }),
  );
  return { last, silent: silent.toSorted() };
}

/** Dormant ones are owed nothing, and left out unless they are connected. */
function listDevices(
  sessions: readonly Session[],
  durable: readonly DeviceRecord[],
  now: Millis,
): readonly UserDevice[] {
  const devices = new Map<string, UserDevice>();
  const wakes = new Map<string, Pick<UserDevice, "push" | "quiet">>();
  for (const { device, dormant, seen, push, quietUntil = 0 } of durable) {
    const wake = { push: push?.provider ?? null, quiet: quietUntil > now ? quietUntil : null };
    wakes.set(device, wake);
    if (dormant) continue;
    const away = { server: null, durable: true, background: false, since: seen };
    devices.set(device, { device, ...away, ...wake });
  }
  for (const { device, server, durable, background, epoch } of sessions) {
    const wake = wakes.get(device) ?? { push: null, quiet: null };
    // An epoch is the time of the connection, but for clocks that disagree.
    devices.set(device, { device, server, durable, background, since: epoch, ...wake });
  }
  return [...devices.values()].sort((a, b) => (a.device < b.device ? -1 : 1));
}

function newId(): Uint8Array {
  return uuidv7(Date.now(), (bytes) => void crypto.getRandomValues(bytes));
}
