/** Plans made from a seed: a town of users, a workload, and one kind of trouble each; `mix` has them all. */
import type { WakeClass } from "@beckon/protocol";

import { ruleOf } from "../../packages/server/src/placement/rule.ts";
import type { PhonePlan } from "./phone.ts";
import type { Engines, NatsPlan, PlacementPlan, Plan, ServerPlan, Step } from "./plan.ts";
import { Random } from "../../packages/cli/src/replay/xoshiro.ts";
import { SENDING_FAILURES } from "./sending.ts";

/** A plan that is being made. */
interface Draft {
  readonly random: Random;
  readonly servers: (ServerPlan & { skew: number; room?: number })[];
  readonly users: readonly string[];
  readonly phones: PhonePlan[];
  readonly steps: Step[];
  duration: number;
  authorizer: Plan["authorizer"];
  push: Plan["push"];
  retentionMs: number;
  placement: PlacementPlan | undefined;
  nats: NatsPlan;
  messages: number;
}

type Trouble = (draft: Draft) => void;

const NAMES = ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"];
const DAY = 86_400_000;

/** What a device is, at least. */
const PLAIN = {
  skew: 0,
  iterates: false,
  slow: 0,
  fails: 0,
  crashes: 0,
  awakeMs: 0,
  restsBy: "exit",
  tokenMs: DAY,
} as const;

/** One pair at 50 messages a second, and both ends change servers all the time. */
const reconnecting: Trouble = (draft) => {
  const { random } = draft;
  const [one, two] = [anyPhone(draft), anyPhone(draft)];
  stream(draft, one, two.user, { from: 3_000, to: 3_000 + random.int(2, 5) * 1_000, gapMs: 20 });
  for (const phone of [one, two]) {
    repeatedly(draft, 2_500, 9_000, 700, (at) => {
      const says = random.chance(0.6) ? "reset" : "nothing";
      draft.steps.push({
        do: "move",
        at,
        device: nameOf(phone),
        ms: random.int(1_000, 6_000),
        says,
      });
    });
  }
};

/** Servers that die between the commit and the ACK, or at any other moment. */
const crashing: Trouble = (draft) => {
  const { random } = draft;
  for (let i = random.int(1, 4); i > 0; i -= 1) {
    const server = random.pick(draft.servers).name;
    const at = random.int(2_000, draft.duration - 3_000);
    const says = random.chance(0.7) ? "reset" : "nothing";
    const isAfterCommit = random.chance(0.6);
    draft.steps.push({ do: isAfterCommit ? "crash after commit" : "crash", at, server, says });
    for (let again = 1; again <= 3; again += 1) {
      draft.steps.push({ do: "launch", at: at + again * random.int(500, 6_000), server });
    }
  }
};

const stalling: Trouble = (draft) => {
  const { random } = draft;
  for (let i = random.int(1, 3); i > 0; i -= 1) {
    const ms = random.pick([150, 800, 3_000, 7_000, 12_000, 12_000]);
    const server = random.pick(draft.servers).name;
    draft.steps.push({ do: "stall", at: random.int(2_000, draft.duration - 4_000), server, ms });
  }
};

/** Tables that say what is no longer true: connections that vanish, and a bus that is slow to tell. */
const stale: Trouble = (draft) => {
  const { random } = draft;
  cutBus(draft, random.int(1_000, 8_000));
  for (const phone of draft.phones) {
    repeatedly(draft, 2_000, draft.duration - 2_000, 4_000, (at) => {
      const says = random.chance(0.5) ? "reset" : "nothing";
      draft.steps.push({ do: "move", at, device: nameOf(phone), ms: random.int(500, 8_000), says });
    });
  }
};

/** Two servers claim one device, and their clocks are 5 s apart. */
const claimed: Trouble = (draft) => {
  const { random } = draft;
  for (const server of draft.servers) server.skew = random.pick([-5_000, 0, 5_000]);
  if (random.chance(0.5)) cutBus(draft, random.int(1_000, 15_000));
  for (const phone of draft.phones) {
    if (random.chance(0.4)) continue;
    repeatedly(draft, 2_000, draft.duration - 2_000, 5_000, (at) => {
      const device = nameOf(phone);
      if (random.chance(0.3)) {
        const storage = random.chance(0.5) ? "lost" : "kept";
        draft.steps.push({ do: "kill", at, device, says: "nothing" });
        draft.steps.push({ do: "start", at: at + random.int(10, 1_500), device, storage });
      } else {
        draft.steps.push({ do: "move", at, device, ms: random.int(500, 8_000), says: "nothing" });
      }
    });
  }
};

