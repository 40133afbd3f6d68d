/** Lines for the terminal: one for each thing that happens, also where several events make one thing. */
import type { DayRun, DayView, DeviceView, PhoneReport } from "@beckon/console/stage";

import type { Happening } from "./happening.ts";
import type { Paint } from "./paint.ts";

export interface NarratorParts {
  readonly line: (text: string) => void;
  readonly paint: Paint;
  /** Runs `task` after `ms`; the answer cancels it. */
  readonly after: (ms: number, task: () => void) => () => void;
  readonly isConnected: (user: string) => boolean;
}

/** How long an event waits for those that belong to it, ms. */
const TOGETHER_MS = 250;
/** While the phones go from hand to hand their coming and going is not told, ms. */
const HANDOVER_MS = 2_500;
/** Lines that wait at most; one more is written at once. */
const WAITING = 200;

/** A line that waits for what belongs to it. */
interface Pending {
  cancel: () => void;
  write: () => void;
}

interface Waking {
  report: Extract<PhoneReport, { kind: "woke" }> | undefined;
  /** Where what was delivered had been accepted. */
  readonly accepted: string[];
  server: string;
  froms: Set<string>;
}

export class Narrator {
  readonly #parts: NarratorParts;
  readonly #pending = new Map<string, Pending>();
  /** By recipient: who waits to be told of together with the push. */
  readonly #held = new Map<string, { from: string; to: string; text: string }>();
  readonly #wakings = new Map<string, Waking>();
  readonly #places = new Map<string, string>();
  /** Servers that were killed: that their devices have left them goes without saying. */
  readonly #down = new Set<string>();
  #isHandover = false;
  #cancelHandover: () => void = () => undefined;
  #wasRunning = false;

  constructor(parts: NarratorParts) {
    this.#parts = parts;
  }

  /** Where everybody is already. */
  begin(devices: readonly DeviceView[]): void {
    for (const { user, device, last } of devices) {
      if (last !== undefined) this.#places.set(`${user}/${device}`, last);
    }
  }

