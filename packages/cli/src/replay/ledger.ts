/**
 * Keeps account of a replay from what people's devices saw, and of nothing else: what was taken, acknowledged and handed over, and
 * who was reachable meanwhile. It knows neither servers nor the SDK; the verdict follows from the entries alone.
 *
 * Messages are numbered from 0 in the order in which they were taken. User `u` has the devices `u * devicesPerUser` and on; the
 * first of them sends.
 */

/** L4: how long a held message may take to a device that is online. */
export const LATE_MS = 5_000;
/**
 * L5: how long a device may sleep beside what is held for it before a push counts as forgotten. One that was pushed while it was
 * connected, and left without its messages, is pushed again after a minute.
 */
export const UNPUSHED_MS = 70_000;
/** Problems that are described; all are counted. */
const DESCRIBED = 20;

export interface HandOver {
  readonly message: number;
  readonly device: number;
  /** Milliseconds, by a clock that never goes back; so are all times here. */
  readonly at: number;
  /** The server of the connection that it came over. */
  readonly server: string;
  readonly held: boolean;
  readonly gap: boolean;
}

export interface Verdict {
  readonly messages: number;
  readonly acked: number;
  /** Messages that every device of the recipient had been handed before the last call. */
  readonly delivered: number;
  /** Hand-overs that did not happen, by devices that were awake or had been pushed; after the last call by any. */
  readonly lost: number;
  readonly duplicated: number;
  readonly reordered: number;
  /** Handed over with the remark that something before it is missing. */
  readonly gaps: number;
  readonly late: number;
  readonly unpushed: number;
  /** Hand-overs by the server that acknowledged the message to its sender. */
  readonly local: number;
  readonly remote: number;
  /** Hand-overs from the store to a device that a push had woken; part of the two before. */
  readonly woke: number;
  /** Hand-overs of what a user sent to that user's other devices. */
  readonly copies: number;
  /** Hand-overs at devices of somebody else. */
  readonly misdelivered: number;
  readonly locality: number;
  /** The first of what went wrong, in words. */
  readonly problems: readonly string[];
}

interface Message {
  readonly from: number;
  readonly to: number;
  ackedAt: number | undefined;
  server: string | undefined;
  /** Hand-overs by server, until the ACK tells which of them were local. */
  handed: string[];
}

interface Device {
  asleepSince: number | undefined;
  onlineSince: number | undefined;
  /** Since it fell asleep. */
  pushed: boolean;
  /** Its being awake is due to a push. */
  woken: boolean;
  /** Taken and not handed over; true: reported as late or unpushed. */
  readonly owed: Map<number, boolean>;
  /** By lane, the highest number handed over. */
  readonly highest: Map<string, number>;
}

export class Ledger {
  readonly #devicesPerUser: number;
  readonly #devices: Device[];
  readonly #messages: Message[] = [];
  /** `message * devices + device`. */
  readonly #handed = new Set<number>();
  readonly #lost = new Set<number>();
  readonly #problems: string[] = [];
  #acked = 0;
  #delivered = 0;
  #duplicated = 0;
  #reordered = 0;
  #gaps = 0;
  #late = 0;
  #unpushed = 0;
  #local = 0;
  #remote = 0;
  #woke = 0;
  #copies = 0;
  #misdelivered = 0;
  #outstanding = 0;
  #handOvers = 0;
  #lastCall = false;