/** Devices that come to be while messages for their users are on their way. */
const registering: Trouble = (draft) => {
  const { random } = draft;
  for (let i = random.int(1, 4); i > 0; i -= 1) {
    const user = random.pick(draft.users);
    const phone = addPhone(draft, user, random.int(3_000, draft.duration - 6_000));
    const others = draft.phones.filter((other) => other.user !== user);
    if (others.length === 0) continue;
    const from = random.int(1_000, 6_000);
    stream(draft, random.pick(others), user, {
      from,
      to: draft.duration,
      gapMs: random.int(150, 900),
    });
    if (random.chance(0.15)) {
      const at = random.int(8_000, draft.duration);
      draft.steps.push({ do: "forget", at, device: nameOf(phone) });
    }
    if (phone.push && random.chance(0.3)) {
      draft.steps.push({ do: "register", at: random.int(1_000, 12_000), device: nameOf(phone) });
    }
  }
};

/** Users to whom messages go and who have no device, at first or for good. */
const deviceless: Trouble = (draft) => {
  const { random } = draft;
  for (const user of ["una", "vic"].slice(0, random.int(1, 2))) {
    stream(draft, anyPhone(draft), user, {
      from: random.int(500, 3_000),
      to: draft.duration,
      gapMs: random.int(200, 2_000),
    });
    if (random.chance(0.8)) addPhone(draft, user, random.int(2_000, draft.duration - 1_000));
    if (random.chance(0.4)) addPhone(draft, user, random.int(2_000, draft.duration - 1_000));
  }
};

/** Several devices of a user, most of which sleep. */
const sleeping: Trouble = (draft) => {
  const { random } = draft;
  for (const [index, phone] of draft.phones.entries()) {
    if (random.chance(0.4)) continue;
    const restsBy = random.pick(["exit", "suspend", "crash"] as const);
    draft.phones[index] = { ...phone, awakeMs: random.int(800, 9_000), restsBy };
  }
};

/** Handlers that take long, fail, or take the process down with them. */
const badHandlers: Trouble = (draft) => {
  const { random } = draft;
  for (const [index, phone] of draft.phones.entries()) {
    draft.phones[index] = {
      ...phone,
      slow: random.pick([0, 0.02, 0.1]),
      fails: random.pick([0, 0.05, 0.2]),
      crashes: random.pick([0, 0.01, 0.05]),
    };
    restarts(draft, phone, 3_000);
  }
};

/** Refusals in the middle of a pipeline. */
const refusing: Trouble = (draft) => {
  const { random } = draft;
  draft.authorizer = {
    no: random.pick([0, 0.02, 0.1]),
    fails: random.pick([0, 0.05, 0.3]),
    slow: random.pick([0, 0.1, 0.5]),
  };
  const [one, two] = [anyPhone(draft), anyPhone(draft)];
  burst(draft, one, two.user, random.int(2_000, 8_000), random.int(20, 80));
  if (random.chance(0.5)) cutStore(draft, random.int(300, 3_000));
};

const storeAway: Trouble = (draft) => {
  const { random } = draft;
  for (let i = random.int(1, 3); i > 0; i -= 1) cutStore(draft, random.int(200, 9_000));
  if (random.chance(0.5)) {
    const at = random.int(2_000, draft.duration - 2_000);
    draft.steps.push({ do: "store slowness", at, times: random.pick([10, 100, 1_000]) });
    draft.steps.push({ do: "store slowness", at: at + random.int(500, 6_000), times: 1 });
  }
};

/** For a minute, servers do not hear each other. */
const busAway: Trouble = (draft) => {
  const { random } = draft;
  draft.duration = 75_000;
  const at = random.int(2_000, 6_000);
  const all = random.chance(0.5);
  for (const { name } of draft.servers) {
    if (!all && random.chance(0.4)) continue;
    draft.steps.push({ do: "cut bus", at, server: name, detectMs: random.int(0, 3_000) });
    draft.steps.push({ do: "restore bus", at: at + 60_000 + random.int(0, 2_000), server: name });
  }
  for (const phone of draft.phones) {
    repeatedly(draft, 3_000, 70_000, 12_000, (when) => {
      const ms = random.int(500, 8_000);
      const says = random.chance(0.7) ? "reset" : "nothing";
      draft.steps.push({ do: "move", at: when, device: nameOf(phone), ms, says });
    });
  }
  for (let i = 0; i < 4; i += 1) {
    const [one, two] = [anyPhone(draft), anyPhone(draft)];
    stream(draft, one, two.user, { from: 8_000, to: 70_000, gapMs: random.int(900, 4_000) });
  }
};

/** Messages that are kept for seconds only, and devices that come too late for them. */
const expiring: Trouble = (draft) => {
  const { random } = draft;
  draft.duration = 60_000;
  draft.retentionMs = random.int(8_000, 25_000);
  // A server that starts drops what is too old.
  for (let at = 15_000; at < draft.duration; at += random.int(6_000, 12_000)) {
    const server = random.pick(draft.servers).name;
    draft.steps.push({ do: "stop", at, server });
    draft.steps.push({ do: "launch", at: at + 2_500, server });
  }
  for (const [index, phone] of draft.phones.entries()) {
    if (random.chance(0.5)) continue;
    draft.phones[index] = {
      ...phone,
      awakeMs: random.int(2_000, 6_000),
      push: phone.push && random.chance(0.5),
    };
  }
};

