/** The tabs of an origin that use one storage are one client: one of them leads, and connects for all. */
import { formatUuid, type Millis, uuidv7 } from "@beckon/protocol";

import type { Beckon } from "../beckon.ts";
import { BeckonError } from "../errors.ts";
import { listen } from "../platform.ts";
import type { Share, Storage, Stored } from "../storage.ts";
import { pack, type Packet, unpack } from "./frames.ts";
import { createHost, type Host } from "./host.ts";
import type { TabPlatform } from "./platform.ts";
import { createTab } from "./tab.ts";

/** Part of every name, so that tabs which speak otherwise do not meet. */
const VERSION = 1;
/** Where the storage has the number of the last lead. */
const TERM = "t/lead";
/** How long a tab that is to lead waits for what was said before. */
const ECHO_MS: Millis = 1_000;

/**
 * `open` gives one storage each time; whoever's `read` resolves leads, until it closes the storage or is gone. `name` says which tabs
 * belong together.
 */
export function shareAmongTabs(name: string, open: () => Storage, platform: TabPlatform): Share {
  return (options, settings, start): Beckon => {
    const { clock, random, outboxLimit } = settings;
    const group = `${name}/tabs${VERSION}`;
    const id = formatUuid(uuidv7(clock.now(), random));
    const channel = platform.channel(group, (data) => take(unpack(data)));
    const auto = options.background === "auto";
    /** What this tab leads with, or stands for the lead with. */
    let storage: Storage | undefined;
    let host: Host | undefined;
    /** Names this tab's lead: each time another. */
    let leader: string | undefined;
    /** Of the last lead that this tab has heard of. */
    let term = 0;
    let isFrozen = false;
    let hasResigned = false;
    let over = false;
    let echo: (() => void) | undefined;
    let letGo = (): void => {};

    const tab = createTab({
      clock,
      random,
      outboxLimit,
      background: options.background === true,
      leads: () => leader !== undefined,
      resign,
      left,
      say(to, frame) {
        if (to === leader) host?.take(id, frame);
        else post({ kind: "up", tab: id, leader: to, frame });
      },
    });
    const unlisten = [
      platform.listen({ frozen, resumed }),
      listen({
        stirred() {},
        hidden: (hidden) => auto && tab.beckon.background(hidden),
      }),
    ];
    void begin();
    return tab.beckon;

    function post(packet: Packet): void {
      if (!over) channel.post(pack(packet));
    }

    /** The lock tells the others, for as long as this tab lives, that it does. */
    async function begin(): Promise<void> {
      try {
        letGo = await platform.hold(`${group}/${id}`);
      } catch (error) {
        return failed(error);
      }
      if (over) return letGo();
      post({ kind: "who" });
      void stand();
    }

    async function stand(): Promise<void> {
      if (hasResigned || isFrozen || storage !== undefined) return;
      let own: Storage | undefined;
      let values: Iterable<readonly [string, Stored]>;
      try {
        own = storage = open();
        values = await own.read();
      } catch (error) {
        // Else it was given up, as the page is frozen or the tab is closed.
        if (own === storage) failed(error);
        return;
      }
      if (own !== storage) return;
      await caughtUp();
      if (own !== storage) return;
      const read = [...values];
      const last = read.find(([key]) => key === TERM)?.[1] as number | undefined;
      const next = Math.max(term, last ?? 0, clock.now()) + 1;
      const name = `${id}/${next}`;
      const made = createHost({
        own: id,
        clock,
        outboxLimit,
        storage: own,
        values: read,
        first: { key: TERM, value: next },
        start: (gated) => start({ ...options, storage: gated, background: false }),
        say: (frame, to) => {
          if (to !== id) post({ kind: "down", leader: name, tab: to, frame });
          if (to === "" || to === id) tab.take(name, frame);
        },
        gone: (other, task) => platform.free(`${group}/${other}`, task),
      });
      host = made;
      await made.ready;
      if (host !== made || storage !== own) return;
      leader = name;
      term = next;
      post({ kind: "lead", leader, term });
      tab.led(leader);
      made.serve();
    }

    /** What the leaders before have said has come here: it was under way before what this says to itself now. */
    async function caughtUp(): Promise<void> {
      const sender = platform.channel(group, () => {});
      await new Promise<void>((resolve) => {
        const cancel = clock.after(ECHO_MS, resolve);
        echo = () => {
          cancel();
          resolve();
        };
        sender.post(pack({ kind: "echo", tab: id }));
      });
      echo = undefined;
      sender.close();
    }

    function failed(cause: unknown): void {
      const error = new BeckonError("storage-failed", "", { cause });
      tab.take("", { kind: "error", error });
      tab.take("", { kind: "ended", error });
    }

    function take(packet: Packet): void {
      if (over) return;
      switch (packet.kind) {
        case "who":
          if (leader !== undefined) post({ kind: "lead", leader, term });
          return;
        case "lead":
          // What comes late is of a lead that is over.
          if (host !== undefined || packet.term < term) return;
          term = packet.term;
          return tab.led(packet.leader);
        case "echo":
          if (packet.tab === id) echo?.();
          return;
        case "up":
          if (packet.leader === leader) host?.take(packet.tab, packet.frame);
          return;
        case "down":
          if (packet.tab === "" || packet.tab === id) tab.take(packet.leader, packet.frame);
      }
    }

    /** Another tab shall lead while this one cannot, and before anything else of this one runs. */
    function frozen(): void {
      isFrozen = true;
      const was = storage;
      storage = undefined;
      if (leader !== undefined) tab.leaderless();
      leader = undefined;
      if (host === undefined) void was?.close();
      else host.abandon();
      host = undefined;
    }

    function resumed(): void {
      isFrozen = false;
      post({ kind: "who" });
      void stand();
    }

    function resign(): void {
      hasResigned = true;
      for (const ignore of unlisten.splice(0)) ignore();
      if (host === undefined) void storage?.close();
      storage = undefined;
    }

    async function left(): Promise<void> {
      await host?.close();
      over = true;
      channel.close();
      letGo();
    }
  };
}
