/**
 * The ports as a list of transactions. A backend says how one runs; `storeOf` makes a `Store` of it by giving each call
 * to `run`, which decides when that is and when the answer arrives.
 */
import type { AssociateStore, DeviceStore, MessageStore, Store, WakeStore } from "./store.ts";

type Port = Omit<MessageStore, "close"> & DeviceStore & WakeStore & AssociateStore;

/** Each method runs at once, all of it or nothing, and alone. */
export type Transactions = {
  [Name in keyof Port]: (...args: Parameters<Port[Name]>) => Awaited<ReturnType<Port[Name]>>;
};

export type Operation = keyof Transactions;

export type Run = <Name extends Operation>(
  operation: Name,
  args: Parameters<Transactions[Name]>,
) => Promise<ReturnType<Transactions[Name]>>;

export function storeOf(run: Run, close: () => Promise<void>): Store {
  return {
    messages: {
      hold: (requests) => run("hold", [requests]),
      pending: (user, device, limit) => run("pending", [user, device, limit]),
      settle: (rows) => run("settle", [rows]),
      markSent: (rows) => run("markSent", [rows]),
      tail: (since, limit) => run("tail", [since, limit]),
      expire: (before) => run("expire", [before]),
      close,
    },
    devices: {
      arrive: (arrival) => run("arrive", [arrival]),
      register: (user, device, protocols, push) => run("register", [user, device, protocols, push]),
      unregister: (user, device) => run("unregister", [user, device]),
      forget: (user, device) => run("forget", [user, device]),
      devices: (user) => run("devices", [user]),
      sets: (users) => run("sets", [users]),
      retire: (now) => run("retire", [now]),
    },
    wakes: {
      claim: (owner, leaseMs, limit, except) => run("claim", [owner, leaseMs, limit, except]),
      done: (owner, outcomes) => run("done", [owner, outcomes]),
      clear: (user, device, generation) => run("clear", [user, device, generation]),
      leave: (user, device) => run("leave", [user, device]),
      end: (endings) => run("end", [endings]),
      nextDue: () => run("nextDue", []),
      quiet: (...args) => run("quiet", args),
      mutes: (user) => run("mutes", [user]),
    },
    associates: {
      strengthen: (changes) => run("strengthen", [changes]),
      circle: (user, k, now) => run("circle", [user, k, now]),
      fade: (after, now) => run("fade", [after, now]),
      erase: (user) => run("erase", [user]),
    },
  };
}