  /** All that waits is written. */
  flush(): void {
    for (const key of this.#pending.keys()) this.#write(key);
  }

  tell(event: Happening): void {
    const { line, paint } = this.#parts;
    switch (event.type) {
      case "held":
        this.#heldLine(event.from, event.to, event.ms);
        return;
      case "pushed":
        this.#pushed(event.user, paint.server(event.names));
        return;
      case "delivered":
        if (event.stored) this.#fromStore(event);
        else this.#live(event.from, event.to, event.accepted, event.server);
        return;
      case "device":
        this.#moved(event);
        return;
      case "report":
        this.#report(event.report);
        return;
      case "wakes":
        line(
          event.wakes === "sender"
            ? "pushes name the sender's server"
            : "pushes name the server with the fewest devices, as a load balancer would",
        );
        return;
      case "faults":
        line(
          `wrong on purpose: ${event.faults.length === 0 ? "nothing" : event.faults.join(", ")}`,
        );
        return;
      case "trouble":
        line(paint.bad(event.text));
        return;
      case "recovered":
        line(event.text);
        return;
      case "killed":
        this.#down.add(event.server);
        line(
          `${paint.server(event.server)}  killed, as by kill -9: sockets are reset, and nobody hears a last word`,
        );
        return;
      case "started":
        this.#down.delete(event.server);
        line(`${paint.server(event.server)}  started again`);
        return;
      case "phones":
        this.#handover();
        line(
          event.where === "page"
            ? "the page brings the phones from now on"
            : "the page has gone: the phones are here again",
        );
        return;
      case "day":
        this.#day(event);
        return;
      default:
    }
  }

  // ── Held, and pushed ──────────────────────────────────────────────────────────────────────────

  #heldLine(from: string, to: string, ms: number): void {
    const key = `held ${to}`;
    this.#write(key);
    this.#write(`woke ${from}`);
    const where = this.#parts.isConnected(to) ? "" : "asleep: ";
    this.#held.set(to, { from, to, text: `${where}held ${ms} ms` });
    this.#wait(key, () => {
      this.#held.delete(to);
      this.#parts.line(`${from} → ${to}  ${where}held ${ms} ms`);
    });
  }

  #pushed(user: string, names: string): void {
    const held = this.#held.get(user);
    if (held === undefined) {
      this.#parts.line(`${user}  pushed; the push names ${names}`);
      return;
    }
    this.#drop(`held ${user}`);
    this.#held.delete(user);
    this.#parts.line(`${held.from} → ${user}  ${held.text}, pushed; the push names ${names}`);
  }

  // ── Delivered ─────────────────────────────────────────────────────────────────────────────────

  #live(from: string, to: string, accepted: string, server: string): void {
    // That somebody woke comes before what he says then.
    this.#write(`woke ${from}`);
    const { line, paint } = this.#parts;
    line(
      accepted === server
        ? `${from} → ${to}  delivered, local at ${paint.server(server)}`
        : `${from} → ${to}  delivered, crossed from ${paint.server(accepted)} to ${paint.server(server)}`,
    );
  }

  #fromStore({
    from,
    to,
    accepted,
    server,
  }: {
    readonly from: string;
    readonly to: string;
    readonly accepted: string;
    readonly server: string;
  }): void {
    const waking = this.#waking(to);
    waking.server = server;
    waking.accepted.push(accepted);
    waking.froms.add(from);
  }

  #waking(user: string): Waking {
    const known = this.#wakings.get(user);
    if (known !== undefined) return known;
    const waking: Waking = { report: undefined, accepted: [], server: "", froms: new Set() };
    this.#wakings.set(user, waking);
    this.#wait(`woke ${user}`, () => {
      this.#wakings.delete(user);
      this.#woke(user, waking);
    });
    return waking;
  }

  #woke(user: string, { report, accepted, server, froms }: Waking): void {
    const { line, paint } = this.#parts;
    const count = accepted.length;
    const remote = accepted.filter((name) => name !== server);
    const route =
      remote.length === 0
        ? "local"
        : `${remote.length === count ? "" : `${remote.length} of them `}crossed from ${[...new Set(remote)].map(paint.server).join(", ")}`;
    if (report !== undefined) {
      const ms = Math.round(report.ms);
      const brought = count === 0 ? "" : `; ${count} delivered, ${route}`;
      line(`${user}  woke at ${paint.server(report.server)}, ${ms} ms after the tap${brought}`);
      return;
    }
    line(
      `${[...froms].join(", ")} → ${user}  ${count} delivered from the store at ${paint.server(server)}, ${route}`,
    );
  }

  // ── Coming and going ──────────────────────────────────────────────────────────────────────────

  #report(report: PhoneReport): void {
    const { user } = report;
    if (report.kind === "woke") {
      this.#drop(`place ${user}`);
      this.#waking(user).report = report;
      return;
    }
    this.#drop(`place ${user}`);
    if (this.#isHandover) return;
    const { line, paint } = this.#parts;
    const last = report.last === undefined ? "" : `; was last on ${paint.server(report.last)}`;
    line(`${user}  asleep${last}`);
  }

  #moved({ user, device, server }: DeviceView): void {
    const { line, paint } = this.#parts;
    const key = `${user}/${device}`;
    const place = `place ${user}`;
    const before = this.#places.get(key);
    if (server !== undefined) this.#places.set(key, server);
    if (this.#isHandover || this.#wakings.has(user)) return;
    this.#drop(place);
    if (server === undefined && this.#down.has(before ?? "")) return;
    this.#wait(place, () => {
      if (server === undefined) line(`${user}  left ${paint.server(before ?? "")}`);
      else if (before === undefined || before === server)
        line(`${user}  at ${paint.server(server)}`);
      else line(`${user}  moved from ${paint.server(before)} to ${paint.server(server)}`);
    });
  }

  #handover(): void {
    this.#isHandover = true;
    this.#cancelHandover();
    this.#cancelHandover = this.#parts.after(HANDOVER_MS, () => (this.#isHandover = false));
  }

  // ── A day ─────────────────────────────────────────────────────────────────────────────────────

  #day(day: DayView): void {
    const { line, paint } = this.#parts;
    const wasRunning = this.#wasRunning;
    this.#wasRunning = day.state === "running";
    if (this.#wasRunning && !wasRunning) {
      line("a day of a made-up community runs through four servers of its own, twice");
    }
    if (day.state === "failed") line(paint.bad(`the day failed: ${day.problem ?? ""}`));
    if (day.state !== "done") return;
    line(`the day, pushes naming any server:          ${share(day.balanced)}`);
    line(`the day, pushes naming the sender's server: ${share(day.sender)}`);
  }

  // ── What waits ────────────────────────────────────────────────────────────────────────────────

  #wait(key: string, write: () => void): void {
    if (this.#pending.size >= WAITING) {
      write();
      return;
    }
    const cancel = this.#parts.after(TOGETHER_MS, () => this.#write(key));
    this.#pending.set(key, { cancel, write });
  }

  #write(key: string): void {
    const pending = this.#pending.get(key);
    this.#drop(key);
    pending?.write();
  }

  #drop(key: string): void {
    this.#pending.get(key)?.cancel();
    this.#pending.delete(key);
  }
}

function share({ local, remote, lost }: DayRun): string {
  const percent = ((100 * local) / Math.max(1, local + remote)).toFixed(1);
  return `${percent} % stayed on one server, ${remote} crossed, ${lost} lost`;
}