/** Messages that come while a device is about to sleep, and while a push is about to wake it. */
const waking: Trouble = (draft) => {
  const { random } = draft;
  draft.push = { retries: random.pick([0, 0.1, 0.3]), losses: random.pick([0, 0.1]) };
  for (const [index, phone] of draft.phones.entries()) {
    const restsBy = random.pick(["exit", "suspend", "crash"] as const);
    draft.phones[index] = { ...phone, awakeMs: random.int(300, 3_000), restsBy };
    if (random.chance(0.3)) {
      const at = random.int(1_000, draft.duration);
      draft.steps.push({ do: "background", at, device: nameOf(phone), value: true });
    }
    if (random.chance(0.15)) {
      const at = random.int(3_000, draft.duration);
      draft.steps.push({ do: "renew push token", at, device: nameOf(phone) });
    }
  }
  if (random.chance(0.3)) {
    const at = random.int(3_000, draft.duration - 3_000);
    draft.steps.push({ do: "push service", at, isAway: true });
    draft.steps.push({ do: "push service", at: at + random.int(500, 8_000), isAway: false });
  }
};

/** Connections that are half-open, slow, or reset. */
const badNetwork: Trouble = (draft) => {
  const { random } = draft;
  for (const phone of draft.phones) {
    repeatedly(draft, 1_500, draft.duration - 2_000, 4_000, (at) => {
      const what = random.pick(["reset", "break", "slow"] as const);
      draft.steps.push({ do: what, at, device: nameOf(phone) });
    });
  }
};

/** Servers that are stopped in an orderly way and started again. */
const restarting: Trouble = (draft) => {
  const { random } = draft;
  repeatedly(draft, 3_000, draft.duration - 5_000, 5_000, (at) => {
    const server = random.pick(draft.servers).name;
    draft.steps.push({ do: "stop", at, server });
    draft.steps.push({ do: "launch", at: at + random.int(3_000, 6_000), server });
    draft.steps.push({ do: "launch", at: at + 12_000, server });
  });
};

/** One server after the other is emptied and started anew, and those who write to each other go on writing. */
const draining: Trouble = (draft) => {
  const { random } = draft;
  for (let i = random.int(2, 4); i > 0; i -= 1) {
    const [one, two] = [anyPhone(draft), anyPhone(draft)];
    stream(draft, one, two.user, { from: 2_000, to: draft.duration, gapMs: random.int(15, 200) });
  }
  emptying(draft);
};

function emptying(draft: Draft): void {
  const { random } = draft;
  let at = random.int(2_000, 4_000);
  for (const { name: server } of draft.servers) {
    draft.steps.push({ do: "stop", at, server });
    // Before it has stopped, or after: it waits for that.
    draft.steps.push({ do: "launch", at: at + random.int(500, 6_000), server });
    at += random.int(200, 6_000);
  }
}

/** Clocks that are set while things happen. */
const jumping: Trouble = (draft) => {
  const { random } = draft;
  const anyTime = (): number => random.int(1_000, draft.duration);
  const far = (): number => random.pick([-1, 1]) * random.pick([500, 5_000, 90_000, 4_000_000]);
  for (const { name } of draft.servers) {
    if (random.chance(0.6)) {
      draft.steps.push({ do: "jump server", at: anyTime(), server: name, ms: far() });
    }
  }
  for (const phone of draft.phones) {
    if (random.chance(0.6)) {
      draft.steps.push({ do: "jump", at: anyTime(), device: nameOf(phone), ms: far() });
    }
  }
  // A token that is shorter than the error of a server's clock is good for nothing.
  for (const [index, phone] of draft.phones.entries()) {
    draft.phones[index] = { ...phone, tokenMs: DAY };
  }
  badNetwork(draft);
};

/** More messages at once than windows, pages and buffers take, some of them for devices that sleep or read slowly. */
const flooding: Trouble = (draft) => {
  const { random } = draft;
  const [one, two] = [anyPhone(draft), anyPhone(draft)];
  burst(draft, one, two.user, random.int(1_500, 5_000), random.int(260, 700));
  if (random.chance(0.5)) sleeping(draft);
  else badNetwork(draft);
};

/** The application's backend sends to everybody, while servers crash and devices sleep. */
const serving: Trouble = (draft) => {
  const { random } = draft;
  for (const to of [...draft.users, "una"]) {
    repeatedly(draft, 1_000, draft.duration, random.int(500, 4_000), (at) => {
      draft.messages += 1;
      const wake = random.chance(0.8)
        ? "message"
        : random.pick(["call", "silent", "none"] as const);
      draft.steps.push({ do: "send as service", at, to, message: `m${draft.messages}`, wake });
    });
  }
  if (random.chance(0.5)) crashing(draft);
  if (random.chance(0.5)) sleeping(draft);
  if (random.chance(0.3)) storeAway(draft);
};

