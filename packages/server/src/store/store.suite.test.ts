/** Each law of the suite is broken on purpose, and the suite has to notice by that law's name. */
import { expect, test } from "bun:test";

import type { PushRegistration } from "@beckon/protocol";

import { createMemoryDatabase } from "./memory.ts";
import type { HoldRequest, Store, StoreLimits, TieChange } from "./store.ts";
import { SUITE_LIMITS, storeSuite } from "./store.suite.ts";
import type { StoreHarness } from "./store.suite.ts";
import { steppedClock } from "./test-support/harness.ts";
import { DAY, HOUR, START, arrival, newId, registration } from "./test-support/requests.ts";

interface Parts {
  messages?: Partial<Store["messages"]>;
  devices?: Partial<Store["devices"]>;
  wakes?: Partial<Store["wakes"]>;
  associates?: Partial<Store["associates"]>;
}

/** Says how a store differs from a right one; called once a handle. */
type Fault = (store: Store, database: object) => Parts;

const onHold =
  (change: (request: HoldRequest) => HoldRequest): Fault =>
  ({ messages }) => ({
    messages: { hold: (requests) => messages.hold(requests.map((request) => change(request))) },
  });

const withWake = (change: (wake: HoldRequest["wake"]) => Partial<HoldRequest["wake"]>): Fault =>
  onHold((request) => ({ ...request, wake: { ...request.wake, ...change(request.wake) } }));

const never: Fault = ({ messages }) => ({ messages: { settle: () => messages.settle([]) } });

/** State that both handles of one database share. */
function sharedBy<State>(make: () => State): (database: object) => State {
  const states = new WeakMap<object, State>();
  return (database) => {
    const state = states.get(database) ?? make();
    states.set(database, state);
    return state;
  };
}

const firstSeen = sharedBy(() => new Map<string, ReadonlySet<string>>());
const knownDevices = sharedBy(() => new Set<string>());
const knownIds = sharedBy(() => new Set<string>());
const lastClaimed = sharedBy(() => ({ devices: [] as string[] }));
const lastRefs = sharedBy(() => new Map<string, readonly (number | string)[]>());

const withLimits = (limits: Partial<StoreLimits>) => ({ limits: { ...SUITE_LIMITS, ...limits } });

/** An arrival of a device that is known already only reads. */
const secondArrivalReads: Fault = ({ devices }, database) => {
  const known = knownDevices(database);
  return {
    devices: {
      arrive: (wanted) => {
        const name = `${wanted.user}/${wanted.device}`;
        const isKnown = known.has(name);
        known.add(name);
        return devices.arrive(isKnown ? { ...wanted, durable: false } : wanted);
      },
    },
  };
};

const stolenByAnother: Fault = ({ devices }) => ({
  devices: {
    arrive: async (wanted) => {
      if (wanted.durable) await devices.arrive(arrival(wanted.user, "thief"));
      return devices.arrive(wanted);
    },
    register: async (user, ...rest) => {
      await devices.arrive(arrival(user, "thief"));
      return devices.register(user, ...rest);
    },
  },
});

/** Nobody hears that a conversation shall be quiet. */
const muteless: Fault = ({ wakes }) => ({
  wakes: {
    quiet: async (user, device, conversation, until) =>
      conversation !== "" || wakes.quiet(user, device, conversation, until),
  },
});

const onTies =
  (alter: (changes: readonly TieChange[]) => readonly TieChange[]): Fault =>
  ({ associates }) => ({
    associates: { strengthen: (changes) => associates.strengthen(alter(changes)) },
  });

const latestChange = sharedBy(() => ({ at: 0 }));

/** What comes late counts as if it had come just now. */
const lateIsNow: Fault = (store, database) => {
  const latest = latestChange(database);
  return onTies((changes) =>
    changes.map((change) => {
      latest.at = Math.max(latest.at, change.at);
      return { ...change, at: latest.at };
    }),
  )(store, database);
};

