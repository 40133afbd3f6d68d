/** What the application said of who shall be quiet, until the server has stored it. [P-4.10] */
import { errorByNumber, type Millis } from "@beckon/protocol";

import type { Clock } from "./clock.ts";
import type { Connection } from "./connection.ts";
import { BeckonError } from "./errors.ts";

export interface Quiets {
  /** Resolves when it is stored, or what was said later of the same conversation. */
  say(conversation: string, until: Millis): Promise<void>;
  connected(connection: Connection): void;
  disconnected(): void;
  quieted(): void;
  /** Whether an ERROR of the connection is of this. */
  refused(code: number): boolean;
  close(error: BeckonError): void;
}

interface Word {
  readonly conversation: string;
  until: Millis;
  readonly stored: Promise<void>;
  readonly settle: (error?: BeckonError) => void;
}

/** After a server that could not store it. */
const PAUSE_MS: Millis = 5_000;

/** `limit`: conversations that wait; one more is refused. `offset`: the server's clock less this one's. */
export function createQuiets(clock: Clock, limit: number, offset: () => Millis): Quiets {
  /** By conversation, in the order first said: the last word on each. */
  const waiting = new Map<string, Word>();
  let connection: Connection | undefined;
  /** What is under way to the server. */
  let said: Word | undefined;
  let cancelPause = (): void => {};

  function next(): void {
    const [word] = waiting.values();
    if (connection === undefined || said !== undefined || word === undefined) return;
    said = word;
    const { conversation, until } = word;
    // For ever is no time of a clock, and what is past ends it.
    const at = until < Number.MAX_SAFE_INTEGER ? until + offset() : until;
    connection.write({ type: "quiet", conversation, until: until > clock.now() ? at : 0 });
  }

  function answered(error?: BeckonError): void {
    const word = said;
    said = undefined;
    if (word === undefined) return;
    if (waiting.get(word.conversation) === word) waiting.delete(word.conversation);
    word.settle(error);
    next();
  }

  function disconnected(): void {
    connection = said = undefined;
    cancelPause();
  }

  return {
    say(conversation, until) {
      const before = waiting.get(conversation);
      if (before !== undefined && before !== said) {
        before.until = until;
        return before.stored;
      }
      if (waiting.size >= limit) return Promise.reject(new BeckonError("outbox-full"));
      let settle!: Word["settle"];
      const stored = new Promise<void>((resolve, reject) => {
        settle = (error) => {
          if (error === undefined) resolve();
          else reject(error);
          // Its answer may have been lost with a connection.
          before?.settle(error);
        };
      });
      waiting.set(conversation, { conversation, until, stored, settle });
      next();
      return stored;
    },
    connected(to) {
      connection = to;
      next();
    },
    disconnected,
    quieted: () => answered(),
    refused(number) {
      const code = errorByNumber(number)?.code;
      if (said === undefined) return false;
      if (code === "not-quieted") {
        cancelPause = clock.after(PAUSE_MS, () => {
          said = undefined;
          next();
        });
      } else if (code === "unsupported") {
        answered(new BeckonError(code));
      } else return false;
      return true;
    },
    close(error) {
      disconnected();
      for (const { settle } of waiting.values()) settle(error);
    },
  };
}
