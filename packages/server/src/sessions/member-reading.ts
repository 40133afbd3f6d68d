import type { Clock } from "../lib/clock.ts";
import { isOnlyAdded, type SetFact } from "./recent-sets.ts";
import type { Session } from "./table.ts";

/** A user's devices as the store has them, and the version of the set of those that are not dormant. */
export interface UserDevices {
  readonly setVersion: number;
  readonly devices: readonly { readonly device: string; readonly dormant: boolean }[];
}

/**
 * What a durable device's session is by what was read: one of the set that it carries; forgotten since it connected; dormant, which takes
 * nothing from it but what it is owed while it is away; or not to be told, as it may have registered after the reading.
 */
export type Standing = "member" | "forgotten" | "dormant" | "unknown";

export function setOf({ setVersion, devices }: UserDevices): SetFact {
  return { setVersion, setSize: devices.filter(({ dormant }) => !dormant).length };
}

/**
 * A session's set is never older than the one that its device was registered in when it connected. So where the reading is as new as
 * that and does not have the device, the device has left the set since.
 */
export function standingOf(session: Session, read: UserDevices): Standing {
  const { dormant } = read.devices.find(({ device }) => device === session.device) ?? {};
  if (dormant === false) return isOnlyAdded(setOf(read), session) ? "member" : "unknown";
  if (session.setVersion > read.setVersion) return "unknown";
  return dormant === true ? "dormant" : "forgotten";
}

export interface MemberReadingOptions {
  readonly clock: Clock;
  /** `DeviceStore.devices`. */
  readonly read: (user: string) => Promise<UserDevices>;
  /** Takes on what was read. False: it has to be read again. */
  readonly take: (user: string, read: UserDevices) => boolean;
}

const USERS_AT_ONCE = 16;
const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 2000;

/**
 * Finds out from the store whether devices that are connected here are still durable devices of their users. Bounded by the users with a
 * session here: each waits at most once.
 */
export class MemberReading {
  readonly #options: MemberReadingOptions;
  readonly #waiting = new Set<string>();
  #isBusy = false;
  #isStopped = false;
  #backoffMs = 0;

  constructor(options: MemberReadingOptions) {
    this.#options = options;
  }

  add(user: string): void {
    this.#waiting.add(user);
    this.#next();
  }

  stop(): void {
    this.#isStopped = true;
    this.#waiting.clear();
  }

  #next(): void {
    if (this.#isBusy || this.#isStopped || this.#waiting.size === 0) return;
    this.#isBusy = true;
    const { clock, read } = this.#options;
    const users = [...this.#waiting].slice(0, USERS_AT_ONCE);
    for (const user of users) this.#waiting.delete(user);
    void Promise.allSettled(users.map((user) => read(user))).then((answers) => {
      // In a turn of its own: a handshake that is just ending has ended by then.
      clock.defer(() => this.#done(users, answers));
    });
  }

  #done(users: readonly string[], answers: readonly PromiseSettledResult<UserDevices>[]): void {
    if (this.#isStopped) return;
    let isAllTaken = true;
    for (const [at, answer] of answers.entries()) {
      const user = users[at]!;
      if (answer.status === "fulfilled" && this.#options.take(user, answer.value)) {
        // What the answer itself has put in doubt it has settled, too.
        this.#waiting.delete(user);
      } else {
        this.#waiting.add(user);
        isAllTaken = false;
      }
    }
    this.#backoffMs = isAllTaken
      ? 0
      : Math.min(Math.max(2 * this.#backoffMs, FIRST_BACKOFF_MS), MAX_BACKOFF_MS);
    const again = (): void => {
      this.#isBusy = false;
      this.#next();
    };
    if (isAllTaken) again();
    else this.#options.clock.after(this.#backoffMs, again);
  }
}