const FAULTS: Record<string, Fault | { readonly limits: StoreLimits }> = {
  // Messages
  "L1: what one handle has held another gives back untouched": ({ messages }) => ({
    messages: {
      pending: async (...args) =>
        (await messages.pending(...args)).map((row) => ({ ...row, body: row.body.slice(0, 255) })),
    },
  }),
  "a repeated hold adds nothing, and names the rows that are there": onHold((request) => ({
    ...request,
    key: { ...request.key, id: newId() },
  })),
  "a repeat in the same call adds nothing": onHold((request) => ({
    ...request,
    key: { ...request.key, id: newId() },
  })),
  "a repeated hold adds rows for devices that had none": (store, database) => {
    const known = knownIds(database);
    return onHold((request) => {
      const name = String(request.key.id);
      const isKnown = known.has(name);
      known.add(name);
      return isKnown ? { ...request, exclude: ["phone", "laptop"] } : request;
    })(store, database);
  },
  "the same id of another sender or device is another message": onHold((request) => ({
    ...request,
    key: { ...request.key, from: "ann", fromDevice: "phone" },
  })),
  "the same key with another digest is a conflict and writes nothing": onHold((request) => ({
    ...request,
    digest: "",
  })),
  "a key is taken for every user, and copies share it": onHold((request) => ({
    ...request,
    key: { ...request.key, fromDevice: `${request.key.fromDevice} to ${request.user}` },
  })),
  "rows are for the durable devices of the very moment": ({ messages, devices }, database) => ({
    messages: {
      hold: async (requests) => {
        const seen = firstSeen(database);
        const changed = requests.map(async (request) => {
          const now = (await devices.devices(request.user)).devices.map(({ device }) => device);
          const then = seen.get(request.user) ?? new Set(now);
          seen.set(request.user, then);
          const unknown = now.filter((device) => !then.has(device));
          return { ...request, exclude: [...request.exclude, ...unknown] };
        });
        return messages.hold(await Promise.all(changed));
      },
    },
  }),
  "excluded devices get no row": onHold((request) => ({ ...request, exclude: [] })),
  "L2: rows of devices it was sent to are redelivered": onHold((request) => ({
    ...request,
    sent: [],
  })),
  "L2: rows marked as sent are redelivered, and no others": ({ messages }) => ({
    messages: { markSent: () => messages.markSent([]) },
  }),
  "without a durable device the row is the user's, where asked for": onHold((request) => ({
    ...request,
    orUser: true,
  })),
  "the user's own rows are bounded too": withLimits({ heldPerDevice: 1_000 }),
  "a device at its bound gets no row and has missed it": withLimits({ heldPerDevice: 1_000 }),
  "full only where no durable device can take more": ({ messages }) => ({
    messages: {
      hold: async (requests) =>
        (await messages.hold(requests)).map((result) =>
          result.outcome === "held" && result.rows.length < result.setSize
            ? { outcome: "full" }
            : result,
        ),
    },
  }),
  "a settled row makes room": never,
  "a request that is none fails alone": ({ messages }) => {
    let isBroken = false;
    return {
      messages: {
        hold: async (requests) => {
          if (isBroken) throw new Error("broken by the one before");
          isBroken = requests.some(({ key }) => key.id.length !== 16);
          return messages.hold(requests);
        },
      },
    };
  },
  "pending: calls that ring first, then by lane and n": withWake((wake) => ({
    class: wake.class === "call" ? "message" : wake.class,
  })),
  "pending: calls that ring no longer, or have a lane, are in their places": () => ({
    wakes: { end: () => Promise.resolve() },
  }),
  "pending: outbox and recipient tell lanes apart": onHold((request) => ({
    ...request,
    outbox: 1,
  })),
  "pending: without a lane (n = 0) in the order held": (store) => {
    let n = 1_000;
    return onHold((request) => ({ ...request, n: request.n === 0 ? n-- : request.n }))(
      store,
      store,
    );
  },
  "pending gives at most what was asked for, from the front": ({ messages }) => ({
    messages: {
      pending: async (user, device, limit) =>
        (await messages.pending(user, device, 1_000)).slice(-limit),
    },
  }),
  "settled rows are gone, for everyone and at once, and only those": never,
  "a row's name is never used again": ({ messages }, database) => {
    // The rows of a message that is held again are known by the names that they had before.
    const names = lastRefs(database);
    return {
      messages: {
        hold: async (requests) => {
          const results = await messages.hold(requests);
          results.forEach((result, at) => {
            if (result.outcome !== "held") return;
            const name = String(requests[at]!.key.id);
            names.set(name, [...(names.get(name) ?? []), ...result.rows.map(({ row }) => row)]);
          });
          return results;
        },
        settle: (rows) =>
          messages.settle(
            rows.flatMap((row) => [...names.values()].find((all) => all.includes(row)) ?? [row]),
          ),
      },
    };
  },
  "L4: tail tells of everything held since, page by page": ({ messages }) => ({
    messages: {
      tail: async (since, limit) => {
        const { devices } = await messages.tail(since, limit);
        return { devices, now: (await messages.tail(Infinity, 1)).now };
      },
    },
  }),
  "L4: tail comes to rest, and does not tell of what is settled": ({ messages }) => ({
    messages: { tail: (_since, limit) => messages.tail(0, limit) },
  }),
  "L4: tail passes nothing over while two handles hold": ({ messages }) => ({
    messages: {
      tail: async (since, limit) => {
        const { devices, now } = await messages.tail(since, limit);
        return { devices, now: devices.length < limit ? now + 1 : now };
      },
    },
  }),
  "expire drops what is older by its id, and says that it is missed": ({ messages }) => ({
    messages: { expire: (before) => messages.expire(before + 1) },
  }),
  "a closed handle refuses, the others go on": () => ({
    messages: { close: () => Promise.resolve() },
  }),

  // Devices
  "a device is kept as it registered": ({ devices }) => ({
    devices: { arrive: (wanted) => devices.arrive({ ...wanted, protocols: ["ws"] }) },
  }),
  "what a device does not say again stays as it was": ({ devices }) => ({
    devices: {
      arrive: (wanted) => devices.arrive({ push: registration("none"), ...wanted }),
    },
  }),
  "the set's version rises by one with each change of the set, with a dormant device that is forgotten, and only then":
    ({ devices }) => ({
      devices: {
        arrive: async (wanted) => {
          if (wanted.durable) await devices.forget(wanted.user, wanted.device);
          return devices.arrive(wanted);
        },
      },
    }),
  "every answer tells the set as it is after the call": ({ devices }) => ({
    devices: {
      forget: async (user, device) => {
        const [before] = await devices.sets([user]);
        await devices.forget(user, device);
        return { setVersion: before!.setVersion, setSize: before!.setSize };
      },
    },
  }),
  "a session device only reads": ({ devices }) => ({
    devices: { arrive: (wanted) => devices.arrive({ ...wanted, durable: true }) },
  }),
  "the first durable device takes over what belonged to the user alone": stolenByAnother,
  "one device too many makes the one unseen longest dormant": withLimits({
    durableDevicesPerUser: 16,
  }),
  "a dormant device that returns is durable again, and learns what it missed": ({ devices }) => ({
    devices: { arrive: async (wanted) => ({ ...(await devices.arrive(wanted)), recovered: true }) },
  }),
  "retire: devices unseen for 30 days": withLimits({ dormantAfterMs: 30 * DAY + 1 }),
  "retire: devices away for 7 days whose push is gone": withLimits({
    goneDormantAfterMs: 7 * DAY + HOUR,
  }),
  "forget: the device, its rows and its intent are gone": ({ devices }) => ({
    devices: { forget: async (user) => (await devices.sets([user]))[0]! },
  }),
  "forget: its quiet is gone, too": ({ devices, wakes }) => ({
    devices: {
      forget: async (user, device) => {
        const set = await devices.forget(user, device);
        await devices.arrive(arrival(user, device));
        await wakes.quiet(user, device, "", Number.MAX_SAFE_INTEGER);
        return set;
      },
    },
  }),
  "unregister: nobody wakes the device, what is held for it stays": ({ devices }) => ({
    devices: { unregister: async (user, device) => void (await devices.forget(user, device)) },
  }),
  "a token belongs to the device that registered it last, of whichever user": ({ devices }) => {
    const own = (user: string, device: string, push: PushRegistration): PushRegistration => ({
      ...push,
      token: `${user}'s ${device}'s ${push.token}`,
    });
    return {
      devices: {
        arrive: (wanted) =>
          devices.arrive({
            ...wanted,
            ...(wanted.push && { push: own(wanted.user, wanted.device, wanted.push) }),
          }),
        register: (user, device, protocols, push) =>
          devices.register(user, device, protocols, own(user, device, push)),
        devices: async (user) => {
          const found = await devices.devices(user);
          return {
            ...found,
            devices: found.devices.map((one) =>
              one.push === undefined
                ? one
                : {
                    ...one,
                    push: { ...one.push, token: one.push.token.replace(/^.*'s /, "") },
                  },
            ),
          };
        },
      },
    };
  },
  "recovered is false until a WELCOME that said so was seen": ({ devices }) => ({
    devices: {
      arrive: (wanted) => devices.arrive({ ...wanted, lastEpoch: wanted.epoch }),
    },
  }),

  // Wake intents
  "M7: a hold makes one intent for each device with a new row": withWake(() => ({ server: "" })),
  "an intent falls due after its delay, and no earlier": withWake(() => ({ delay: 0 })),
  "class none makes no intent, and no repeat of one": withWake((wake) => ({
    class: wake.class === "none" ? "silent" : wake.class,
  })),
  "messages coalesce into the intent": ({ devices }, database) => {
    // One generation for all.
    const known = knownDevices(database);
    return {
      devices: {
        arrive: async (wanted) => {
          const result = await devices.arrive(wanted);
          known.add(wanted.device);
          return { ...result, generation: Math.min(1, result.generation) };
        },
      },
    };
  },
  "a coalesced intent speaks for the newest, and counts all": ({ wakes }) => ({
    wakes: {
      claim: async (...args) =>
        (await wakes.claim(...args)).map((intent) => ({ ...intent, activity: 1 })),
    },
  }),
  "a repeated hold changes no intent": onHold((request) => ({
    ...request,
    key: { ...request.key, id: newId() },
  })),
  "a message outranks what is silent": withWake(() => ({ class: "message" })),
  "a call has an intent of its own, due at once, beside that for messages": withWake(() => ({
    class: "message",
  })),
  "a call is due again every 8 s while it rings, and then it is a message, told of at once":
    withWake(() => ({ rings: 24_000 })),
  "a missed call does not wait for the turn of earlier messages": withWake((wake) => ({
    class: wake.class === "call" ? "message" : wake.class,
  })),
  "a call that has no time left to ring is a message": withWake(() => ({ rings: 1 })),
  "four calls ring at a device at a time; a further one is a message": ({ wakes }) => ({
    wakes: { claim: (owner, leaseMs) => wakes.claim(owner, leaseMs, 4) },
  }),
  "a call that the device has got rings no longer": never,
  "an end tells who was pushed to, once, and nobody else": ({ wakes }) => ({
    wakes: {
      claim: async (...args) =>
        (await wakes.claim(...args)).map((intent) => ({ ...intent, ended: false })),
    },
  }),
  "an end that comes while a push is under way is told after it": ({ wakes }) => ({
    wakes: {
      // The push is over before the end comes.
      claim: async (owner, leaseMs, limit) => {
        const intents = await wakes.claim(owner, leaseMs, limit);
        const over = intents.map((one) => ({ ...one, outcome: { kind: "sent" } as const }));
        await wakes.done(owner, over);
        return intents;
      },
    },
  }),
  "an end is told to who leaves while a push is under way": () => ({
    wakes: { done: () => Promise.resolve() },
  }),
  "L5: a push that rings cannot overtake that of the end, though the device comes or goes": ({
    wakes,
  }) => ({
    wakes: {
      // Nobody has a lease.
      claim: async (owner, leaseMs, limit) => {
        const intents = await wakes.claim(owner, leaseMs, limit);
        const outcome = { kind: "later", delay: 0 } as const;
        await wakes.done(
          owner,
          intents.map((one) => ({ ...one, outcome })),
        );
        return intents;
      },
    },
  }),
  "a call that is claimed as its device arrives rings only if it is left": secondArrivalReads,
  "an end is of a call between these two users": ({ wakes }) => ({
    wakes: {
      end: (endings) =>
        wakes.end(endings.map((ending) => ({ ...ending, between: ["ann", "bob"] }))),
    },
  }),
  "a call that has ended before it is held does not ring": onHold((request) =>
    request.wake.class === "call" ? { ...request, key: { ...request.key, id: newId() } } : request,
  ),
  "a hold ends a call, unless it is refused": onHold((request) => ({
    ...request,
    ends: new Uint8Array(),
  })),
  "a device that arrives hears of no end, and of a call again if it leaves it": secondArrivalReads,
  "calls to a user without a device ring at the first": stolenByAnother,
  "L5: a claim is exclusive until its lease ends, over all handles": ({ wakes }) => ({
    wakes: { claim: (owner, _leaseMs, limit) => wakes.claim(owner, 0, limit) },
  }),
  "the longest due are claimed first, and at most the limit": ({ wakes }) => ({
    wakes: { claim: (owner, leaseMs) => wakes.claim(owner, leaseMs, 1_000) },
  }),
  "only devices with a push registration are claimed": ({ devices }) => ({
    devices: {
      arrive: (wanted) => devices.arrive({ push: registration("none"), ...wanted }),
    },
  }),
  "L5: a claim passes over what it is told to, and takes what is behind it": ({ wakes }) => ({
    wakes: { claim: (owner, leaseMs, limit) => wakes.claim(owner, leaseMs, limit) },
  }),
  "sent: due again after 1 min, 10 min and 1 h, then no more until a new message": ({ wakes }) => ({
    wakes: {
      done: (owner, outcomes) =>
        wakes.done(
          owner,
          outcomes.map((done) => ({ ...done, outcome: { kind: "later", delay: 60_000 } })),
        ),
    },
  }),
  "later: due after the delay, not counted": ({ wakes }) => ({
    wakes: {
      done: (owner, outcomes) =>
        wakes.done(
          owner,
          outcomes.map((done) => ({ ...done, outcome: { kind: "sent" } })),
        ),
    },
  }),
  "gone: the registration is removed if it is still that one": ({ wakes, devices }) => ({
    wakes: {
      done: async (owner, outcomes) => {
        const changed = outcomes.map(async ({ user, device, call, outcome }) => {
          const known = (await devices.devices(user)).devices.find((one) => one.device === device);
          const token = known?.push?.token ?? "";
          return {
            user,
            device,
            call,
            outcome: outcome.kind === "gone" ? { ...outcome, token } : outcome,
          };
        });
        await wakes.done(owner, await Promise.all(changed));
      },
    },
  }),
  "done is ignored where the lease is another's by now": ({ wakes }) => ({
    wakes: {
      claim: (_owner, leaseMs, limit) => wakes.claim("everyone", leaseMs, limit),
      done: (_owner, outcomes) => wakes.done("everyone", outcomes),
    },
  }),
  "done is ignored where the device has arrived since": secondArrivalReads,
  "L5: a device that leaves rows behind is pushed at once, whatever was sent while it was here":
    () => ({ wakes: { leave: () => Promise.resolve() } }),
  "clear deletes the intent of that generation, without rows": ({ wakes }) => ({
    wakes: {
      clear: async (user, device) => wakes.clear(user, device, await wakes.clear(user, device, -1)),
    },
  }),
  "a generation is not used again": ({ devices }) => ({
    devices: {
      arrive: async (wanted) => {
        const result = await devices.arrive(wanted);
        return { ...result, generation: Math.min(1, result.generation) };
      },
    },
  }),
  "L5: an intent that outlived its rows does not swallow the next message": ({ messages }) => ({
    messages: {
      // The rows go, the intent thinks that one is left.
      settle: async (rows) => {
        await messages.markSent(rows);
      },
    },
  }),
  "claim deletes an intent without rows": ({ wakes }, database) => {
    const last = lastClaimed(database);
    return {
      wakes: {
        claim: async (...args) => {
          const intents = await wakes.claim(...args);
          last.devices = intents.map(({ user }) => user);
          return intents;
        },
        clear: async (user, device, generation) =>
          (await wakes.clear(user, device, generation)) ||
          (last.devices.length > 0 && !last.devices.includes(user) ? 1 : 0),
      },
    };
  },
  "an arrival puts the push off for 10 s, and its attempts start anew": secondArrivalReads,
  "M8: an arrival tells once what was pushed for it, by whichever server": ({ devices }) => ({
    devices: { arrive: async (wanted) => ({ ...(await devices.arrive(wanted)), wake: undefined }) },
  }),
  "M8: an arrival tells of a push that may be under way": ({ devices }) => ({
    devices: { arrive: async (wanted) => ({ ...(await devices.arrive(wanted)), wake: undefined }) },
  }),
  "a hold says how many intents took the message on beside others": ({ messages }) => ({
    messages: {
      hold: async (requests) =>
        (await messages.hold(requests)).map((result) =>
          result.outcome === "held" ? { ...result, coalesced: result.rows.length } : result,
        ),
    },
  }),
  "a session device's arrival changes no intent": ({ devices }) => ({
    devices: { arrive: (wanted) => devices.arrive({ ...wanted, durable: true }) },
  }),
  "rows that a device adopts bring an intent": stolenByAnother,
  "M7: a device that registers away from a connection is woken for what it adopts": stolenByAnother,
  "nextDue is the time until something can be claimed": ({ wakes }) => ({
    wakes: { nextDue: async () => ((await wakes.nextDue()) === undefined ? undefined : 1) },
  }),
  "a device that became dormant is not woken": withLimits({ dormantAfterMs: 31 * DAY }),

  // Quiet
  "a quiet conversation wakes none of the user's devices, and is held as ever": muteless,
  "what is held for a user without a device is quiet, too": muteless,
  "a call rings in a quiet conversation": withWake((wake) => ({
    class: wake.class === "call" ? "message" : wake.class,
  })),
  "a conversation's quiet ends by its time or by a word, and what came meanwhile is not pushed": ({
    wakes,
  }) => ({
    wakes: {
      quiet: (user, device, conversation, until) =>
        wakes.quiet(user, device, conversation, until === 0 ? START + DAY : until),
    },
  }),
  "an intent that is the quiet conversation's alone is not pushed again": muteless,
  "a user has 1,000 quiet conversations: the one that ends first is forgotten": ({ wakes }) => ({
    wakes: {
      quiet: async (user, device, conversation, until) =>
        conversation === "one more" || wakes.quiet(user, device, conversation, until),
    },
  }),
  "a quiet device is not pushed to, nor rung; at the end it is woken once": ({ wakes }) => ({
    wakes: {
      quiet: async (user, device, conversation, until) => {
        const isKnown = await wakes.quiet(user, device, conversation, until);
        await wakes.quiet(user, device, conversation, 0);
        return isKnown;
      },
    },
  }),
  "what a device's quiet has kept is due when it is lifted, or ends sooner": ({ wakes }) => ({
    wakes: {
      quiet: async (user, device, conversation, until) =>
        until === 0 || wakes.quiet(user, device, conversation, until),
    },
  }),
  "an arrival does not end the device's quiet": ({ devices, wakes }) => ({
    devices: {
      arrive: async (wanted) => {
        await wakes.quiet(wanted.user, wanted.device, "", 0);
        return devices.arrive(wanted);
      },
    },
  }),

  // Ties
  "what one handle adds to a pair both users have, at the other handle": ({ associates }) => ({
    associates: {
      circle: async (user, k, now) => (user === "bob" ? [] : associates.circle(user, k, now)),
    },
  }),
  "a later change is added to what has decayed until then": onTies((changes) =>
    changes.map((change) => ({ ...change, at: START })),
  ),
  "it does not matter whose change comes first": lateIsNow,
  "changes of one pair in one call, and those of many calls, all count": onTies((changes) => [
    ...new Map(changes.map((change) => [`${change.a} ${change.b}`, change])).values(),
  ]),
  "a batch of many changes is added to the last one": onTies((changes) => changes.slice(0, 1_000)),
  "the strongest come first, by what they weigh then": ({ associates }) => ({
    associates: { circle: (user, k) => associates.circle(user, k, START) },
  }),
  "a time that is not reached, or long past, harms no tie": onTies((changes) =>
    changes.map((change) => ({ ...change, at: Math.max(START, change.at) })),
  ),
  "L10: of more than 96 ties of a user all but the 64 strongest are dropped": onTies((changes) =>
    changes.map((change) => ({ ...change, long: change.long + (changes.length === 33 ? 3 : 0) })),
  ),
  "a tie that has decayed to nothing is dropped, and no other": ({ associates }) => ({
    associates: { fade: (after, now) => associates.fade(after, now + 400 * DAY) },
  }),
  "L10: what has decayed is looked for slice by slice": ({ associates }) => ({
    associates: {
      fade: async (after, now) => {
        for (let next = after; ;) {
          next = await associates.fade(next, now);
          if (next === "") return next;
        }
      },
    },
  }),
  "nothing that names an erased user is left, however many knew it": ({ associates }) => ({
    associates: {
      erase: async (user) => {
        await associates.erase(user);
        await associates.strengthen([{ a: user, b: "u02250", long: 0.1, short: 0.1, at: START }]);
      },
    },
  }),
  "M13: a tie tells which server a push to its peer names": ({ associates }) => ({
    associates: {
      circle: async (...args) =>
        (await associates.circle(...args)).map(({ peer, long, short, at }) => ({
          peer,
          long,
          short,
          at,
        })),
    },
  }),
  "M13: a push that led to a connection, or named nobody, names no server": ({ devices }) => ({
    devices: { arrive: (wanted) => devices.arrive({ ...wanted, durable: wanted.epoch === 1 }) },
  }),
  "M13: of several devices, and of calls, the newest push counts": ({ wakes }) => ({
    wakes: {
      done: (owner, outcomes) =>
        wakes.done(
          owner,
          outcomes.map((one) =>
            one.call === "" ? one : { ...one, outcome: { kind: "later", delay: 0 } as const },
          ),
        ),
    },
  }),
};

async function open(limits: StoreLimits, fault: Fault): Promise<StoreHarness> {
  const clock = steppedClock();
  const database = createMemoryDatabase(clock, limits);
  const handles = [database.open(), database.open()];
  const [a, b] = handles.map((handle) => broken(handle, fault(handle, database))) as [Store, Store];
  return {
    a,
    b,
    now: () => clock.now(),
    advance: (ms) => clock.advance(ms),
    close: async () => {
      await Promise.all(handles.map((handle) => handle.messages.close()));
    },
  };
}

function broken({ messages, devices, wakes, associates }: Store, parts: Parts): Store {
  return {
    messages: { ...messages, ...parts.messages },
    devices: { ...devices, ...parts.devices },
    wakes: { ...wakes, ...parts.wakes },
    associates: { ...associates, ...parts.associates },
  };
}

const laws = new Map<string, () => Promise<void>>();
storeSuite(
  (name, run) => laws.set(name, run),
  (limits) => {
    const fault = FAULTS[current] ?? (() => ({}));
    return "limits" in fault ? open(fault.limits, () => ({})) : open(limits, fault);
  },
);
let current = "";

test("every law has a fault that breaks it", () => {
  expect(Object.keys(FAULTS)).toEqual([...laws.keys()]);
});

for (const [name, run] of laws) {
  test(`the suite notices where this does not hold: ${name}`, async () => {
    current = name;
    expect(await outcomeOf(run)).toBe("failed");
    current = "";
    expect(await outcomeOf(run)).toBe("passed");
  });
}

async function outcomeOf(run: () => Promise<void>): Promise<"passed" | "failed"> {
  try {
    await run();
    return "passed";
  } catch {
    return "failed";
  }
}
