/**
 * A PostgreSQL that several servers use, as they see it fail. Its transactions take numbers and the locks of their users when they
 * begin and become visible when they commit, in whatever order that is; its links break, fall silent and are refused; and a crash
 * undoes what it had committed without waiting for the disk. Batches and tail are read and written by the production code.
 */
import { holdInParts } from "../../packages/server/src/store/hold-parts.ts";
import { BatchQueue } from "../../packages/server/src/store/postgres-queue.ts";
import { TailReader } from "../../packages/server/src/store/postgres-tail.ts";
import type { Pool } from "../../packages/server/src/store/postgres-pool.ts";
import { endingOf } from "../../packages/server/src/store/rules.ts";
import { StoreUnavailable } from "../../packages/server/src/store/store.ts";
import type {
  Arrival,
  Ending,
  HoldRequest,
  HoldResult,
  RowRef,
  Store,
  StoreLimits,
} from "../../packages/server/src/store/store.ts";
import { type Operation, type Run, storeOf } from "../../packages/server/src/store/transactions.ts";
import type { Ledger } from "./ledger.ts";
import { Locks } from "./locks.ts";
import { type Call, PostgresLog } from "./postgres-log.ts";
import type { Random } from "../../packages/cli/src/replay/xoshiro.ts";
import type { Process } from "./scheduler.ts";
import { SLOWEST_MS, type SimStore } from "./store.ts";
import type { World } from "./world.ts";

/** The production code's own bounds. */
const STATEMENT_MS = 5_000;
const ANSWER_MS = 10_000;
const IDLE_IN_TRANSACTION_MS = 10_000;
const RETRY_MS = 250;
const BATCH = 256;
const QUEUE = { maxWaiting: 65_536, maxWaitingBytes: 128 * 1024 * 1024 };

/** The longest that a link which carries again takes to send anew what was lost on the way. */
const RETRANSMIT_MS = 5_000;

/** Whose commit does not wait for the disk, where nothing else is in it. */
const RELAXED: ReadonlySet<Operation> = new Set<Operation>([
  "settle",
  "markSent",
  "claim",
  "done",
  "clear",
  "leave",
  "end",
]);

/** What tests of the checker break on purpose. */
export interface PostgresSabotage {
  /** The tail believes that every transaction that has a number has committed. */
  readonly forgetsOpen?: boolean;
  /** No commit waits for the disk. */
  readonly isAsynchronous?: boolean;
}

/** The connections of one server, from their making to their end. */
interface Session {
  readonly link: Link;
  /** Who has ended it. */
  end: "link" | "database" | undefined;
}

interface Link {
  readonly server: string;
  readonly process: Process;
  /** Undefined: calls are refused at once. */
  session: Session | undefined;
  isCut: boolean;
  /** Nothing passes, and nobody knows it. */
  isSilent: boolean;
  /** What is on its way meanwhile. */
  readonly underWay: (() => void)[];
  readonly asked: Set<Asked>;
}

/** A call of a server, from its asking to its answer. */
interface Asked {
  readonly session: Session;
  readonly fail: (why: string) => void;
  /** It was answered, or the server has given it up. */
  isOver: boolean;
  cancel: () => void;
}

interface Transaction {
  readonly asked: Asked;
  readonly calls: readonly Call[];
  /** In the order of their names. */
  readonly users: readonly string[];
  readonly isRelaxed: boolean;
  /** One round trip and no more. */
  readonly isShort: boolean;
  number: number | undefined;
  state: "begun" | "committing" | "over";
  /** The COMMIT is under way to the database. */
  isLeaving: boolean;
  cancel: () => void;
  readonly answer: (results: unknown[]) => void;
}

