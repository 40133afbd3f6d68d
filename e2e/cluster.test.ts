/** Servers as processes, on a real NATS and a real PostgreSQL: what they do together, and when one of them dies or stalls. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout } from "bun:test";

import { type Beckon, connect } from "@beckon/client";

import { mintDevToken } from "../packages/cli/src/token.ts";
import { startPostgres } from "../packages/server/src/store/test-support/postgres.ts";
import type { PostgresProcess } from "../packages/server/src/store/test-support/postgres.ts";
import { Cluster, clusterTest, hasEngines } from "./support/cluster.ts";
import type { ClusterOptions } from "./support/cluster.ts";
import type { ClusterServer } from "./support/cluster-server.ts";
import { FLAWLESS, People } from "./support/people.ts";
import { RawDevice } from "./support/raw-device.ts";
import { until } from "./support/until.ts";

setDefaultTimeout(120_000);

let postgres: PostgresProcess;
if (hasEngines) {
  beforeAll(async () => void (postgres = await startPostgres()), 60_000);
}

const cleanups: (() => unknown)[] = [];
afterAll(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  await postgres?.remove();
}, 60_000);

async function start(options: Omit<ClusterOptions, "postgres"> = {}): Promise<Cluster> {
  const cluster = await Cluster.start({ postgres, ...options });
  cleanups.push(() => cluster.stop());
  return cluster;
}

const without = (cluster: Cluster, server: ClusterServer): ClusterServer[] =>
  cluster.servers.filter((one) => one !== server);

describe("several servers", () => {
  clusterTest(
    "M2, M3, M6: learn of each other, and a message crosses from one to another; M7, M8: who is woken is local from then on",
    async () => {
      const cluster = await start();
      const people = await People.at(cluster, ["s1", "s2"]);

      const across = await people.tell(0, 1);
      expect(across.ack).toMatchObject({ status: "delivered", route: "remote", server: "s1" });
      expect(across.message).toMatchObject({ held: false, server: "s2" });

      await people.sleep(1);
      const woken = await people.tell(0, 1);
      expect(woken.ack).toMatchObject({ status: "held", route: "wake" });
      expect(woken.message.server).toBe("s1");
      await cluster.placed("u1", "s1");
      // The first may be held: he still reads what he was woken for.
      await until(async () => (await people.tell(0, 1)).ack.route === "local", "a local message");
      expect(await people.verdict()).toMatchObject(FLAWLESS);
    },
  );

  clusterTest("M1: two processes with one name are told to the operator by both", async () => {
    const cluster = await start({ names: ["s1", "s1"], isStarted: false });
    await Promise.all(cluster.servers.map((server) => server.start()));
    for (const server of cluster.servers) {
      const told = (): boolean => server.said("server.name-taken").length > 0;
      await until(told, "the log to say that the name is taken", 20_000);
    }
  });
});

describe("a device that is forgotten while it is connected", () => {
  clusterTest(
    "is closed as revoked, wherever it is, and stays away; L1: it does not stand in for one that is away",
    async () => {
      const cluster = await start({ servers: 2 });
      const [s1, s2] = cluster.servers as [ClusterServer, ClusterServer];
      const got: string[] = [];
      const device = async (server: ClusterServer, user: string, name: string): Promise<Beckon> => {
        const token = (): string => mintDevToken(user);
        const beckon = connect({ servers: [server.url], token, device: name, durable: true });
        cleanups.push(() => beckon.close());
        beckon.on("message", (message) => void got.push(`${name}: ${message.text()}`));
        await until(() => beckon.state.name === "connected", `${user}'s ${name} to connect`);
        return beckon;
      };
      await (await device(s1, "bob", "laptop")).close();
      await device(s1, "bob", "phone");
      const lost = await device(s2, "bob", "bob");
      await cluster.placed("bob", "s2");

      await s1.forget("bob");
      await until(() => lost.state.name === "closed", "the device that was forgotten to be closed");
      expect(lost.state.error?.code).toBe("revoked");
      for (const server of cluster.servers) {
        const isGone = async (): Promise<boolean> => (await server.whereIs("bob")) === undefined;
        await until(isGone, `${server.name} to know the device no more`);
      }

      const ann = await device(s2, "ann", "phone");
      expect(await ann.send("bob", "hello")).toMatchObject({ status: "held" });
      await device(s2, "bob", "laptop");
      await until(() => got.length === 2, "the message on both devices");
      expect(got.toSorted()).toEqual(["laptop: hello", "phone: hello"]);
      expect(lost.state.name).toBe("closed");
    },
  );
});

describe("a server that dies", () => {
  clusterTest(
    "M3: leaves every table within the lease, L5: its devices are pushed to, M2: and it comes back as a new one",
    async () => {
      const cluster = await start();
      const [s1, s2] = cluster.servers as [ClusterServer, ClusterServer];
      const others = without(cluster, s2);
      const people = await People.at(cluster, ["s1", "s2", "s2"]);
      await people.sleep(2);

      // The phone goes in the same moment, unheard: nobody knows that it is away before the lease is over.
      s2.pause();
      await people.vanish(1);
      await s2.kill();
      const before = people.say(0, 1);
      await cluster.placed("u1", null, others);
      await cluster.complete(others, 2);
      const after = people.say(0, 1);
      for (const message of [before, after]) {
        const done = await people.done(message, 30_000);
        expect(done.ack.status).toBe("held");
        expect(done.message).toMatchObject({ held: true, server: "s1" });
      }

      await s2.start();
      await cluster.complete();
      await people.arrive(2);
      await cluster.placed("u2", "s2");
      await people.caughtUp(2, 0);
      const across = await people.tell(0, 2);
      expect(across.ack).toMatchObject({ status: "delivered", route: "remote" });
      expect(await s1.metric("beckon_bus_up")).toBe(1);
      expect(await people.verdict()).toMatchObject(FLAWLESS);
    },
  );

  clusterTest(
    "L4: right after its commit: who is connected elsewhere, unknown to it, has the message within 5 s",
    async () => {
      const cluster = await start();
      const [s1] = cluster.servers as [ClusterServer];
      const people = await People.at(cluster, ["s1", "s2", "s2"]);
      await people.sleep(1);
      // From now on it hears of nobody: to it he stays away, and its kick would reach nobody.
      s1.wire.swallow();
      await people.arrive(1);
      expect(people.serverOf(1)).toBe("s2");
      const message = people.say(0, 1);
      await until(() => people.acks.has(message), "the ACK");
      await s1.kill();
      const done = await people.done(message, 5_000);
      expect(done.ack).toMatchObject({ status: "held", server: "s1" });
      expect(done.message).toMatchObject({ held: true, server: "s2" });
      await people.settled();
      expect(await people.verdict()).toMatchObject(FLAWLESS);
    },
  );

  clusterTest(
    "L4: whoever arrives at another server while messages are being held has them within 5 s",
    async () => {
      const cluster = await start({ servers: 2 });
      const arriving = Array.from({ length: 20 }, (_, at) => at + 1);
      const people = await People.at(cluster, ["s1", ...arriving.map(() => "s2")]);
      for (let round = 0; round < 3; round++) {
        await Promise.all(arriving.map((person) => people.sleep(person)));
        for (const person of arriving) {
          // One is held before, one while, one after.
          people.say(0, person);
          const arrived = people.arrive(person);
          people.say(0, person);
          void arrived.then(() => people.say(0, person));
          await arrived;
        }
        await people.settled();
      }
      expect(await people.verdict()).toMatchObject(FLAWLESS);
    },
  );

  clusterTest(
    "L5: one server at a time has an intent, another one pushes where it died between claim and push, and at most once more where it died after",
    async () => {
      const cluster = await start();
      const { pushes, servers } = cluster;
      const [s1] = servers as [ClusterServer];
      const phones = Array.from({ length: 30 }, (_, at) => `phone${at}`);
      for (const phone of [...phones, "lost", "muted"]) {
        pushes.phones.register(phone, () => undefined);
        await s1.register(phone);
      }
      // All of them see all that is due.
      const sent = phones.map((phone, at) => servers[at % servers.length]!.send(phone, "hello"));
      await Promise.all(sent);
      const sentTo = 'beckon_pushes_total{provider="dev",class="message",outcome="sent"}';
      const pushed = async (): Promise<number> => {
        const counts = servers.map((one) => one.metric(sentTo));
        return (await Promise.all(counts)).reduce<number>((sum, count) => sum + (count ?? 0), 0);
      };
      await until(async () => (await pushed()) >= phones.length, "the pushes", 20_000);

      // The one that has claimed it dies with its request on the way: lost, or answered to nobody.
      let alive = [...servers];
      const dieClaiming = async (phone: string, treatment: "lose" | "mute"): Promise<void> => {
        const claimed = Promise.withResolvers<string>();
        pushes.treat = (server, tokens) => {
          if (!tokens.includes(phone)) return "take";
          claimed.resolve(server);
          return treatment;
        };
        await alive[0]!.send(phone, "hello");
        const claimant = cluster.server(await claimed.promise);
        await claimant.kill();
        alive = alive.filter((one) => one !== claimant);
        pushes.treat = () => "take";
      };
      await dieClaiming("lost", "lose");
      await dieClaiming("muted", "mute");
      const isMadeUpFor = (): boolean => pushes.count("lost") > 0 && pushes.count("muted") > 1;
      await until(isMadeUpFor, "the pushes that the other one makes up for", 30_000);
      const counts = ["lost", "muted", ...phones].map((phone) => pushes.count(phone));
      expect(counts).toEqual([1, 2, ...phones.map(() => 1)]);
    },
  );
});

describe("a server that is paused for 15 s", () => {
  clusterTest(
    "L8, L6: is dropped, its devices get in elsewhere, and when it goes on it rejoins and closes whoever came back elsewhere",
    async () => {
      // So that devices notice while it is paused.
      const cluster = await start({ toml: 'limits.heartbeat = "2s"' });
      const [s1, s2, s3] = cluster.servers as [ClusterServer, ClusterServer, ClusterServer];
      const others = [s1, s3];
      const people = await People.at(cluster, ["s1", "s2", "s3", "s2"]);
      const token = mintDevToken("raw");
      const raw = await new RawDevice(s2.url).hello({ token, device: "raw" });
      await cluster.placed("raw", "s2");

      const pausedAt = performance.now();
      s2.pause();
      // What he says now is in the sockets of a server that does not read.
      const unheard = people.say(1, 0);
      const moved = await people.chat(
        async () => {
          await cluster.complete(others, 2);
          await cluster.placed("raw", null, others);
          await until(
            () => people.serverOf(1) !== undefined && people.serverOf(1) !== "s2",
            "one who moves",
            30_000,
          );
          const again = await new RawDevice(s1.url).hello({
            token,
            device: "raw",
            epoch: raw.of("welcome")[0]!.epoch,
          });
          await cluster.placed("raw", "s1", others);
          await until(() => performance.now() - pausedAt > 15_000, "15 s", 20_000);
          return again;
        },
        50,
        [0, 1, 2, 3],
      );
      s2.resume();
      await cluster.complete();
      expect(await raw.end()).toMatchObject({ error: "replaced" });
      const delivered = raw.of("deliver").length;
      await s1.send("raw", "for the one that lives");
      await until(() => moved.of("deliver").length > 0, "the message");
      expect(raw.of("deliver").length).toBe(delivered);
      await people.done(unheard, 60_000);
      await people.chat(() => people.tell(0, 2));
      await people.settled();
      const { problems: _, late: __, ...rest } = FLAWLESS;
      // Late: to their phones those who were paused looked connected.
      expect(await people.verdict()).toMatchObject(rest);
    },
  );
});

describe("clocks 5 s apart", () => {
  clusterTest(
    "M2: of two servers that one device is connected to the higher epoch wins everywhere, and the other gets nothing more",
    async () => {
      const cluster = await start({ skewMs: [5_000, 0, -5_000] });
      const [fast, middle, slow] = cluster.servers as [ClusterServer, ClusterServer, ClusterServer];
      const epochOf = (device: RawDevice): number => device.of("welcome")[0]?.epoch ?? 0;
      let users = 0;

      for (const [first, second] of [
        [fast, slow],
        [slow, fast],
        [middle, slow],
      ] as const) {
        for (const remembers of [true, false]) {
          const user = `moves${++users}`;
          const token = mintDevToken(user);
          const old = await new RawDevice(first.url).hello({ token, device: user });
          await cluster.placed(user, first.name);
          const epoch = remembers ? epochOf(old) : 0;
          const now = await new RawDevice(second.url).hello({ token, device: user, epoch });
          expect(await old.end()).toMatchObject({ error: "replaced" });
          expect(epochOf(now)).toBeGreaterThan(epochOf(old));
          await cluster.placed(user, second.name);
          await first.send(user, "to the winner");
          await until(() => now.of("deliver").length === 1, "the message");
          expect(old.of("deliver")).toEqual([]);
          now.close();
        }
      }

      // At the same time, neither knowing of the other.
      for (let round = 0; round < 15; round++) {
        const user = `claims${round}`;
        const token = mintDevToken(user);
        const both = await Promise.all(
          [fast, slow].map((server) => new RawDevice(server.url).hello({ token, device: user })),
        );
        await until(
          () => both.filter(({ closed }) => closed !== undefined).length === 1,
          "one to win",
        );
        const winner = both.find(({ closed }) => closed === undefined)!;
        const loser = both.find((one) => one !== winner)!;
        // Or it was not let in, where it heard of the other before its own HELLO had been through the store.
        expect(["replaced", "unavailable"]).toContain((await loser.end()).error!);
        expect(epochOf(winner)).toBeGreaterThanOrEqual(epochOf(loser));
        await cluster.placed(user, winner === both[0] ? fast.name : slow.name);
        await middle.send(user, "to the winner");
        await until(() => winner.of("deliver").length === 1, "the message");
        expect(loser.of("deliver")).toEqual([]);
        winner.close();
      }
    },
  );
});
