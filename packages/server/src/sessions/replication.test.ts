import { expect, test } from "bun:test";
import type { Delta, Heartbeat, SnapshotPage } from "../cluster/session-messages.ts";
import { Publication } from "./publication.ts";
import { Replication } from "./replication.ts";
import { SessionIndex } from "./session-index.ts";
import type { SessionChange } from "./table.ts";

const RETRY_MS = 1000;

function makeIndex(
  own: string,
  onChange: (change: SessionChange) => void = () => {},
): SessionIndex {
  return new SessionIndex({
    own,
    now: () => 0,
    hideMs: 5000,
    horizonMs: 10_000,
    onLifted: () => {},
    onChange,
    onForgotten: () => {},
  });
}

/** The sending side: the own partition of server "a". */
class Owner {
  readonly index: SessionIndex = makeIndex("a");
  readonly publication: Publication;
  readonly incarnation: number;

  constructor(
    incarnation = 1,
    options: { recordsPerMessage?: number; pendingLimit?: number } = {},
  ) {
    this.incarnation = incarnation;
    const { index } = this;
    this.publication = new Publication({ server: "a", incarnation, index, ...options });
  }

  open(user: string, epoch = 1, setVersion = 0): void {
    this.publication.entryChanged(user, "phone");
    const record = { user, device: "phone", epoch, durable: true, background: false, member: true };
    this.index.put({ ...record, setVersion, setSize: setVersion }, "a");
  }

  close(user: string, goodbye = false): void {
    this.publication.entryRemoved(this.index.get("a", user, "phone")!, goodbye);
    this.index.remove("a", user, "phone");
  }

  deltas(): Delta[] {
    const deltas: Delta[] = [];
    this.publication.flush((delta) => void deltas.push(delta));
    return deltas;
  }

  heartbeat(settled = true): Heartbeat {
    const { published: version } = this.publication;
    const common = { kind: "heartbeat", server: "a", incarnation: this.incarnation } as const;
    const about = { load: 0, since: 0, time: 0, addresses: [], capacity: 0, cpu: 0, software: "" };
    return { ...common, version, settled, state: "up", ...about };
  }

  snapshot(): SnapshotPage[] {
    this.publication.beginSnapshot();
    const pages: SnapshotPage[] = [];
    for (let page = this.page(); page !== undefined; page = this.page()) pages.push(page);
    return pages;
  }

  page(): SnapshotPage | undefined {
    return this.publication.nextPage();
  }
}

/** The receiving side: server "b". */
class Receiver {
  /** Devices that are gone, with whether they said so. */
  readonly gone: [user: string, goodbye: boolean | undefined][] = [];
  readonly index: SessionIndex = makeIndex("b", (change) => {
    if (change.kind === "gone") this.gone.push([change.session.user, change.goodbye]);
  });
  readonly replication: Replication;
  losses = 0;
  now = 0;

  constructor() {
    const { index } = this;
    const onLoss = (): void => void this.losses++;
    this.replication = new Replication({ index, now: () => this.now, retryMs: RETRY_MS, onLoss });
  }

  take(...messages: readonly (Heartbeat | Delta | SnapshotPage)[]): void {
    for (const message of messages) {
      if (message.kind === "heartbeat") this.replication.heartbeat(message);
      else if (message.kind === "delta") this.replication.delta(message);
      else this.replication.page(message);
    }
  }

  get users(): string[] {
    return [...this.index.usersOf("a")].toSorted();
  }

  /** Whether the partition is as its owner last said. */
  get isCurrent(): boolean {
    return this.replication.isComplete;
  }
}

function pair(owner = new Owner()): { owner: Owner; receiver: Receiver } {
  const receiver = new Receiver();
  receiver.take(owner.heartbeat());
  return { owner, receiver };
}

test("a partition follows its owner's deltas (M2)", () => {
  const { owner, receiver } = pair();
  owner.open("ann");
  owner.open("bob");
  receiver.take(...owner.deltas());
  owner.close("ann");
  receiver.take(...owner.deltas(), owner.heartbeat());
  expect(receiver.users).toEqual(["bob"]);
  expect([receiver.isCurrent, receiver.losses]).toEqual([true, 0]);
});

test("whether a device said goodbye is known everywhere (L5)", () => {
  const { owner, receiver } = pair();
  owner.open("ann");
  owner.open("bob");
  receiver.take(...owner.deltas());
  owner.close("ann", true);
  owner.close("bob");
  receiver.take(...owner.deltas());
  expect(receiver.gone).toEqual([
    ["ann", true],
    ["bob", false],
  ]);
});