export class PostgresStore implements SimStore {
  readonly #world: World;
  readonly #random: Random;
  readonly #log: PostgresLog;
  readonly #sabotage: PostgresSabotage;
  readonly #links = new Map<string, Link>();
  readonly #locks = new Locks<Transaction>();
  /** Those that have begun and are not over. */
  readonly #open = new Set<Transaction>();
  /** Servers of which the history says that they do not reach the database. */
  readonly #away = new Set<string>();
  #nextNumber = 1_000;
  #isDown = false;
  #slowness = 1;
  #hangMs = 0;
  /** How long it will be down when it has crashed after the next settling. */
  #doomMs: number | undefined;
  /** The transaction that hangs. */
  #hung: Transaction | undefined;

  constructor(world: World, ledger: Ledger, limits: StoreLimits, sabotage: PostgresSabotage) {
    this.#world = world;
    this.#random = world.random.fork("postgres");
    this.#log = new PostgresLog(world, ledger, limits);
    this.#sabotage = sabotage;
  }

  connect(server: string, process: Process): Store {
    const link: Link = {
      server,
      process,
      session: undefined,
      isCut: false,
      isSilent: false,
      underWay: [],
      asked: new Set(),
    };
    this.#links.set(server, link);
    if (this.#isDown) this.#tell(server, true);
    else this.#begin(link);
    return this.#store(link);
  }

  kill(server: string, says: "reset" | "nothing"): void {
    const link = this.#links.get(server);
    this.#links.delete(server);
    if (link?.session !== undefined && says === "reset") this.#end(link, "link");
  }

  cut(server: string): void {
    const link = this.#links.get(server);
    if (link === undefined || link.isCut) return;
    link.isCut = true;
    this.#lose(link, "link");
  }

  restore(server: string): void {
    const link = this.#links.get(server);
    if (link === undefined) return;
    link.isCut = false;
    this.#reconnect(link);
  }

  silence(server: string, ms: number): void {
    const link = this.#links.get(server);
    if (link?.session === undefined || link.isSilent) return;
    link.isSilent = true;
    this.#tell(server, true);
    const again = ms + this.#random.between(0, Math.min(ms, RETRANSMIT_MS));
    this.#world.after(again, () => this.#speak(link));
  }

  slowDown(times: number): void {
    if (times > 1 !== this.#slowness > 1) {
      this.#world.record({ kind: "store", server: undefined, state: times > 1 ? "slow" : "fast" });
    }
    this.#slowness = times;
  }

  hang(ms: number): void {
    this.#hangMs = ms;
  }

  /** Every connection ends, and for a while none is taken. */
  restart(ms: number, how: "stop" | "crash"): void {
    if (this.#isDown) return;
    this.#isDown = true;
    for (const transaction of this.#open) {
      if (transaction.state !== "committing" || this.#random.chance(0.5)) this.#over(transaction);
      else this.#committed(transaction);
    }
    for (const link of this.#links.values()) this.#lose(link, "database");
    if (how === "crash") this.#log.crash();
    this.#world.after(ms, () => this.#up());
  }

  crashAfterSettling(ms: number): void {
    this.#doomMs = ms;
  }

  heal(): void {
    this.slowDown(1);
    this.#doomMs = undefined;
    this.#hangMs = 0;
    if (this.#hung !== undefined) this.#finish(this.#hung);
    this.#up();
    for (const link of this.#links.values()) {
      if (link.isSilent) this.#speak(link);
      this.restore(link.server);
    }
  }

  #up(): void {
    if (!this.#isDown) return;
    this.#isDown = false;
    for (const link of this.#links.values()) this.#reconnect(link);
  }

  // ── A server's handle ─────────────────────────────────────────────────────────────────────────

  #store(link: Link): Store {
    const { clock } = link.process;
    const writes = new BatchQueue<Call, unknown>(
      clock,
      { ...QUEUE, batch: BATCH, inFlight: 3, worthwhile: 32 },
      async (calls) => {
        const isRelaxed =
          this.#sabotage.isAsynchronous === true ||
          calls.every(({ operation }) => RELAXED.has(operation));
        const results = await this.#write(link, calls, usersOf(calls), isRelaxed, false);
        return results.map((value) => ({ value }));
      },
    );
    const rowQueue = (operation: "settle" | "markSent"): BatchQueue<readonly RowRef[], void> =>
      new BatchQueue(
        clock,
        { ...QUEUE, batch: 2_000, inFlight: 1, worthwhile: 1 },
        async (calls) => {
          const rows = calls.flat();
          const call = { operation, args: [rows] };
          await this.#write(link, [call], this.#log.usersOf(rows), true, true);
          return calls.map(() => ({ value: undefined }));
        },
      );
    const settled = rowQueue("settle");
    const sent = rowQueue("markSent");
    const tails = new TailReader(this.#poolFor(link), 0);
    const one = async (call: Call, isRelaxed: boolean): Promise<unknown> => {
      const [result] = await this.#write(link, [call], [], isRelaxed, !isRelaxed);
      return result;
    };
    const run = (operation: Operation, args: readonly unknown[]): Promise<unknown> => {
      const call = { operation, args };
      switch (operation) {
        case "hold":
          return holdInParts(
            args[0] as readonly HoldRequest[],
            BATCH,
            (part) =>
              writes.add({ operation, args: [part] }, part.length, 0) as Promise<HoldResult[]>,
          );
        case "arrive":
          return (args[0] as Arrival).durable ? writes.add(call, 1, 0) : this.#read(link, call);
        case "register":
        case "unregister":
        case "forget":
        case "quiet":
        case "done":
        case "clear":
        case "leave":
        case "end":
          return writes.add(call, 1, 0);
        case "settle":
          return settled.add(args[0] as readonly RowRef[], 1, 0);
        case "markSent":
          return sent.add(args[0] as readonly RowRef[], 1, 0);
        case "tail":
          return tails.read(args[0] as number, args[1] as number);
        case "claim":
          // Whom it locks is not known here: it is as if nobody else had locked them.
          return one(call, true);
        case "expire":
        case "retire":
        case "strengthen":
        case "fade":
        case "erase":
          return one(call, false);
        default:
          return this.#read(link, call);
      }
    };
    return storeOf(run as Run, () => Promise.resolve());
  }

  /** Answers the one statement of the tail. */
  #poolFor(link: Link): Pool {
    const one = (_: string, [from]: readonly [number]): Promise<object[]> =>
      this.#ask(link, (asked, answer) =>
        this.#soon(asked, () => {
          const open = [...this.#open].map(({ number }) => number ?? Infinity);
          const final = this.#sabotage.forgetsOpen
            ? this.#nextNumber
            : Math.min(this.#nextNumber, ...open);
          const rows = this.#log.after(from, 2_000);
          answer(rows.length > 0 ? rows.map((row) => ({ final, ...row })) : [{ final, seq: null }]);
        }),
      );
    return { with: (run: (link: object) => unknown) => run({ one }) } as unknown as Pool;
  }

  #read(link: Link, call: Call): Promise<unknown> {
    return this.#ask(link, (asked, answer) =>
      this.#soon(asked, () => answer(this.#log.read(call))),
    );
  }

  #soon(asked: Asked, run: () => void): void {
    const ms = Math.min(SLOWEST_MS, this.#random.between(0.1, 1.5) * this.#slowness);
    this.#world.after(Math.ceil(ms), () => {
      if (asked.session.end === undefined) run();
    });
  }

