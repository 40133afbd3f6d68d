import type { ServerChange } from "./change.ts";
import type { Protocol } from "./cluster.ts";
import type { Point } from "./history.ts";
import type { Verdict } from "./ledger.ts";
import type { Mode } from "./people.ts";

/** What places devices: nothing; wakes that name the sender's server; that and where a device connects; that and moves while it is connected. */
export const POLICIES = ["random", "wake", "place", "move"] as const;
export type Policy = (typeof POLICIES)[number];
/** What a redirect or a move has to bring. */
export type Gain = "cost" | "locality" | number;

/** What `--json` prints. The counts of the ledger mean what {@link Verdict} says. */
export interface Result extends Omit<Verdict, "problems"> {
  readonly trace: string;
  readonly servers: number;
  /** The servers were processes of their own, on NATS and PostgreSQL. */
  readonly processes: boolean;
  readonly users: number;
  readonly devicesPerUser: number;
  readonly policy: Policy;
  readonly gain: Gain;
  readonly cap: number;
  readonly mode: Mode;
  /** Of the servers, in the middle of the trace. */
  readonly changes: readonly ServerChange[];
  readonly inFlight: number;
  /** Seconds between two kills; 0: none. */
  readonly chaos: number;
  readonly seed: number;
  /** SENDs that the SDK gave up. */
  readonly refused: number;
  /** Pushes that reached a device. */
  readonly pushes: number;
  /** This and redirects: for 1,000 messages, as devices saw them. */
  readonly moves: number;
  readonly redirects: number;
  /** Devices of the fullest server by the mean, each 10 minutes of the trace. */
  readonly imbalanceP95: number;
  readonly imbalanceMax: number;
  /** For a message, with all that comes with it: CPU, ms, and whose. */
  readonly cpuMs: number;
  readonly cpuOf: "servers" | "servers and devices";
  /** For a message: what all servers together heard over the bus. */
  readonly busBytes: number;
  readonly history: readonly Point[];
  /** Connections after the registration of all devices. */
  readonly connects: number;
  readonly connectsByServer: Readonly<Record<string, number>>;
  /** The same, by how the device was connected. */
  readonly connectsByProtocol: Readonly<Record<Protocol, number>>;
  /** Most SENDs without an ACK at one time. */
  readonly peakInFlight: number;
  /** DELIVERs that a device had seen before, whether or not the SDK held them back. */
  readonly wireDuplicates: number;
  readonly kills: number;
  readonly drains: number;
  /** Servers that ended though nobody had killed them. */
  readonly crashes: number;
  /** From the first message to the last hand-over. */
  readonly seconds: number;
  /** What the servers counted: local and remote deliveries. */
  readonly counted: { readonly local: number; readonly remote: number };
  readonly ok: boolean;
  /** What went wrong, in words: the first of it. */
  readonly problems: readonly string[];
}

/** Counts that are zero in a run in which all went well. */
const FAULTS = [
  "refused",
  "lost",
  "duplicated",
  "reordered",
  "gaps",
  "late",
  "unpushed",
  "misdelivered",
  "crashes",
] as const satisfies readonly (keyof Result)[];

type Judged = Omit<Result, "ok" | "problems">;

/** `details`: what is known of faults in words, which by itself is none. */
export function judge(counts: Judged, details: readonly string[]): Result {
  const found: string[] = FAULTS.filter((fault) => counts[fault] > 0).map(
    (fault) => `${fault}: ${counts[fault]}`,
  );
  const { messages, acked, delivered } = counts;
  if (acked !== messages) found.push(`${messages - acked} messages were not acknowledged`);
  if (delivered !== acked) found.push(`${delivered} delivered, but ${acked} acknowledged`);
  if (counts.chaos > 0 && counts.kills === 0) {
    const took = counts.seconds.toFixed(1);
    const advice = `ask for more messages, or for less than ${counts.chaos} s between kills`;
    found.push(`no server was killed, as the trace was over after ${took} s: ${advice}`);
  }
  const disagreement = disagreementOf(counts);
  if (disagreement !== undefined) found.push(disagreement);
  return { ...counts, ok: found.length === 0, problems: [...found, ...details] };
}

/**
 * The servers have to count what the devices saw. They count an acknowledgement; one that was under way when a server died or a device
 * went away is counted at the repeat, or never.
 */
function disagreementOf(counts: Judged): string | undefined {
  const { local, remote, counted, wireDuplicates, kills, inFlight } = counts;
  const allowed = wireDuplicates + kills * inFlight * counts.devicesPerUser;
  const off = Math.max(Math.abs(counted.local - local), Math.abs(counted.remote - remote));
  if (off <= allowed) return undefined;
  const servers = `${counted.local} local and ${counted.remote} remote`;
  return `the servers counted ${servers}, the devices saw ${local} and ${remote}`;
}
