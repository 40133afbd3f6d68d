export type RefusalReason =
  /** The device is not connected here, or not with this epoch (L7). */
  | "not-here"
  /** It has unread held rows: nothing goes to it live. */
  | "behind"
  /** As much is in flight to it as may be. */
  | "full"
  /** What the same server had said before it may have been missed: this one may have overtaken something (L3). */
  | "missed"
  /** It was sent, and the connection ended without an acknowledgement: the device may have it (L2). */
  | "unacknowledged";

/**
 * Of the user who sent a message, for the server of the recipient to compare (B2): what it would gain by a move, a whole number from 1 on, and how many
 * associates it has. `leaving`: it was told to go, and has not gone yet. Undefined: it gains too little, or cannot be moved.
 */
export type SenderBid =
  | { readonly gain: number; readonly associates: number }
  | "leaving"
  | undefined;

/** What accepting servers and termination points say to each other about messages. */
export type ServerRecord =
  | {
      readonly kind: "deliver";
      /** Stands for the message in the answer. Positive. */
      readonly ref: number;
      readonly user: string;
      readonly device: string;
      /** Of the session that the sender of this sees: another one is *not here*. */
      readonly epoch: number;
      /** The newest refusal by the receiver that the sender of this has heard of; 0: none. */
      readonly heard: number;
      readonly bid: SenderBid;
      readonly body: Uint8Array;
    }
  | { readonly kind: "received"; readonly refs: readonly number[] }
  | {
      readonly kind: "refused";
      readonly ref: number;
      readonly reason: RefusalReason;
      /** Its number among the refusals of the server that says it; rises, also from one start of it to the next. */
      readonly number: number;
    }
  /** The store has something for the device. `device` "": for any of the user's. */
  | { readonly kind: "kick"; readonly user: string; readonly device: string }
  /** The sender of what was delivered is the one to be moved. `epoch`: of its session, as the sender of this sees it. */
  | {
      readonly kind: "move";
      readonly user: string;
      readonly device: string;
      readonly epoch: number;
    };

/** {@link ServerRecord}s over the bus, in order for each pair of servers; some may be lost, but never unnoticed by who hears the next. */
export interface ServerBus {
  /** False: the bus is away, and nothing was sent. */
  send(server: string, records: readonly ServerRecord[]): boolean;
  /** `missed`: something that the server said before these may have been lost. */
  onRecords(
    handler: (server: string, records: readonly ServerRecord[], missed: boolean) => void,
  ): void;
}
