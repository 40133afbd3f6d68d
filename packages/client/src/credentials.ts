import type { HelloFrame, Millis } from "@beckon/protocol";

import type { Clock } from "./clock.ts";
import { BeckonError } from "./errors.ts";
import type { ConnectOptions } from "./options.ts";
import type { Task } from "./task.ts";

export type Credential = Pick<HelloFrame, "token" | "ticket">;

/** What a connection is authenticated with: a ticket where there is one, else the application's token. */
export interface Credentials {
  /** A {@link BeckonError} when the application gave no token; undefined when interrupted. */
  get(task: Task): Promise<Credential | BeckonError | undefined>;
  /** A new token, whatever ticket there is. */
  token(task: Task): Promise<string | BeckonError | undefined>;
  /** From the last WELCOME. */
  keep(ticket: Uint8Array): void;
  /** It was refused, or stands for a token that was replaced. */
  drop(): void;
}

/** How long the application's `token` function may take. */
const TOKEN_MS: Millis = 30_000;
const NO_TICKET = new Uint8Array(0);

export function createCredentials(ask: ConnectOptions["token"], clock: Clock): Credentials {
  let ticket: Uint8Array = NO_TICKET;

  function token(task: Task): Promise<string | BeckonError | undefined> {
    return task.wait((resolve) => {
      const fail = (cause?: unknown): void => {
        cancel();
        resolve(new BeckonError("token-failed", "", { cause }));
      };
      const cancel = clock.after(TOKEN_MS, fail);
      // It may throw instead of rejecting. What is no string would count as an interruption, and be asked for again at once.
      Promise.resolve()
        .then(ask)
        .then((value) => {
          if (typeof value !== "string") return fail(typeof value);
          cancel();
          resolve(value);
        }, fail);
      return cancel;
    });
  }

  return {
    token,
    async get(task) {
      if (ticket.length > 0) return { token: "", ticket };
      const answer = await token(task);
      return typeof answer === "string" ? { token: answer, ticket } : answer;
    },
    keep(given) {
      // A view of all that came with it.
      ticket = given.slice();
    },
    drop() {
      ticket = NO_TICKET;
    },
  };
}