/** All of NATS, or one node of it, goes down and comes back: each server finds it out, and connects again, at its own moment. */
const natsRestarting: Trouble = (draft) => {
  const { random } = draft;
  repeatedly(draft, 2_000, draft.duration - 3_000, 7_000, (at) => {
    draft.steps.push({
      do: "restart nats",
      at,
      node: random.chance(0.6) ? undefined : random.int(0, 2),
      ms: random.pick([0, 200, 1_500, 6_000]),
      says: random.chance(0.6) ? "reset" : "nothing",
    });
  });
  roaming(draft, 5_000);
};

/** Groups of servers do not hear each other, and no link is down. */
const natsSplitting: Trouble = (draft) => {
  const { random } = draft;
  draft.nats = { ...draft.nats, nodes: random.int(2, 3) };
  repeatedly(draft, 2_000, draft.duration - 3_000, 6_000, (at) => {
    const between = random.pick([
      [0, 1],
      [0, 1],
      [1, 2],
      [0, 2],
    ] as const);
    const ms = random.pick([400, 2_000, 4_000, 9_000, 15_000]);
    const meanwhile = random.chance(0.7) ? "gone" : "late";
    draft.steps.push({ do: "break route", at, between, ms, meanwhile });
  });
  roaming(draft, 5_000);
  if (random.chance(0.4)) registering(draft);
};

/** Devices come to be, and go, in the moments in which what servers tell each other of them is lost. */
const natsAnnouncing: Trouble = (draft) => {
  const { random } = draft;
  draft.nats = { ...draft.nats, nodes: random.int(1, 3) };
  draft.duration = 40_000;
  for (let i = random.int(4, 8); i > 0; i -= 1) {
    const at = random.int(3_000, draft.duration - 12_000);
    const user = random.pick(draft.users);
    const others = draft.phones.filter((phone) => phone.user !== user);
    if (others.length > 0) {
      stream(draft, random.pick(others), user, { from: at, to: draft.duration, gapMs: 300 });
    }
    const ms = random.pick([300, 1_500, 6_000, 20_000]);
    const phone = addPhone(draft, user, at + random.int(-300, Math.max(2_500, ms / 2)));
    draft.phones[draft.phones.indexOf(phone)] = {
      ...phone,
      push: true,
      awakeMs: random.int(200, 1_500),
      restsBy: random.pick(["exit", "crash"] as const),
    };
    if (random.chance(0.3)) {
      draft.steps.push({ do: "register", at: at + random.int(0, 2_500), device: nameOf(phone) });
    }
    if (random.chance(0.4)) {
      const detectMs = random.int(0, 2_500);
      const server = random.pick(draft.servers).name;
      draft.steps.push({ do: "cut bus", at, server, detectMs });
      draft.steps.push({ do: "restore bus", at: at + ms, server });
    } else if (random.chance(0.5)) {
      draft.steps.push({ do: "break route", at, between: [0, 1], ms, meanwhile: "gone" });
    } else {
      const says = random.chance(0.3) ? "reset" : "nothing";
      draft.steps.push({ do: "restart nats", at, node: undefined, ms: random.int(0, 300), says });
    }
  }
};

/** NATS does not keep pace with the servers, and servers not with NATS. */
const natsSlow: Trouble = (draft) => {
  const { random } = draft;
  draft.nats = {
    nodes: random.int(1, 2),
    unconfirmedLimit: random.pick([2_000, 10_000, 40_000]),
    pendingLimit: random.pick([2_000, 10_000, 40_000]),
  };
  for (let i = random.int(1, 3); i > 0; i -= 1) {
    const at = random.int(2_000, draft.duration - 4_000);
    draft.steps.push({ do: "nats slowness", at, times: random.pick([30, 200, 2_000]) });
    draft.steps.push({ do: "nats slowness", at: at + random.int(500, 6_000), times: 1 });
  }
  stalling(draft);
  for (let i = 0; i < 3; i += 1) {
    const [one, two] = [anyPhone(draft), anyPhone(draft)];
    stream(draft, one, two.user, { from: 2_000, to: draft.duration, gapMs: random.int(100, 300) });
  }
};

/** The database stops, or crashes and forgets what it had not written, and comes back. */
const postgresRestarting: Trouble = (draft) => {
  const { random } = draft;
  repeatedly(draft, 2_000, draft.duration - 3_000, 6_000, (at) => {
    const ms = random.pick([0, 150, 1_000, 5_000]);
    if (random.chance(0.6)) draft.steps.push({ do: "crash postgres after settling", at, ms });
    else draft.steps.push({ do: "restart postgres", at, ms, how: random.pick(["crash", "stop"]) });
  });
  if (random.chance(0.6)) sleeping(draft);
  else roaming(draft, 4_000);
};

/** Links to the database that carry nothing and say nothing: some longer than servers wait for an answer. */
const postgresSilent: Trouble = (draft) => {
  const { random } = draft;
  draft.duration = 40_000;
  repeatedly(draft, 2_000, draft.duration - 15_000, 7_000, (at) => {
    const ms = random.pick([300, 3_000, 8_000, 11_000, 14_000]);
    const server = random.pick(draft.servers).name;
    draft.steps.push({ do: "silence store", at, server, ms });
  });
  if (random.chance(0.5)) roaming(draft, 5_000);
};

