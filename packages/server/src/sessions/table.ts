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
}

export type SessionChange =
  /** A connection of a device that had none, or one with a higher epoch than `before`. */
  | { readonly kind: "appeared"; readonly session: Session; readonly before: Session | undefined }
  /** Same connection, other particulars (background, set). */
  | { readonly kind: "changed"; readonly session: Session }
  /** Closed, or its server was dropped. */
  | { readonly kind: "gone"; readonly session: Session };

export interface SessionTable {
  /** Name of the server whose partition this table owns. */
  readonly server: string;
  /** All sessions of a user, of every server. Empty: connected nowhere. At most one a device: the one with the highest epoch. */
  lookup(user: string): readonly Session[];
  find(user: string, device: string): Session | undefined;
  /** max(clock, the device's last epoch + 1, the table's epoch for the device + 1). */
  nextEpoch(user: string, device: string, lastEpoch: number): number;
  /** Adds a connection that terminates here. */
  open(session: Omit<Session, "server">): void;
  /** Both are ignored unless `epoch` is that of the entry. */
  setBackground(user: string, device: string, epoch: number, background: boolean): void;
  close(user: string, device: string, epoch: number): void;
  /** The user's set of durable devices has changed: own entries take it on, other servers are told. Older versions are ignored. */
  announceSet(user: string, setVersion: number, setSize: number): void;
  /** Whether the device was connected within the last `ms`, as far as this table saw. Bounded memory. */
  wasConnectedWithin(user: string, device: string, ms: number): boolean;
  /** Connections that terminate here. */
  readonly ownSize: number;
  /** Users with a session that terminates here. */
  ownUsers(): Iterable<string>;
  /**
   * Whether what the table says of others may be relied on: the bus is up, and what it missed has been caught up with.
   * While false, an accepting server asks the store instead of trusting `setSize`.
   */
  readonly trusted: boolean;
  /** The answer ends the listening. */
  onChange(listener: (change: SessionChange) => void): () => void;
}