  /** All devices are asleep at the beginning. */
  constructor(users: number, devicesPerUser = 1) {
    this.#devicesPerUser = devicesPerUser;
    this.#devices = Array.from({ length: users * devicesPerUser }, () => ({
      asleepSince: 0,
      onlineSince: undefined,
      pushed: false,
      woken: false,
      owed: new Map(),
      highest: new Map(),
    }));
  }

  /** The answer is the message's number. */
  taken(from: number, to: number): number {
    const message = this.#messages.length;
    this.#messages.push({ from, to, ackedAt: undefined, server: undefined, handed: [] });
    for (const device of this.#devicesOf(to)) {
      this.#devices[device]!.owed.set(message, false);
      this.#outstanding++;
    }
    return message;
  }

  /** The sender's device has seen the ACK, of `server`. */
  acked(message: number, at: number, server: string): void {
    const entry = this.#messages[message]!;
    if (entry.ackedAt !== undefined) return;
    entry.ackedAt = at;
    entry.server = server;
    this.#acked++;
    for (const by of entry.handed) this.#countLocality(entry, by);
    entry.handed = [];
  }

  awake(device: number, at: number, byPush: boolean): void {
    const entry = this.#devices[device]!;
    this.#findUnpushed(device, at);
    entry.asleepSince = undefined;
    entry.woken = byPush;
  }

  asleep(device: number, at: number): void {
    const entry = this.#devices[device]!;
    this.offline(device, at);
    entry.asleepSince = at;
    entry.pushed = false;
    entry.woken = false;
  }

  online(device: number, at: number): void {
    this.#devices[device]!.onlineSince = at;
  }

  offline(device: number, at: number): void {
    this.#findLate(device, at);
    this.#devices[device]!.onlineSince = undefined;
  }

  pushed(device: number): void {
    this.#devices[device]!.pushed = true;
  }

  handedOver({ message, device, at, server, held, gap }: HandOver): void {
    const { from, to, ...entry } = this.#messages[message]!;
    const receiver = this.#devices[device]!;
    const where = this.#describe(message, device);

    const key = message * this.#devices.length + device;
    if (this.#handed.has(key)) {
      this.#duplicated++;
      this.#report(`${where} was handed over twice`);
      return;
    }
    this.#handed.add(key);
    if (gap) {
      this.#gaps++;
      this.#report(`${where} was handed over with a gap before it`);
    }
    const lane = `${from}>${to}`;
    const highest = receiver.highest.get(lane) ?? -1;
    if (message < highest) {
      this.#reordered++;
      this.#report(`${where} was handed over after message ${highest} of the same lane`);
    }
    receiver.highest.set(lane, Math.max(highest, message));

    if (!this.#isOf(device, to)) {
      if (this.#isOf(device, from)) {
        this.#copies++;
      } else {
        this.#misdelivered++;
        this.#report(`${where} was handed over to neither its recipient nor its sender`);
      }
      return;
    }
    const isReported = receiver.owed.get(message) ?? false;
    const since = this.#readySince(message, receiver);
    if (!isReported && since !== undefined && at - since > LATE_MS)
      this.#countLate(message, device);
    if (receiver.owed.delete(message)) this.#outstanding--;
    this.#handOvers++;
    if (held && receiver.woken) this.#woke++;
    const stored = this.#messages[message]!;
    if (entry.ackedAt === undefined) stored.handed.push(server);
    else this.#countLocality(stored, server);
    const isComplete = this.#devicesOf(to).every(
      (other) => !this.#devices[other]!.owed.has(message),
    );
    if (isComplete && !this.#lastCall) this.#delivered++;
  }

  /** Whether anything that was taken has not been handed over to the device. */
  isOwed(device: number): boolean {
    return this.#devices[device]!.owed.size > 0;
  }

  /** Deliveries so far. */
  get local(): number {
    return this.#local;
  }

  get remote(): number {
    return this.#remote;
  }

  /** Whether every device of the recipient has it. */
  isComplete(message: number): boolean {
    const { to } = this.#messages[message]!;
    return this.#devicesOf(to).every((device) => !this.#devices[device]!.owed.has(message));
  }

  /** Hand-overs of taken messages that have not happened yet. */
  get outstanding(): number {
    return this.#outstanding;
  }

  /** To devices of the recipients. */
  get handOvers(): number {
    return this.#handOvers;
  }

  isFrom(message: number, user: number): boolean {
    return this.#messages[message]!.from === user;
  }

  /** Devices that something is still owed. */
  waiting(): number[] {
    return [...this.#devices.keys()].filter((device) => this.#devices[device]!.owed.size > 0);
  }

  /** So far. */
  get locality(): number {
    return share(this.#local, this.#remote);
  }

  /** To be called when everything had its time, before anything is woken a last time. */
  lastCall(at: number): void {
    this.#lastCall = true;
    for (const [device, entry] of this.#devices.entries()) {
      this.#findLate(device, at);
      this.#findUnpushed(device, Infinity);
      if (entry.asleepSince === undefined || entry.pushed) this.#findLost(device);
    }
  }

  /** To be called at the end, when every device has been awake after the last call. */
  verdict(): Verdict {
    for (const device of this.#devices.keys()) this.#findLost(device);
    return {
      messages: this.#messages.length,
      acked: this.#acked,
      delivered: this.#delivered,
      lost: this.#lost.size,
      duplicated: this.#duplicated,
      reordered: this.#reordered,
      gaps: this.#gaps,
      late: this.#late,
      unpushed: this.#unpushed,
      local: this.#local,
      remote: this.#remote,
      woke: this.#woke,
      copies: this.#copies,
      misdelivered: this.#misdelivered,
      locality: this.locality,
      problems: this.#problems,
    };
  }

  #devicesOf(user: number): number[] {
    const count = this.#devicesPerUser;
    return Array.from({ length: count }, (_, nth) => user * count + nth);
  }

  #isOf(device: number, user: number): boolean {
    return Math.floor(device / this.#devicesPerUser) === user;
  }

  /** When both became true: acknowledged, and the device online. Undefined: not both are. */
  #readySince(message: number, { onlineSince }: Device): number | undefined {
    const { ackedAt } = this.#messages[message]!;
    if (ackedAt === undefined || onlineSince === undefined) return undefined;
    return Math.max(ackedAt, onlineSince);
  }

  #findLate(device: number, at: number): void {
    const entry = this.#devices[device]!;
    for (const [message, isReported] of entry.owed) {
      const since = this.#readySince(message, entry);
      if (!isReported && since !== undefined && at - since > LATE_MS) {
        this.#countLate(message, device);
      }
    }
  }

  #countLate(message: number, device: number): void {
    this.#late++;
    this.#devices[device]!.owed.set(message, true);
    this.#report(`${this.#describe(message, device)} took more than ${LATE_MS / 1000} s`);
  }

  #findUnpushed(device: number, at: number): void {
    const entry = this.#devices[device]!;
    if (entry.asleepSince === undefined || entry.pushed) return;
    for (const [message, isReported] of entry.owed) {
      const { ackedAt } = this.#messages[message]!;
      if (isReported || ackedAt === undefined) continue;
      if (at - Math.max(ackedAt, entry.asleepSince) <= UNPUSHED_MS) continue;
      this.#unpushed++;
      entry.owed.set(message, true);
      this.#report(`${this.#describe(message, device)} lay there without a push`);
    }
  }

  #findLost(device: number): void {
    for (const message of this.#devices[device]!.owed.keys()) {
      const key = message * this.#devices.length + device;
      if (this.#messages[message]!.ackedAt === undefined || this.#lost.has(key)) continue;
      this.#lost.add(key);
      this.#report(`${this.#describe(message, device)} was never handed over`);
    }
  }

  #countLocality(message: Message, by: string): void {
    if (message.server === by) this.#local++;
    else this.#remote++;
  }

  #describe(message: number, device: number): string {
    const { from, to } = this.#messages[message]!;
    return `message ${message} from user ${from} to user ${to}, at device ${device},`;
  }

  #report(problem: string): void {
    if (this.#problems.length < DESCRIBED) this.#problems.push(problem);
  }
}

function share(part: number, rest: number): number {
  return part + rest === 0 ? 0 : part / (part + rest);
}
