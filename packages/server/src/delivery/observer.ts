/**
 * What happens on one server, for who watches it: each method is called as it happens, within the server's own turn. It MUST NOT throw, and
 * MUST NOT wait. A server that nobody watches makes none of these.
 */
export interface Observer {
  /** A message has been committed to the store, so that its sender can be told. Copies for the sender's own devices are not told of. */
  held(event: HeldEvent): void;
  /** A SEND is refused after it was accepted; `store-unavailable`: the store does not take it. */
  refused(event: RefusedEvent): void;
  /** The push service has answered, or there was nothing to say to it. */
  pushed(event: PushedEvent): void;
  /** A device has acknowledged a message that this server accepted, or that it read from the store. */
  delivered(event: DeliveredEvent): void;
  /** A connection of a device to this server. */
  connected(device: ObservedDevice): void;
  disconnected(device: ObservedDevice): void;
}

export interface ObservedMessage {
  /** UUID. */
  readonly id: string;
  readonly from: string;
  readonly to: string;
}

export interface HeldEvent extends ObservedMessage {
  /** From its acceptance until the commit. */
  readonly ms: number;
}

export interface RefusedEvent extends ObservedMessage {
  readonly code: string;
}

export interface DeliveredEvent extends ObservedMessage {
  readonly device: string;
  /** Where the sender is connected, and where the device is. */
  readonly accepted: string;
  readonly server: string;
  /** It came from the store. */
  readonly stored: boolean;
}

export interface PushedEvent {
  readonly user: string;
  readonly device: string;
  /** The server that the push names. */
  readonly names: string;
  /** What the push service sees; undefined: nothing can be said to this device. */
  readonly body: string | undefined;
  readonly outcome: "sent" | "gone" | "retry" | "rejected" | "impossible";
}

export interface ObservedDevice {
  readonly user: string;
  readonly device: string;
}
