/** The settings of the policy, and what they follow from. */
import type { Rule } from "./policy.ts";
import { MESSAGE_WEIGHT } from "../store/weight.ts";

/** CPU that something costs all servers together, in µs; phones and wires come on top. */
export interface Prices {
  /** A message crosses from one server to another, acknowledgement included. */
  readonly hop: number;
  /** A connect that is told to go elsewhere. */
  readonly redirect: number;
  /** A connect, its entry in all session tables, one read of the store, and the end of the connection before. */
  readonly move: number;
}

/**
 * As measured on one machine. A hop: a message through two nodes of NATS, 47, less one through a bare relay, 9. A redirect: the upgrade to a
 * WebSocket, 47, and a HELLO with a ticket. A move: a connect at twice that, 94; a read of PostgreSQL, 98; a message over the bus, 40, and an
 * entry in the tables of 16 servers at 1 each.
 */
export const PRICES: Prices = { hop: 40, redirect: 60, move: 250 };

/**
 * By how much weight a server has to be better for the last redirect, or the last move, to save one hop: where replays of the first
 * halves of two traces, and of made-up communities, cost least.
 */
const WEIGHT_OF_HOP = { redirect: 15, move: 35 };

/** `cost`: a redirect or a move pays for itself. `locality`: for those whose hop is dear. A number: the gain of a move itself. */
export type Gain = "cost" | "locality" | number;

const LOCALITY = { redirectGain: 2, moveGain: 14 };

export function ruleOf(gain: Gain, cap: number = 1.1, prices: Prices = PRICES): Rule {
  return {
    cap,
    least: 10,
    busy: 0.7,
    pressure: 1.3,
    steepness: 5.5,
    intent: MESSAGE_WEIGHT,
    restMs: 600_000,
    ...gains(gain, prices),
  };
}

function gains(
  gain: Gain,
  { hop, redirect, move }: Prices,
): Pick<Rule, "redirectGain" | "moveGain"> {
  if (gain === "locality") return LOCALITY;
  if (gain === "cost") {
    return {
      redirectGain: (WEIGHT_OF_HOP.redirect * redirect) / hop,
      moveGain: (WEIGHT_OF_HOP.move * move) / hop,
    };
  }
  return { redirectGain: Math.min(gain, LOCALITY.redirectGain), moveGain: gain };
}
