/** A server that is being emptied sends each device where its associates are (B3). */
import type { Millis } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import type { Associates } from "./associates.ts";
import { type Departure, type ExodusInput, exodusOf } from "./exodus.ts";
import type { Placement, Whereabouts } from "./placement.ts";
import { NOWHERE, type Rule } from "./policy.ts";

export interface EmptyingParts {
  /** Name of this server. */
  readonly server: string;
  readonly clock: Clock;
  readonly placement: Placement;
  readonly table: Whereabouts;
  readonly associates: Associates;
  readonly rule: Rule;
  readonly random: () => number;
  /** Whether the server still takes devices. */
  readonly isOpen: (server: string) => boolean;
}

export interface Emptying {
  /** In the order in which they are to leave. */
  readonly users: Iterable<string>;
  /** The device is told to go now: to the server that is answered, where a seat is kept for it. Undefined: there is no place for it, or none was found in time. */
  send(user: string, device: string): string | undefined;
}

/** The event loop is given back after so long; until all are planned for, devices are served in between. */
const SLICE_MS = 10;
/** Steps between two looks at the clock. */
const STEPS = 64;

/** `devices`: of each user, how many are connected here. Who is not planned for within `most` ms leaves last, for anywhere: the pace needs its time. */
export async function planEmptying(
  devices: ReadonlyMap<string, number>,
  most: Millis,
  parts: EmptyingParts,
): Promise<Emptying> {
  const { clock, placement, server, isOpen } = parts;
  const view = placement.view();
  const departures = new Map<string, Departure>();
  let steps = 0;
  let began = clock.monotonic();
  const end = began + most;
  for (const departure of exodusOf([...devices.keys()], inputOf(devices, parts, view))) {
    if (departure !== undefined) departures.set(departure.user, departure);
    if (++steps % STEPS !== 0) continue;
    const now = clock.monotonic();
    if (now >= end) break;
    if (now - began < SLICE_MS) continue;
    await new Promise<void>((resolve) => void clock.after(0, resolve));
    began = clock.monotonic();
  }
  return {
    users: new Set([...departures.keys(), ...devices.keys()]),
    send(user, device) {
      const departure = departures.get(user);
      if (departure === undefined || departure.to === NOWHERE) return undefined;
      const { to, here, there } = departure;
      const { name } = view.places[to]!;
      if (!isOpen(name)) return undefined;
      placement.send(user, device, {
        kind: "drain",
        why: there > 0 ? "attraction" : "room",
        from: server,
        to: name,
        attraction: { here, there },
        gain: there - here,
      });
      return name;
    },
  };
}

function inputOf(
  devices: ReadonlyMap<string, number>,
  { table, associates, rule, random }: EmptyingParts,
  { places, index, here }: ReturnType<Placement["view"]>,
): ExodusInput {
  return {
    places,
    here,
    rule,
    random,
    each: (user, visit) => associates.each(user, visit),
    placeOf: (user) => index.get(table.lookup(user)[0]?.server ?? "") ?? NOWHERE,
    devicesOf: (user) => devices.get(user) ?? 1,
  };
}