test("of several changes of a device only the last is told, in as many messages as it takes", () => {
  const { owner, receiver } = pair(new Owner(1, { recordsPerMessage: 2 }));
  for (const user of ["ann", "bob", "cyd", "dan", "eve"]) owner.open(user);
  for (let epoch = 2; epoch < 100; epoch++) owner.open("ann", epoch);
  owner.close("eve");
  const deltas = owner.deltas();
  expect(deltas.length).toBe(3);
  expect(deltas.flatMap(({ entries }) => entries).length).toBe(4);
  receiver.take(...deltas, owner.heartbeat());
  expect(receiver.index.find("ann", "phone")?.epoch).toBe(99);
  expect(receiver.users).toEqual(["ann", "bob", "cyd", "dan"]);
  expect(receiver.isCurrent).toBe(true);
});

test("a set announcement is never compacted away", () => {
  const { owner } = pair();
  owner.publication.setAnnounced({ user: "ann", setVersion: 2, setSize: 1 });
  owner.publication.setAnnounced({ user: "ann", setVersion: 3, setSize: 2 });
  const [delta] = owner.deltas();
  expect(delta?.sets.map(({ setVersion }) => setVersion)).toEqual([2, 3]);
});

test("what a session said of the set is told though the session is gone before it was told", () => {
  const { owner, receiver } = pair();
  owner.open("ann", 1, 7);
  owner.close("ann");
  receiver.take(...owner.deltas());
  const record = {
    user: "ann",
    device: "tab",
    epoch: 1,
    durable: true,
    background: false,
    member: true,
  };
  receiver.index.put({ ...record, setVersion: 6, setSize: 1 }, "b");
  expect(receiver.index.find("ann", "tab")?.setVersion).toBe(7);
});

test("what could not be sent is sent later, and nothing is missed (L8)", () => {
  const { owner, receiver } = pair(new Owner(1, { recordsPerMessage: 1 }));
  owner.open("ann");
  owner.open("bob");
  let sent = 0;
  expect(() =>
    owner.publication.flush((delta) => {
      if (sent++ > 0) throw new Error("no link");
      receiver.take(delta);
    }),
  ).toThrow("no link");
  expect(receiver.users).toEqual(["ann"]);
  receiver.take(...owner.deltas(), owner.heartbeat());
  expect(receiver.users).toEqual(["ann", "bob"]);
  expect(receiver.replication.gaps).toBe(0);
});

test("a missed delta is seen by the next one: a snapshot is asked for, and heals it", () => {
  const { owner, receiver } = pair();
  owner.open("ann");
  receiver.take(...owner.deltas());
  owner.close("ann");
  owner.open("bob");
  owner.deltas();
  owner.open("cyd");
  receiver.take(...owner.deltas());
  // Until then a little stale, not empty (L7).
  expect(receiver.users).toEqual(["ann"]);
  expect([receiver.isCurrent, receiver.losses]).toEqual([false, 1]);
  expect(receiver.replication.requestsDue()).toEqual(["a"]);
  receiver.take(...owner.snapshot(), owner.heartbeat());
  expect(receiver.users).toEqual(["bob", "cyd"]);
  expect(receiver.isCurrent).toBe(true);
});

test("a missed delta is seen by a heartbeat, if nothing else is said", () => {
  const { owner, receiver } = pair();
  owner.open("ann");
  owner.deltas();
  receiver.take(owner.heartbeat());
  expect(receiver.replication.requestsDue()).toEqual(["a"]);
  expect(receiver.losses).toBe(1);
});

test("a heartbeat with the version that was reached revalidates without a snapshot", () => {
  const { owner, receiver } = pair();
  owner.open("ann");
  receiver.take(...owner.deltas());
  receiver.replication.lose();
  expect(receiver.isCurrent).toBe(false);
  receiver.take(owner.heartbeat(false));
  expect(receiver.isCurrent).toBe(false);
  receiver.take(owner.heartbeat());
  expect([receiver.isCurrent, receiver.replication.snapshotsTaken]).toEqual([true, 0]);
});

test("what an owner says of a set counts though a delta was missed before it", () => {
  const { owner, receiver } = pair();
  const record = {
    user: "ann",
    device: "tab",
    epoch: 1,
    durable: true,
    background: false,
    member: true,
  };
  receiver.index.put({ ...record, setVersion: 1, setSize: 1 }, "b");
  owner.open("bob");
  owner.deltas();
  owner.publication.setAnnounced({ user: "ann", setVersion: 2, setSize: 2 });
  receiver.take(...owner.deltas());
  expect(receiver.index.find("ann", "tab")).toMatchObject({ setVersion: 2, setSize: 2 });
});

