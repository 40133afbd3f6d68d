import type { AckStatus, SendErrorCode } from "@beckon/protocol";
import { decodeDeliverBody } from "@beckon/protocol";

import type { PendingRow } from "../store/store.ts";

/** What became of messages on this server. Plain numbers: counting costs nothing, rendering reads them (B4). */
export class Counters {
  readonly #server: string;
  ackedDelivered = 0;
  ackedHeld = 0;
  /** Live deliveries of messages accepted here, acknowledged over a connection to this server. */
  deliveredLocal = 0;
  /** The same over a connection to another server. */
  deliveredRemote = 0;
  /** Rows held. */
  held = 0;
  /** Held messages delivered by this server that it had accepted itself. */
  heldDeliveredLocal = 0;
  /** Held messages delivered by this server that another one had accepted. */
  heldDeliveredRemote = 0;
  readonly refusals: Map<string, number> = new Map();
  /** Connections that were closed, by the error that says why. */
  readonly failures: Map<string, number> = new Map();
  readonly pushes: Map<string, number> = new Map();

  constructor(server: string) {
    this.#server = server;
  }

  answered(status: AckStatus): void {
    if (status === "delivered") this.ackedDelivered++;
    else this.ackedHeld++;
  }

  refused(code: SendErrorCode): void {
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
  }

  delivered(here: boolean): void {
    if (here) this.deliveredLocal++;
    else this.deliveredRemote++;
  }

  heldDelivered(row: PendingRow, user: string): void {
    const body = decodeDeliverBody(row.body);
    // A copy of what the user's other device sent is no delivery.
    if (body.to !== user) return;
    if (body.server === this.#server) this.heldDeliveredLocal++;
    else this.heldDeliveredRemote++;
  }

  failed(code: string): void {
    this.failures.set(code, (this.failures.get(code) ?? 0) + 1);
  }

  pushed(outcome: string): void {
    this.pushes.set(outcome, (this.pushes.get(outcome) ?? 0) + 1);
  }
}
