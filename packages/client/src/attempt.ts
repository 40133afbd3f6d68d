/** One attempt to connect: each address once, and one redirect (L9, M12). */
import { type Address, CLOSE, ERRORS, type HelloFrame, reconnectPolicy } from "@beckon/protocol";

import type { Clock } from "./clock.ts";
import {
  type Closing,
  type Connection,
  type ConnectionHandler,
  LOST,
  openConnection,
} from "./connection.ts";
import type { Credential, Credentials } from "./credentials.ts";
import { BeckonError } from "./errors.ts";
import { type Link, race } from "./link.ts";
import type { ConnectOptions } from "./options.ts";
import { type Avoided, type Candidate, type Choosing, ofServer, unique } from "./route.ts";
import type { Task } from "./task.ts";
import type { Dial } from "./transport.ts";

export interface AttemptParts {
  readonly clock: Clock;
  readonly credentials: Credentials;
  readonly avoided: Avoided;
  readonly choosing: Choosing;
  readonly transports: Readonly<Record<string, Dial>>;
  readonly handler: ConnectionHandler;
  readonly trace: ConnectOptions["trace"];
  hello(said: Credential & Pick<HelloFrame, "hinted" | "noRedirect">): HelloFrame;
  /** A HELLO was given up that a server may yet answer. */
  unanswered(): void;
  /** There is a connection, and another one is to take over from it: no redirect is followed. */
  readonly move?: Holding;
}

/** What is to be sent stays back while it is open on which connection it goes. */
export interface Holding {
  /** Resolves when HELLO may be said. */
  hold(): Promise<void>;
  release(): void;
}

export interface Failure {
  readonly error: BeckonError;
  /** Trying again would be of no use. */
  readonly final: boolean;
}

/** Answers the connection that was welcomed; undefined when interrupted. */
export async function attempt(
  candidates: readonly Candidate[],
  parts: AttemptParts,
  task: Task,
): Promise<Connection | Failure | undefined> {
  const { clock, credentials, avoided, move } = parts;
  let queue = candidates;
  let noRedirect = move !== undefined;
  /** There is at least one candidate, and none is left without it. */
  let error!: BeckonError;
  let credential = await credentials.get(task);

  /** The first link that opens; null: none does. */
  function reach(): Promise<Link | null | undefined> {
    return task.wait((resolve) =>
      race(
        queue,
        (address, told) => parts.transports[address.protocol]!(address, told),
        clock,
        failed,
        (link) => resolve(link ?? null),
      ),
    );
  }

  function failed(candidate: Candidate): void {
    const { url } = candidate.address;
    error = new BeckonError("unreachable", url);
    avoided.add(url);
    queue = queue.filter((each) => each !== candidate);
  }

  function greet(
    link: Link,
    said: Parameters<AttemptParts["hello"]>[0],
  ): Promise<Connection | Closing | undefined> {
    return task.wait((resolve) => {
      const handler: ConnectionHandler = {
        ...parts.handler,
        welcomed(connection, welcome) {
          parts.handler.welcomed(connection, welcome);
          resolve(connection);
        },
      };
      const connection = openConnection(link, clock, handler, parts.trace);
      let greeted = false;
      const say = (): void => {
        if (!connection.open) return;
        greeted = true;
        connection.write(parts.hello(said));
      };
      void connection.closed.then((closing) => {
        if (connection.welcome === undefined) {
          move?.release();
          if (closing.code === LOST && greeted) parts.unanswered();
        }
        resolve(closing);
      });
      if (move === undefined) say();
      else void move.hold().then(say);
      return () => connection.close(LOST, "");
    });
  }

  while (credential !== undefined) {
    if (credential instanceof BeckonError) return { error: credential, final: false };
    const link = await reach();
    if (link === undefined) return undefined;
    if (link === null) return { error, final: false };
    const { address } = link;
    const candidate = queue.find((each) => each.address === address)!;
    queue = queue.filter((each) => each !== candidate);
    const result = await greet(link, { ...credential, noRedirect, hinted: candidate.hinted });
    if (result === undefined || "open" in result) return result;
    const { code, redirect } = result;
    error = errorOf(result, address);
    if (redirect !== undefined && !noRedirect) {
      noRedirect = true;
      const there = ofServer(redirect.server, parts.choosing);
      // If it leads nowhere, the one that said so has to serve.
      queue = unique([
        ...there.filter((each) => !avoided.has(each.address.url)),
        candidate,
        ...queue,
      ]);
    } else if (credential.ticket.length > 0 && TOKEN_CODES.includes(code)) {
      credentials.drop();
      credential = await credentials.get(task);
      queue = [candidate, ...queue];
    } else if (reconnectPolicy(code) === "stop") {
      return { error, final: true };
    } else {
      avoided.add(address.url);
    }
  }
  return undefined;
}

/** A ticket may be refused with them where a token would not be. */
const TOKEN_CODES: readonly number[] = [CLOSE.badToken, CLOSE.tokenExpired];

/** What the server said, or what its close code stands for. */
export function errorOf({ code, message }: Closing, { url }: Address): BeckonError {
  const entry = Object.values(ERRORS).find(({ closes }) => closes === code);
  const other = reconnectPolicy(code) === "stop" ? "closed" : "unreachable";
  return new BeckonError(entry?.code ?? other, message || url);
}