test("a server that is new here is learnt from one snapshot, deltas between its pages included", () => {
  const owner = new Owner(1, { recordsPerMessage: 2 });
  for (const user of ["ann", "bob", "cyd", "dan", "eve"]) owner.open(user);
  owner.deltas();
  const { receiver } = pair(owner);
  owner.publication.beginSnapshot();
  receiver.take(owner.page()!);
  owner.close("ann");
  owner.close("eve");
  owner.open("fay");
  owner.open("bob", 2);
  receiver.take(...owner.deltas(), owner.heartbeat(), owner.page()!, owner.page()!);
  expect(owner.page()).toBeUndefined();
  expect(receiver.users).toEqual(["bob", "cyd", "dan", "fay"]);
  expect(receiver.index.find("bob", "phone")?.epoch).toBe(2);
  expect(receiver.isCurrent).toBe(true);
});

test("a snapshot with a hole is asked for again, and entries that it did not confirm stay till then", () => {
  const { owner, receiver } = pair(new Owner(1, { recordsPerMessage: 1 }));
  owner.open("ann");
  receiver.take(...owner.deltas());
  owner.close("ann");
  for (const user of ["bob", "cyd", "dan"]) owner.open(user);
  owner.deltas();
  receiver.take(owner.heartbeat());
  receiver.replication.requestsDue();
  const [first, , third] = owner.snapshot();
  receiver.take(first!, third!);
  expect(receiver.users).toEqual(["ann", "bob"]);
  expect(receiver.replication.requestsDue()).toEqual(["a"]);
  receiver.take(...owner.snapshot());
  expect(receiver.users).toEqual(["bob", "cyd", "dan"]);
});

test("a delta that was missed between two pages makes the snapshot worthless", () => {
  const owner = new Owner(1, { recordsPerMessage: 1 });
  owner.open("ann");
  owner.open("bob");
  owner.deltas();
  const { receiver } = pair(owner);
  owner.publication.beginSnapshot();
  receiver.take(owner.page()!);
  owner.close("ann");
  owner.deltas();
  receiver.take(owner.page()!);
  expect(receiver.isCurrent).toBe(false);
  expect(receiver.replication.gaps).toBe(1);
});

test("requests are repeated while no page comes, less and less often (L10)", () => {
  const owner = new Owner();
  owner.open("ann");
  owner.deltas();
  const { receiver } = pair(owner);
  const asked: number[] = [];
  for (receiver.now = 0; receiver.now <= 40_000; receiver.now += 500) {
    if (receiver.replication.requestsDue().length > 0) asked.push(receiver.now);
  }
  expect(asked).toEqual([0, 1000, 3000, 7000, 15_000, 23_000, 31_000, 39_000]);
});

test("snapshots are taken one after the other, and one that does not come holds nobody up for long (L10)", () => {
  const owners = ["a", "c"].map((server) => {
    const index = makeIndex(server);
    const publication = new Publication({ server, incarnation: 1, index, recordsPerMessage: 1 });
    for (const user of ["ann", "bob"]) {
      publication.entryChanged(user, server);
      const record = {
        user,
        device: server,
        epoch: 1,
        durable: true,
        background: false,
        member: true,
      };
      index.put({ ...record, setVersion: 0, setSize: 0 }, server);
    }
    publication.flush(() => {});
    publication.beginSnapshot();
    return publication;
  });
  const receiver = new Receiver();
  const heartbeat = new Owner().heartbeat();
  for (const server of ["a", "c"]) receiver.take({ ...heartbeat, server, version: 2 });
  const { replication } = receiver;
  expect([replication.requestsDue(), replication.requestsDue()]).toEqual([["a"], []]);
  // Nothing comes.
  receiver.now = RETRY_MS;
  expect([replication.requestsDue(), replication.requestsDue()]).toEqual([["a"], []]);
  receiver.now = 2 * RETRY_MS;
  expect([replication.requestsDue(), replication.requestsDue()]).toEqual([["c"], []]);
  receiver.take(owners[1]!.nextPage()!);
  receiver.now = 3 * RETRY_MS - 1;
  receiver.take(owners[1]!.nextPage()!);
  expect(replication.requestsDue()).toEqual([]);
  receiver.take(owners[1]!.nextPage()!);
  receiver.now = 3 * RETRY_MS;
  expect(replication.requestsDue()).toEqual(["a"]);
  for (let page = owners[0]!.nextPage(); page !== undefined; page = owners[0]!.nextPage()) {
    receiver.take(page);
  }
  expect(replication.requestsDue()).toEqual([]);
  expect(receiver.index.lookup("bob").map(({ server }) => server)).toEqual(["c", "a"]);
});