/** Commits that do not end while others do, some after their server has given them up; and a server that stops between two round trips. */
const postgresHanging: Trouble = (draft) => {
  const { random } = draft;
  draft.duration = 40_000;
  repeatedly(draft, 2_000, draft.duration - 15_000, 5_000, (at) => {
    const ms = random.pick([200, 1_500, 4_000, 8_000, 12_000, 20_000]);
    draft.steps.push({ do: "hang a commit", at, ms });
  });
  if (random.chance(0.5)) sleeping(draft);
  if (random.chance(0.4)) stalling(draft);
  if (random.chance(0.4)) crashing(draft);
};

/** The application's backend forgets devices that are connected, while others of their users are away. */
const revoking: Trouble = (draft) => {
  const { random } = draft;
  for (let i = random.int(1, 2); i > 0; i -= 1) {
    const user = random.pick(draft.users);
    for (let more = random.int(1, 2); more > 0; more -= 1) {
      addPhone(draft, user, random.int(0, 2_000));
    }
    const phones = draft.phones.filter((phone) => phone.user === user);
    const sleeper = random.pick(phones);
    const awakeMs = random.int(800, 6_000);
    draft.phones[draft.phones.indexOf(sleeper)] = { ...sleeper, awakeMs, restsBy: "exit" };
    for (const phone of [random.pick(phones), anyPhone(draft)]) {
      const others = draft.users.filter((other) => other !== phone.user);
      const to = phone.user === user ? random.pick(others) : user;
      stream(draft, phone, to, { from: 2_000, to: draft.duration, gapMs: random.int(100, 500) });
    }
    repeatedly(draft, 4_000, draft.duration - 1_000, 4_000, (at) => {
      const phone = random.pick(phones);
      const device = nameOf(phone);
      draft.steps.push({ do: "revoke", at, device });
      if (phone.push && random.chance(0.2))
        draft.steps.push({ do: "register", at: at + 300, device });
      if (random.chance(0.2)) draft.steps.push({ do: "reset", at: at + random.int(0, 60), device });
    });
  }
  if (random.chance(0.3)) cutBus(draft, random.int(1_000, 8_000));
  if (random.chance(0.3)) cutStore(draft, random.int(300, 5_000));
};

/** Calls to devices that sleep: answered by one of them, given up, or by nobody; and a backlog for them to come past. */
const calling: Trouble = (draft) => {
  const { random } = draft;
  draft.duration = 60_000;
  for (const [index, phone] of draft.phones.entries()) {
    if (random.chance(0.3)) continue;
    const restsBy = random.pick(["exit", "suspend", "crash"] as const);
    draft.phones[index] = { ...phone, push: true, awakeMs: random.int(800, 6_000), restsBy };
  }
  for (const caller of draft.phones) {
    repeatedly(draft, 2_000, draft.duration - 5_000, 9_000, (at) => {
      const callee = random.pick(draft.phones);
      if (callee.user !== caller.user) call(draft, at, caller, callee);
    });
  }
  const [one, two] = [anyPhone(draft), anyPhone(draft)];
  if (random.chance(0.5))
    burst(draft, one, two.user, random.int(2_000, 30_000), random.int(100, 400));
  if (random.chance(0.4)) crashing(draft);
  if (random.chance(0.3)) badNetwork(draft);
};

function call(draft: Draft, at: number, caller: PhonePlan, callee: PhonePlan): void {
  const { random } = draft;
  draft.messages += 1;
  const message = `m${draft.messages}`;
  const device = nameOf(caller);
  draft.steps.push({ do: "send", at, device, to: callee.user, message, wake: "call", size: 0 });
  const fate = random.next();
  if (fate < 0.25) return;
  draft.messages += 1;
  const [from, to] = fate < 0.7 ? [callee, caller.user] : [caller, callee.user];
  draft.steps.push({
    do: "send",
    at: at + random.pick([random.int(100, 3_000), random.int(3_000, 28_000)]),
    device: nameOf(from),
    to,
    message: `m${draft.messages}`,
    wake: random.pick(["message", "silent", "none"] as const),
    size: 0,
    ends: message,
  });
}

/** Devices come all at once to servers that send them elsewhere: some are full, some drain, some die before the device is there. */
const placing: Trouble = (draft) => {
  const { random } = draft;
  draft.placement = placementPlan(random, false);
  conversations(draft);
  const roomy = random.pick(draft.servers);
  for (const server of draft.servers) {
    if (server !== roomy && random.chance(0.4)) server.room = random.int(1, 4);
  }
  repeatedly(draft, 2_500, draft.duration - 2_000, 5_000, (at) => {
    const says = random.chance(0.7) ? "reset" : "nothing";
    for (const phone of draft.phones) {
      if (random.chance(0.4)) continue;
      const device = nameOf(phone);
      const ms = random.int(500, 8_000);
      draft.steps.push({ do: "move", at: at + random.int(0, 20), device, ms, says });
    }
  });
  failSendings(draft, "redirect", 4_000);
  if (random.chance(0.4)) emptying(draft);
  if (random.chance(0.3)) crashing(draft);
  if (random.chance(0.3)) cutBus(draft, random.int(1_000, 8_000));
  if (random.chance(0.3)) sleeping(draft);
  if (random.chance(0.2)) cutStore(draft, random.int(300, 3_000));
};

