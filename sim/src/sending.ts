/** What fails while a device goes from the server that has told it to, to the one that was named. */
import type { Happening } from "./history.ts";
import type { Step } from "./plan.ts";

export type FailStep = Extract<Step, { readonly do: "fail a sending" }>;
export type Told = Extract<Happening, { readonly kind: "told" }>;
export type SendingFailure = FailStep["what"];

/** What there is to fail. */
interface Going {
  readonly device: string;
  readonly here: string;
  readonly there: string;
  readonly ms: number;
  readonly says: "reset" | "nothing";
}

const FAILURES: Record<SendingFailure, (going: Going) => Step[]> = {
  "the server there dies": ({ there, ms, says }) => crash(there, ms, says),
  "the server here dies": ({ here, ms, says }) => crash(here, ms, says),
  "the server there stalls": ({ there, ms }) => [{ do: "stall", at: 0, server: there, ms }],
  "the server here stalls": ({ here, ms }) => [{ do: "stall", at: 0, server: here, ms }],
  "the bus there is away": ({ there, ms }) => cutBus(there, ms),
  "the bus here is away": ({ here, ms }) => cutBus(here, ms),
  "the store there is away": ({ there, ms }) => [
    { do: "cut store", at: 0, server: there },
    { do: "restore store", at: ms, server: there },
  ],
  "the way there is blocked": ({ device, there, ms }) => [
    { do: "block", at: 0, device, server: there, ms },
  ],
  "the connection is lost": ({ device, says }) => [
    { do: says === "reset" ? "reset" : "break", at: 0, device },
  ],
  "the connection is slow": ({ device }) => [{ do: "slow", at: 0, device }],
  "the device dies": ({ device, ms, says }) => [
    { do: "kill", at: 0, device, says },
    { do: "start", at: ms, device, storage: "kept" },
  ],
  "the device sleeps": ({ device, ms, says }) => [
    { do: "suspend", at: 0, device, says },
    { do: "start", at: ms, device, storage: "kept" },
  ],
  "the device is in the background": ({ device, ms }) => [
    { do: "background", at: 0, device, value: true },
    { do: "background", at: ms, device, value: false },
  ],
};

export const SENDING_FAILURES: readonly SendingFailure[] = Object.keys(
  FAILURES,
) as SendingFailure[];

/** In steps, from now on. */
export function failureOf({ what, ms, says }: FailStep, { server, device, to }: Told): Step[] {
  return FAILURES[what]({ device, here: server, there: to[0] ?? server, ms, says });
}

function crash(server: string, ms: number, says: Going["says"]): Step[] {
  return [
    { do: "crash", at: 0, server, says },
    { do: "launch", at: ms, server },
  ];
}

function cutBus(server: string, ms: number): Step[] {
  return [
    { do: "cut bus", at: 0, server, detectMs: Math.min(ms, 1_000) },
    { do: "restore bus", at: ms, server },
  ];
}