test("while pages come no other snapshot is asked for; when they stop coming one is", () => {
  const owner = new Owner(1, { recordsPerMessage: 1 });
  owner.open("ann");
  owner.open("bob");
  owner.deltas();
  const { receiver } = pair(owner);
  receiver.replication.requestsDue();
  owner.publication.beginSnapshot();
  receiver.now = RETRY_MS - 1;
  receiver.take(owner.page()!);
  receiver.now = RETRY_MS;
  expect(receiver.replication.requestsDue()).toEqual([]);
  receiver.now = 2 * RETRY_MS;
  expect(receiver.replication.requestsDue()).toEqual(["a"]);
});

test("a snapshot that another server asked for changes nothing here", () => {
  const { owner, receiver } = pair();
  owner.open("ann");
  receiver.take(...owner.deltas(), ...owner.snapshot());
  expect(receiver.replication.snapshotsTaken).toBe(0);
  expect(receiver.users).toEqual(["ann"]);
});

test("a new incarnation has none of the connections of the one before", () => {
  const { owner, receiver } = pair();
  owner.open("ann");
  receiver.take(...owner.deltas());
  const next = new Owner(2);
  receiver.take(next.heartbeat());
  expect([receiver.users, receiver.losses]).toEqual([[], 1]);
  next.open("bob");
  // The last words of the old one come late.
  owner.open("cyd");
  receiver.take(...next.deltas(), ...owner.deltas(), next.heartbeat());
  expect(receiver.users).toEqual(["bob"]);
  expect(receiver.isCurrent).toBe(true);
});

test("a server that was dropped and goes on has to send a snapshot", () => {
  const { owner, receiver } = pair();
  owner.open("ann");
  receiver.take(...owner.deltas());
  receiver.replication.drop("a");
  expect(receiver.users).toEqual([]);
  owner.open("bob");
  receiver.take(...owner.deltas());
  expect(receiver.users).toEqual([]);
  receiver.take(owner.heartbeat());
  expect(receiver.replication.requestsDue()).toEqual(["a"]);
  receiver.take(...owner.snapshot());
  expect(receiver.users).toEqual(["ann", "bob"]);
});

test("at the bound of what waits to be told all is dropped, and the hole is seen (L10)", () => {
  const { owner, receiver } = pair(new Owner(1, { pendingLimit: 3 }));
  for (const user of ["ann", "bob", "cyd", "dan"]) owner.open(user);
  expect(owner.deltas()).toEqual([]);
  owner.open("eve");
  receiver.take(...owner.deltas());
  expect(receiver.losses).toBe(1);
  receiver.take(...owner.snapshot());
  expect(receiver.users).toEqual(["ann", "bob", "cyd", "dan", "eve"]);
});

test("what was announced while the position was lost is in no snapshot: that is a loss of its own", () => {
  const { owner, receiver } = pair();
  owner.open("bob");
  owner.deltas();
  receiver.take(owner.heartbeat());
  expect(receiver.losses).toBe(1);
  owner.publication.setAnnounced({ user: "ann", setVersion: 2, setSize: 2 });
  owner.deltas();
  receiver.take(...owner.snapshot());
  expect(receiver.losses).toBe(2);
});

test("a goodbye shows whether all was heard that was said before it", () => {
  const all = pair();
  all.owner.open("ann");
  all.receiver.take(...all.owner.deltas());
  all.receiver.replication.farewell(all.owner.heartbeat());
  expect([all.receiver.users, all.receiver.losses]).toEqual([[], 0]);

  const missed = pair();
  missed.owner.open("ann");
  missed.owner.deltas();
  missed.receiver.replication.farewell(missed.owner.heartbeat());
  expect(missed.receiver.losses).toBe(1);

  const lost = pair();
  lost.owner.open("ann");
  lost.owner.deltas();
  lost.receiver.take(lost.owner.heartbeat());
  lost.receiver.replication.farewell(lost.owner.heartbeat());
  expect(lost.receiver.losses).toBe(2);
});

test("an empty partition is a snapshot, too", () => {
  const owner = new Owner();
  owner.open("ann");
  owner.close("ann");
  owner.deltas();
  const { receiver } = pair(owner);
  expect(receiver.isCurrent).toBe(false);
  receiver.take(...owner.snapshot());
  expect(receiver.isCurrent).toBe(true);
});
