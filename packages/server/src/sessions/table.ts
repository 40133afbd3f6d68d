/**
 * The session table: which devices are connected to the system, and where (M2, M3).
 * Every server answers from its own memory. It holds its own partition, of which it is the only writer, and a
 * replica of each other server's partition.
 */

/** One connection of a device, at its termination point. */
export interface Session {
  readonly user: string;
  readonly device: string;
  /** Name of the server where the connection terminates. */
  readonly server: string;
  /** The higher epoch wins; a tie goes to the greater server name. */
  readonly epoch: number;
  /** Durable devices are owed what they miss; session devices are not. */
  readonly durable: boolean;
  /** In background: connected, but to be woken as if away. */
  readonly background: boolean;
  /** Version of the set of the user's durable devices, and how many there are. */
  readonly setVersion: number;
  readonly setSize: number;
  /**
   * Known to be one of that set, at that version. A durable device that is not may have been forgotten, or have become dormant, while it
   * was connected: it must not be counted in place of one that is away (L1). Never true of a session device.
   */
  readonly member: boolean;
}

/** A durable device is a member of the set that it was registered in. */
export type OpenedSession = Omit<Session, "server" | "member">;

export type SessionChange =
  /**
   * A connection of a device that had none, or one that has displaced `before`. A server whose own connection is `before` closes
   * it as `replaced`, and then tells the table of the close as of any other; no `gone` is told for it.
   */
  | { readonly kind: "appeared"; readonly session: Session; readonly before: Session | undefined }
  /** Same connection, other particulars (background, set). */
  | { readonly kind: "changed"; readonly session: Session }
  /**
   * The device, which is connected here, was forgotten after it had connected. The server closes the connection, and then tells the
   * table so as of any other.
   */
  | { readonly kind: "revoked"; readonly session: Session }
  /** Closed, or its server was dropped. */
  | {
      readonly kind: "gone";
      readonly session: Session;
      /** The device said that it goes. */
      readonly goodbye?: boolean;
    };

export interface SessionTable {
  /** Name of the server whose partition this table owns. */
  readonly server: string;
  /**
   * All sessions of a user, of every server. Empty: connected nowhere. At most one a device: the one with the highest epoch. All carry the
   * newest set of the user's durable devices that this server has heard of. Neither array nor sessions are changed later: they may be kept.
   */
  lookup(user: string): readonly Session[];
  find(user: string, device: string): Session | undefined;
  /**
   * max(clock, the device's last epoch + 1, the table's epoch for the device + 1); never the same twice for a device. A last epoch
   * that is more than a year ahead of the clock counts as a year ahead.
   */
  nextEpoch(user: string, device: string, lastEpoch: number): number;
  /**
   * Adds a connection that terminates here. If one of the device with a higher epoch is known, this one has lost already: the listeners
   * hear `appeared` with this one as `before`, within the call. The set of a durable device's session is one that has it.
   */
  open(session: OpenedSession): void;
  /** This and `close` are ignored unless `epoch` is that of the own entry. */
  setBackground(user: string, device: string, epoch: number, background: boolean): void;
  /** `goodbye`: the device said that it goes, and is not one that may come back in a moment. */
  close(user: string, device: string, epoch: number, goodbye?: boolean): void;
  /** The user's set of durable devices has changed: own entries take it on, other servers are told. Older versions are ignored. */
  announceSet(user: string, setVersion: number, setSize: number): void;
  /**
   * Whether the device is connected, or was within the last `ms` and did not say goodbye, as far as this table saw. Bounded memory.
   */
  wasConnectedWithin(user: string, device: string, ms: number): boolean;
  /** Connections that terminate here. */
  readonly ownSize: number;
  /** Connections that terminate at the server, as far as is known here. */
  sizeOf(server: string): number;
  /** Users with a session that terminates here. */
  ownUsers(): Iterable<string>;
  /**
   * Whether what the table says of others, and of the sets of durable devices, may be relied on: the bus is up, and what may have been
   * missed has been caught up with. False at a start, after a stall, and while another server is silent for so long that it may have
   * died with an announcement untold. While false, an accepting server asks the store instead of trusting `setSize`.
   */
  readonly trusted: boolean;
  /** The answer ends the listening. */
  onChange(listener: (change: SessionChange) => void): () => void;
}
