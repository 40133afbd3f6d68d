import type { Statement } from "bun:sqlite";

import type { Millis } from "@beckon/protocol";

import { silence, wakeIntentOf } from "./holder.ts";
import { conclude, lease, renewForDeparture } from "./intent.ts";
import { hush, isMuted, mute, mutesOf, quietDevice } from "./quiet.ts";
import type { Mutes } from "./quiet.ts";
import type { Holders } from "./sqlite-holders.ts";
import type { Mute, WakeIntent, WakeOutcome } from "./store.ts";
import type { SqliteFile } from "./sqlite-schema.ts";

export class Wakes {
  readonly #holders: Holders;
  readonly #due: Statement<{ id: number }, [number, number]>;
  readonly #dueBut: Statement<{ id: number }, [number, string, number]>;
  readonly #nextDue: Statement<{ due: number | null }, []>;
  readonly #mutes: Statement<Mute, [string]>;
  readonly #setMute: Statement;
  readonly #deleteMute: Statement;

  constructor(file: SqliteFile, holders: Holders) {
    this.#holders = holders;
    this.#due = file.prepare(
      `SELECT id FROM holder WHERE due <= ? AND due IS NOT NULL AND token IS NOT NULL
       ORDER BY due LIMIT ?`,
    );
    this.#dueBut = file.prepare(
      `SELECT id FROM holder WHERE due <= ? AND due IS NOT NULL AND token IS NOT NULL
         AND provider NOT IN (SELECT value FROM json_each(?)) ORDER BY due LIMIT ?`,
    );
    this.#nextDue = file.prepare(
      "SELECT min(due) AS due FROM holder WHERE due IS NOT NULL AND token IS NOT NULL",
    );
    this.#mutes = file.prepare("SELECT conversation, until FROM mute WHERE user = ?");
    this.#setMute = file.prepare("INSERT OR REPLACE INTO mute VALUES (?, ?, ?)");
    this.#deleteMute = file.prepare("DELETE FROM mute WHERE user = ? AND conversation = ?");
  }

  claim(
    owner: string,
    leaseMs: Millis,
    limit: number,
    except: readonly string[],
    now: Millis,
  ): WakeIntent[] {
    const claimed: WakeIntent[] = [];
    for (;;) {
      this.#holders.flush();
      const wanted = limit - claimed.length;
      const due = wanted > 0 ? this.#find(now, wanted, except) : [];
      if (due.length === 0) return claimed;
      for (const { id } of due) {
        const device = this.#holders.byId(id)!;
        this.#holders.heldChanged(device);
        if (device.held === 0) {
          device.intent = undefined;
          continue;
        }
        lease(device.intent!, owner, now + leaseMs);
        claimed.push(wakeIntentOf(device));
      }
      // A lease of no length would be found due again.
      if (due.length < wanted || leaseMs <= 0) {
        this.#holders.flush();
        return claimed;
      }
    }
  }

  #find(now: Millis, limit: number, except: readonly string[]): { id: number }[] {
    if (except.length === 0) return this.#due.all(now, limit);
    return this.#dueBut.all(now, JSON.stringify(except), limit);
  }

  done(
    owner: string,
    outcomes: readonly { user: string; device: string; outcome: WakeOutcome }[],
    now: Millis,
  ): void {
    for (const { user, device: name, outcome } of outcomes) {
      const device = this.#holders.user(user).devices.get(name);
      if (device?.intent?.owner !== owner) continue;
      conclude(device.intent, outcome, now);
      hush(device);
      this.#holders.heldChanged(device);
      if (outcome.kind === "gone" && device.push?.token === outcome.token) {
        silence(device, now);
        this.#holders.changed(device);
      }
    }
  }

  clear(user: string, name: string, generation: number): number {
    const device = this.#holders.user(user).devices.get(name);
    if (device?.intent === undefined) return 0;
    if (device.generation !== generation || device.held > 0) return device.generation;
    device.intent = undefined;
    this.#holders.heldChanged(device);
    return 0;
  }

  leave(user: string, name: string, now: Millis): void {
    const device = this.#holders.user(user).devices.get(name);
    if (device?.intent === undefined) return;
    renewForDeparture(device.intent, now);
    hush(device);
    this.#holders.heldChanged(device);
  }

  quiet(
    userName: string,
    deviceName: string,
    conversation: string,
    until: Millis,
    now: Millis,
  ): boolean {
    const user = this.#holders.user(userName);
    if (conversation === "") {
      const device = user.devices.get(deviceName);
      if (device === undefined) return false;
      quietDevice(device, until, now);
      this.#holders.changed(device);
      return true;
    }
    const gone = mute(this.#mutesOf(userName), conversation, until, now);
    for (const name of gone) this.#deleteMute.run(userName, name);
    if (until <= now) return true;
    this.#setMute.run(userName, conversation, until);
    for (const holder of [user.own, ...user.devices.values()]) {
      if (holder === undefined || !isMuted(holder.intent, conversation)) continue;
      holder.intent = undefined;
      this.#holders.heldChanged(holder);
    }
    return true;
  }

  mutes(user: string, now: Millis): Mute[] {
    return mutesOf(this.#mutesOf(user), now);
  }

  #mutesOf(user: string): Mutes {
    return new Map(this.#mutes.all(user).map((row) => [row.conversation, row.until]));
  }

  nextDue(now: Millis): Millis | undefined {
    const due = this.#nextDue.get()?.due ?? undefined;
    return due === undefined ? undefined : Math.max(0, due - now);
  }
}