  #write(
    link: Link,
    calls: readonly Call[],
    users: readonly string[],
    isRelaxed: boolean,
    isShort: boolean,
  ): Promise<unknown[]> {
    return this.#ask(link, (asked, answer) => {
      this.#start({
        asked,
        calls,
        users: [...new Set(users)].toSorted(),
        isRelaxed,
        isShort,
        number: undefined,
        state: "begun",
        isLeaving: false,
        cancel: () => undefined,
        answer,
      });
    });
  }

  // ── Between a server and the database ─────────────────────────────────────────────────────────

  /** `arrive` is called when the question is at the database, and may answer it. */
  #ask<Result>(
    link: Link,
    arrive: (asked: Asked, answer: (result: Result) => void) => void,
  ): Promise<Result> {
    return new Promise((resolve, reject) => {
      const { session } = link;
      if (session === undefined) {
        reject(new StoreUnavailable("the database is away"));
        return;
      }
      const over = (settle: () => void): void => {
        if (asked.isOver) return;
        asked.isOver = true;
        asked.cancel();
        link.asked.delete(asked);
        settle();
      };
      const asked: Asked = {
        session,
        isOver: false,
        cancel: () => undefined,
        fail: (why) => over(() => reject(new StoreUnavailable(why))),
      };
      link.asked.add(asked);
      this.#request(asked, () =>
        arrive(asked, (result) => this.#answer(asked, () => over(() => resolve(result)))),
      );
    });
  }

  #request(asked: Asked, arrive: () => void): void {
    asked.cancel();
    asked.cancel = asked.session.link.process.clock.after(ANSWER_MS, () =>
      asked.fail("no answer from the database"),
    );
    this.#travel(asked.session, arrive);
  }

  #answer(asked: Asked, arrive: () => void): void {
    this.#travel(asked.session, () => {
      if (asked.session.end !== undefined) return;
      asked.session.link.process.input(0, () => {
        if (!asked.isOver) arrive();
      });
    });
  }

  #travel({ link }: Session, arrive: () => void): void {
    this.#world.after(this.#random.between(0.1, 1), () => {
      if (link.isSilent) link.underWay.push(arrive);
      else arrive();
    });
  }

  // ── Transactions ──────────────────────────────────────────────────────────────────────────────

  #start(transaction: Transaction): void {
    const { session, isOver } = transaction.asked;
    if (this.#isDown || session.end === "database") return;
    // Where the server is gone already, what was wholly under way may still be read.
    const isGone = session.end !== undefined || isOver;
    if (isGone && (!transaction.isShort || this.#random.chance(0.5))) return;
    this.#open.add(transaction);
    transaction.cancel = this.#world.after(STATEMENT_MS, () =>
      this.#fail(transaction, "a lock was not to be had"),
    );
    this.#locks.take(transaction, transaction.users, {
      first: () => (transaction.number ??= this.#nextNumber++),
      all: () => this.#locked(transaction),
    });
  }

  #locked(transaction: Transaction): void {
    if (this.#isDown) return;
    transaction.cancel();
    transaction.number ??= this.#nextNumber++;
    if (transaction.isShort) {
      this.#commit(transaction);
      return;
    }
    const { asked } = transaction;
    transaction.cancel = this.#world.after(IDLE_IN_TRANSACTION_MS, () =>
      this.#fail(transaction, "idle in a transaction for too long"),
    );
    this.#answer(asked, () => {
      transaction.isLeaving = true;
      this.#request(asked, () => this.#commit(transaction));
    });
  }

  #commit(transaction: Transaction): void {
    if (transaction.state !== "begun") return;
    if (transaction.asked.isOver && this.#random.chance(0.5)) {
      this.#over(transaction);
      return;
    }
    transaction.cancel();
    transaction.state = "committing";
    const { isRelaxed } = transaction;
    let ms = Math.min(SLOWEST_MS, (isRelaxed ? 0.1 : this.#flushMs()) * this.#slowness);
    if (!isRelaxed && this.#hangMs > 0 && this.#hung === undefined) {
      ms = this.#hangMs;
      this.#hangMs = 0;
      this.#hung = transaction;
      this.#world.record({ kind: "store", server: undefined, state: "hung" });
    }
    transaction.cancel = this.#world.after(Math.ceil(ms), () => this.#finish(transaction));
  }

  #flushMs(): number {
    return this.#random.between(0.5, 6) + (this.#random.chance(0.01) ? this.#pauseMs() : 0);
  }

  #pauseMs(): number {
    return this.#random.between(10, 300);
  }

  #finish(transaction: Transaction): void {
    const results = this.#committed(transaction);
    transaction.answer(results);
    const ms = this.#doomMs;
    if (ms === undefined || transaction.calls[0]?.operation !== "settle") return;
    this.#doomMs = undefined;
    // The answer has the time to arrive.
    this.#world.after(2, () => this.restart(ms, "crash"));
  }

  #committed(transaction: Transaction): unknown[] {
    const { server } = transaction.asked.session.link;
    const { number, calls, isRelaxed } = transaction;
    const results = this.#log.commit(server, number!, calls, !isRelaxed);
    this.#over(transaction);
    return results;
  }

  #fail(transaction: Transaction, why: string): void {
    this.#over(transaction);
    this.#answer(transaction.asked, () => transaction.asked.fail(why));
  }

  #over(transaction: Transaction): void {
    transaction.state = "over";
    transaction.cancel();
    this.#open.delete(transaction);
    if (this.#hung === transaction) {
      this.#hung = undefined;
      this.#world.record({ kind: "store", server: undefined, state: "freed" });
    }
    this.#locks.release(transaction);
  }

  // ── Links ─────────────────────────────────────────────────────────────────────────────────────

  #begin(link: Link): void {
    link.session = { link, end: undefined };
    this.#tell(link.server, false);
  }

  #lose(link: Link, by: "link" | "database"): void {
    if (link.session === undefined) return;
    this.#end(link, by);
    link.session = undefined;
    this.#tell(link.server, true);
    // A silent link is not even told that it has ended.
    if (!link.isSilent) this.#refuse(link);
  }

  /** The database sees the end of the server's connections, now or when something arrives from there. */
  #end(link: Link, by: "link" | "database"): void {
    const session = link.session!;
    session.end = by;
    for (const transaction of this.#open) {
      if (transaction.asked.session !== session || transaction.state === "committing") continue;
      if (!transaction.isLeaving || this.#random.chance(0.5)) this.#over(transaction);
    }
  }

  #refuse(link: Link): void {
    for (const asked of link.asked) {
      link.process.input(this.#random.int(0, 50), () => asked.fail("the link is lost"));
    }
    this.#reconnect(link);
  }

  #reconnect(link: Link): void {
    const { process } = link;
    const delay = this.#random.between(0, RETRY_MS) + this.#random.between(2, 20);
    process.clock.after(delay, () => {
      const isPossible = !this.#isDown && !link.isCut && !link.isSilent;
      const isWanted = link.session === undefined && this.#links.get(link.server) === link;
      if (isPossible && isWanted) this.#begin(link);
    });
  }

  /** What was on its way arrives. */
  #speak(link: Link): void {
    if (!link.isSilent) return;
    link.isSilent = false;
    for (const arrive of link.underWay.splice(0)) arrive();
    for (const transaction of this.#open) {
      const { asked, state } = transaction;
      if (asked.session.link === link && asked.isOver && state === "begun") this.#over(transaction);
    }
    if (link.session === undefined) this.#refuse(link);
    else if (this.#links.get(link.server) === link) this.#tell(link.server, false);
  }

  #tell(server: string, isAway: boolean): void {
    if (this.#away.has(server) === isAway) return;
    if (isAway) this.#away.add(server);
    else this.#away.delete(server);
    this.#world.record({ kind: "store", server, state: isAway ? "away" : "back" });
  }
}

function usersOf(calls: readonly Call[]): string[] {
  return calls.flatMap(({ operation, args }) => {
    if (operation === "hold") {
      return (args[0] as readonly HoldRequest[]).flatMap((request) => [
        request.user,
        ...(endingOf(request)?.between ?? []),
      ]);
    }
    if (operation === "end")
      return (args[0] as readonly Ending[]).flatMap(({ between }) => between);
    if (operation === "arrive") return (args[0] as Arrival).user;
    if (operation === "done")
      return (args[1] as readonly { user: string }[]).map(({ user }) => user);
    return args[0] as string;
  });
}
