import type { Statement } from "bun:sqlite";

import type { Millis } from "@beckon/protocol";

import { silence, wakeIntentOf } from "./holder.ts";
import { isMuted, mute, mutesOf, quietDevice } from "./quiet.ts";
import type { Mutes } from "./quiet.ts";
import type { Holders } from "./sqlite-holders.ts";
import type { Rows } from "./sqlite-rows.ts";
import type { SqliteFile } from "./sqlite-schema.ts";
import type { Mute, RowRef, StoreLimits, WakeIntent, WakeOutcome } from "./store.ts";
import { claimDue, concludeWake, forgetWakes, generationOf, leaveFrom } from "./waking.ts";

export class Wakes {
  readonly #limits: StoreLimits;
  readonly #holders: Holders;
  readonly #rows: Rows;
  readonly #due: Statement<{ id: number }, [number, number]>;
  readonly #dueBut: Statement<{ id: number }, [number, number, string]>;
  readonly #nextDue: Statement<{ due: number | null }, []>;
  readonly #mutes: Statement<Mute, [string]>;
  readonly #setMute: Statement;
  readonly #deleteMute: Statement;

  constructor(file: SqliteFile, limits: StoreLimits, holders: Holders, rows: Rows) {
    this.#limits = limits;
    this.#holders = holders;
    this.#rows = rows;
    const first = (due: string, but = ""): string =>
      `SELECT * FROM (SELECT id, ${due} AS due FROM holder
         WHERE ${due} <= ?1 AND ${due} IS NOT NULL AND token IS NOT NULL ${but} ORDER BY ${due} LIMIT ?2)`;
    const but = "AND provider NOT IN (SELECT value FROM json_each(?3))";
    this.#due = file.prepare(
      `SELECT id, min(due) FROM (${first("due")} UNION ALL ${first("calls_due")})
       GROUP BY id ORDER BY min(due) LIMIT ?2`,
    );
    this.#dueBut = file.prepare(
      `SELECT id, min(due) FROM (${first("due", but)} UNION ALL ${first("calls_due", but)})
       GROUP BY id ORDER BY min(due) LIMIT ?2`,
    );
    const next = (due: string): string =>
      `(SELECT min(${due}) FROM holder WHERE ${due} IS NOT NULL AND token IS NOT NULL)`;
    this.#nextDue = file.prepare(
      `SELECT min(value) AS due FROM (SELECT ${next("due")} AS value UNION ALL SELECT ${next("calls_due")})`,
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
    const isHeld = (row: RowRef): boolean => this.#rows.has(row);
    for (;;) {
      this.#holders.flush();
      const wanted = limit - claimed.length;
      const due = wanted > 0 ? this.#find(now, wanted, except) : [];
      if (due.length === 0) return claimed;
      for (const { id } of due) {
        const device = this.#holders.byId(id)!;
        const room = limit - claimed.length;
        const { retentionMs } = this.#limits;
        const claim = { owner, until: now + leaseMs, retentionMs, room };
        const found = claimDue(device, device.held > 0, isHeld, claim, now);
        this.#holders.heldChanged(device);
        claimed.push(...found.map((one) => wakeIntentOf(device, one)));
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
    return this.#dueBut.all(now, limit, JSON.stringify(except));
  }

  done(
    owner: string,
    outcomes: readonly { user: string; device: string; call: string; outcome: WakeOutcome }[],
    now: Millis,
  ): void {
    for (const { user, device: name, call, outcome } of outcomes) {
      const device = this.#holders.user(user).devices.get(name);
      if (device === undefined || !concludeWake(device, owner, call, outcome, now)) continue;
      this.#holders.heldChanged(device);
      if (outcome.kind === "gone" && device.push?.token === outcome.token) {
        silence(device, now);
        this.#holders.changed(device);
      }
    }
  }

  clear(user: string, name: string, generation: number): number {
    const device = this.#holders.user(user).devices.get(name);
    const present = device === undefined ? 0 : generationOf(device);
    if (present === 0 || present !== generation || device!.held > 0) return present;
    forgetWakes(device!);
    this.#holders.heldChanged(device!);
    return 0;
  }

  leave(user: string, name: string, now: Millis): void {
    const device = this.#holders.user(user).devices.get(name);
    if (device === undefined || generationOf(device) === 0) return;
    leaveFrom(device, now);
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