/** Devices are moved to and fro while they talk, and something fails in the middle of it. */
const moving: Trouble = (draft) => {
  const { random } = draft;
  const { rule, moves } = placementPlan(random, true);
  // Where those who come are not sent to each other, more is left for moves.
  const redirectGain = random.pick([rule.redirectGain, 1_000, 1_000]);
  draft.placement = { moves, rule: { ...rule, redirectGain } };
  // Who has a call is not moved.
  const isQuiet = random.chance(0.7);
  for (const [index, step] of draft.steps.entries()) {
    const isCall = step.do === "send" && step.wake === "call";
    if (isQuiet && isCall) draft.steps[index] = { ...step, wake: "message" };
  }
  const user = random.pick(draft.users);
  if (random.chance(0.5)) addPhone(draft, user, random.int(0, 3_000));
  conversations(draft);
  failSendings(draft, "move", 2_500);
  if (random.chance(0.4)) {
    failSendings(draft, "drain", 5_000);
    emptying(draft);
  }
  for (const phone of draft.phones) {
    if (random.chance(0.8)) continue;
    const [at, device] = [random.int(1_000, draft.duration), nameOf(phone)];
    draft.steps.push({ do: "background", at, device, value: true });
    const back = at + random.int(500, 8_000);
    draft.steps.push({ do: "background", at: back, device, value: false });
  }
  for (const trouble of [crashing, stalling, badHandlers, badNetwork, sleeping, storeAway]) {
    if (random.chance(0.15)) trouble(draft);
  }
  if (random.chance(0.15)) cutBus(draft, random.int(1_000, 8_000));
  if (random.chance(0.1)) calling(draft);
  if (random.chance(0.1)) revoking(draft);
};

/** Gains so small that there is always something to gain. */
function placementPlan(random: Random, moves: boolean): PlacementPlan {
  const rule = {
    ...ruleOf("locality", random.pick([1.1, 2, 4])),
    redirectGain: 0.1,
    moveGain: 0.5,
    restMs: random.pick([300, 2_000, 8_000]),
    least: random.pick([1, 2, 4]),
  };
  return { rule, moves };
}

/** Some talk with one and then with another. */
function conversations(draft: Draft): void {
  const { random } = draft;
  for (let i = random.int(2, 4); i > 0; i -= 1) {
    const one = anyPhone(draft);
    const others = random.pick([1, 2, 2, 3]);
    const peers = Array.from({ length: others }, () => anyPhone(draft));
    const gapMs = random.int(150, 900);
    let turn = 0;
    for (let from = random.int(800, 3_000); from < draft.duration; turn += 1) {
      const to = from + random.int(1_000, 4_000);
      const peer = peers[turn % peers.length]!;
      const time = { from, to: Math.min(to, draft.duration), gapMs };
      stream(draft, one, peer.user, time, "message");
      if (random.chance(0.5)) stream(draft, peer, one.user, time, "message");
      from = to;
    }
  }
}

function failSendings(draft: Draft, by: "redirect" | "move" | "drain", everyMs: number): void {
  const { random } = draft;
  repeatedly(draft, 1_000, draft.duration - 3_000, everyMs, (at) => {
    const what = random.pick(SENDING_FAILURES);
    const afterMs = random.pick([0, random.int(0, 60), random.int(0, 400)]);
    const ms = random.pick([random.int(100, 1_500), random.int(500, 9_000)]);
    const says = random.pick(["reset", "nothing"] as const);
    draft.steps.push({ do: "fail a sending", at, by, what, afterMs, ms, says });
  });
}

const nothing: Trouble = () => undefined;

/** Devices change their servers all the time. */
function roaming(draft: Draft, everyMs: number): void {
  const { random } = draft;
  for (const phone of draft.phones) {
    repeatedly(draft, 2_000, draft.duration - 2_000, everyMs, (at) => {
      const says = random.chance(0.5) ? "reset" : "nothing";
      draft.steps.push({ do: "move", at, device: nameOf(phone), ms: random.int(500, 8_000), says });
    });
  }
}

const TROUBLES = {
  calm: nothing,
  reconnecting,
  crashing,
  stalling,
  stale,
  claimed,
  registering,
  deviceless,
  sleeping,
  "bad-handlers": badHandlers,
  refusing,
  "store-away": storeAway,
  "bus-away": busAway,
  expiring,
  waking,
  "bad-network": badNetwork,
  restarting,
  jumping,
  flooding,
  serving,
  draining,
  revoking,
  calling,
  placing,
  moving,
  "nats-restarting": natsRestarting,
  "nats-splitting": natsSplitting,
  "nats-announcing": natsAnnouncing,
  "nats-slow": natsSlow,
  "postgres-restarting": postgresRestarting,
  "postgres-silent": postgresSilent,
  "postgres-hanging": postgresHanging,
} as const satisfies Record<string, Trouble>;

