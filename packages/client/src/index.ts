export type { Beckon, Events } from "./beckon.ts";
export { connect } from "./client.ts";
export { type Clock, systemClock } from "./clock.ts";
export { BeckonError } from "./errors.ts";
export type { Forgotten } from "./log-out.ts";
export type { Ack, Message, MessageHandler, Unsent } from "./message.ts";
export type {
  AbortSignalLike,
  ConnectOptions,
  Preferences,
  PushOptions,
  SealCrypto,
  SendOptions,
  WebSocketConstructor,
  WebSocketLike,
} from "./options.ts";
export type { State, StateName } from "./state.ts";
export type { Wake } from "./wake-event.ts";
export type { Dial, Transport, TransportHandler } from "./transport.ts";
export type { Address, ErrorCode, WakeKey } from "@beckon/protocol";