/** Those that the mix does not take: they take long, or came later and would change what its seeds mean. */
const LONG: ReadonlySet<string> = new Set([
  "bus-away",
  "expiring",
  "jumping",
  "flooding",
  "serving",
  "draining",
  "revoking",
  "calling",
  "placing",
  "moving",
  "nats-restarting",
  "nats-splitting",
  "nats-announcing",
  "nats-slow",
  "postgres-restarting",
  "postgres-silent",
  "postgres-hanging",
]);

/** What only one engine does. */
const TROUBLES_OF = {
  nats: ["nats-restarting", "nats-splitting", "nats-announcing", "nats-slow"],
  postgres: ["postgres-restarting", "postgres-silent", "postgres-hanging"],
} as const;

export const SCENARIOS: readonly string[] = [...Object.keys(TROUBLES), "mix"];

const MEMORY: Engines = { bus: "memory", store: "memory" };

/** Same scenario, seed and engines, same plan; what engines do not do themselves is the same on all. */
export function planOf(scenario: string, seed: number, engines: Engines = MEMORY): Plan {
  const random = new Random(seed).fork(`plan of ${scenario}`);
  const draft = town(random);
  draft.placement = placementIn(random.fork("placement"));
  workload(draft);
  for (const trouble of troublesOf(scenario, random)) trouble(draft);
  if (scenario === "mix") for (const trouble of mixedIn(engines, random)) trouble(draft);
  const { servers, phones, duration, authorizer, push, retentionMs, nats, placement } = draft;
  const steps = draft.steps.filter(({ at }) => at < duration).sort((a, b) => a.at - b.at);
  const drawn = {
    servers,
    phones,
    steps,
    duration,
    authorizer,
    push,
    retentionMs,
    nats,
    placement,
  };
  return { scenario, seed, engines: enginesFor(scenario, engines), ...drawn };
}

/** In whatever the trouble is. */
function placementIn(random: Random): PlacementPlan | undefined {
  const choice = random.pick(["off", "off", "place", "move"] as const);
  return choice === "off" ? undefined : placementPlan(random, choice === "move");
}

/** Without a scenario: each of them in turn, and the mix for every other. */
export function scenarioOf(seed: number): string {
  return seed % 2 === 0 ? "mix" : SCENARIOS[((seed - 1) / 2) % SCENARIOS.length]!;
}

/** Without engines: one combination or another. */
export function enginesOf(seed: number): Engines {
  const random = new Random(seed).fork("engines");
  return { bus: random.pick(["memory", "nats"]), store: random.pick(["memory", "postgres"]) };
}

/** A scenario of what only one engine does runs on that. */
function enginesFor(scenario: string, { bus, store }: Engines): Engines {
  return {
    bus: scenario.startsWith("nats-") ? "nats" : bus,
    store: scenario.startsWith("postgres-") ? "postgres" : store,
  };
}

/** At times devices that are forgotten; for each engine that the mix runs on, at times a trouble of its own. */
function mixedIn({ bus, store }: Engines, random: Random): readonly Trouble[] {
  const own = random.fork("troubles of engines");
  const names: string[] = [];
  if (bus === "nats" && own.chance(0.6)) names.push(own.pick(TROUBLES_OF.nats));
  if (store === "postgres" && own.chance(0.6)) names.push(own.pick(TROUBLES_OF.postgres));
  // As a trouble of its own it came later, too.
  if (random.fork("revoking").chance(0.25)) names.push("revoking");
  for (const name of ["calling", "placing", "moving"]) {
    if (random.fork(name).chance(name === "calling" ? 0.25 : 0.15)) names.push(name);
  }
  return names.map((name) => (TROUBLES as Record<string, Trouble>)[name]!);
}

function troublesOf(scenario: string, random: Random): readonly Trouble[] {
  if (scenario !== "mix") {
    const trouble = (TROUBLES as Record<string, Trouble>)[scenario];
    if (trouble === undefined) throw new RangeError(`no scenario is called ${scenario}`);
    return [trouble];
  }
  const names = Object.keys(TROUBLES).filter((name) => !LONG.has(name));
  const count = random.int(2, 4);
  return Array.from(
    { length: count },
    () => (TROUBLES as Record<string, Trouble>)[random.pick(names)]!,
  );
}

function town(random: Random): Draft {
  const servers = Array.from({ length: random.int(2, 4) }, (_, index) => ({
    name: `s${index + 1}`,
    skew: random.pick([0, 0, random.int(-300, 300), random.int(-5_000, 5_000)]),
  }));
  const users = NAMES.slice(0, random.int(3, NAMES.length));
  const draft: Draft = {
    random,
    servers,
    users,
    phones: [],
    steps: [],
    duration: random.int(15, 30) * 1_000,
    authorizer: { no: 0, fails: 0, slow: 0 },
    push: { retries: 0, losses: 0 },
    retentionMs: 30 * DAY,
    placement: undefined,
    nats: {
      nodes: random.fork("nats").int(1, 3),
      unconfirmedLimit: 64 * 1024 * 1024,
      pendingLimit: 64 * 1024 * 1024,
    },
    messages: 0,
  };
  for (const user of users) {
    const count = random.pick([1, 1, 1, 2, 2, 3]);
    for (let i = 0; i < count; i += 1) {
      addPhone(draft, user, random.chance(0.8) ? random.int(0, 300) : random.int(300, 8_000));
    }
  }
  return draft;
}

function addPhone(draft: Draft, user: string, startsAt: number): PhonePlan {
  const { random } = draft;
  const count = draft.phones.filter((phone) => phone.user === user).length;
  const kind = random.pick(["phone", "phone", "phone", "light", "desk", "web"]);
  const phone: PhonePlan = {
    ...PLAIN,
    user,
    device: `${kind}${count + 1}`,
    push: kind === "phone" || kind === "light",
    storage: kind === "phone" || kind === "desk",
    skew: random.pick([0, 0, random.int(-60_000, 60_000)]),
    iterates: random.chance(0.3),
    tokenMs: random.chance(0.1) ? 90_000 : DAY,
  };
  draft.phones.push(phone);
  draft.steps.push({ do: "start", at: startsAt, device: nameOf(phone), storage: "kept" });
  return phone;
}

/** Everybody writes to somebody, now and then, and some in bursts. */
function workload(draft: Draft): void {
  const { random, phones, users } = draft;
  for (const phone of phones) {
    for (let i = random.int(0, 2); i > 0; i -= 1) {
      const others = users.filter((user) => user !== phone.user);
      const to = random.pick(others);
      const from = random.int(200, 8_000);
      if (random.chance(0.3)) burst(draft, phone, to, from, random.int(3, 25));
      else stream(draft, phone, to, { from, to: draft.duration, gapMs: random.int(300, 4_000) });
    }
  }
}

function stream(
  draft: Draft,
  { user, device }: PhonePlan,
  to: string,
  { from, to: end, gapMs }: { readonly from: number; readonly to: number; readonly gapMs: number },
  wake?: WakeClass,
): void {
  if (user === to) return;
  const { random } = draft;
  for (let at = from; at < end; at += Math.max(1, Math.round(gapMs * random.between(0.5, 1.5)))) {
    say(draft, at, `${user}/${device}`, to, wake);
  }
}

function burst(
  draft: Draft,
  { user, device }: PhonePlan,
  to: string,
  at: number,
  count: number,
): void {
  if (user === to) return;
  for (let i = 0; i < count; i += 1) say(draft, at, `${user}/${device}`, to);
}

function say(draft: Draft, at: number, device: string, to: string, always?: WakeClass): void {
  const { random } = draft;
  draft.messages += 1;
  const drawn = random.chance(0.9) ? "message" : random.pick(["call", "silent", "none"] as const);
  const wake = always ?? drawn;
  const size = random.chance(0.03) ? random.int(1_000, 20_000) : 0;
  draft.steps.push({ do: "send", at, device, to, message: `m${draft.messages}`, wake, size });
}

/** The device's process dies now and then, and is started again. */
function restarts(draft: Draft, phone: PhonePlan, everyMs: number): void {
  const { random } = draft;
  repeatedly(draft, 2_000, draft.duration, everyMs, (at) => {
    const device = nameOf(phone);
    const storage = random.chance(0.1) ? "lost" : "kept";
    if (random.chance(0.3))
      draft.steps.push({ do: "kill", at, device, says: random.pick(["reset", "nothing"]) });
    draft.steps.push({ do: "start", at: at + random.int(50, 2_000), device, storage });
  });
}

function cutBus(draft: Draft, ms: number): void {
  const { random } = draft;
  const server = random.pick(draft.servers).name;
  const at = random.int(2_000, Math.max(2_000, draft.duration - ms));
  draft.steps.push({ do: "cut bus", at, server, detectMs: random.int(0, 2_500) });
  draft.steps.push({ do: "restore bus", at: at + ms, server });
}

function cutStore(draft: Draft, ms: number): void {
  const { random } = draft;
  const at = random.int(1_500, Math.max(1_500, draft.duration - ms));
  const all = random.chance(0.6);
  const only = random.pick(draft.servers).name;
  for (const { name } of draft.servers) {
    if (!all && name !== only) continue;
    draft.steps.push({ do: "cut store", at, server: name });
    draft.steps.push({ do: "restore store", at: at + ms, server: name });
  }
}

function repeatedly(
  { random }: Draft,
  from: number,
  to: number,
  everyMs: number,
  act: (at: number) => void,
): void {
  for (let at = from + random.exponential(everyMs); at < to; at += random.exponential(everyMs)) {
    act(Math.round(at));
  }
}

function anyPhone({ random, phones }: Draft): PhonePlan {
  return random.pick(phones);
}

function nameOf({ user, device }: PhonePlan): string {
  return `${user}/${device}`;
}
