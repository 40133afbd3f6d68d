/**
 * The messages between servers. Each begins with the version of its encoding. Bytes after the last field that this version knows are
 * passed over, so that a later one may add fields; all else that it does not know is a {@link BadMessage}.
 */
export { BadMessage } from "./bytes.ts";
export {
  decodeDelivery,
  type DeliveryMessage,
  type DeliveryRecord,
  encodeDelivery,
  type RefusalReason,
} from "./delivery-messages.ts";
export {
  decodeSessionMessage,
  type Delta,
  encodeSessionMessage,
  type Heartbeat,
  type RemovedRecord,
  type ServerState,
  type SessionMessage,
  type SessionRecord,
  type SetRecord,
  type SnapshotPage,
  type SnapshotRequest,
} from "./session-messages.ts";

/** Where each server publishes its heartbeats, session deltas and snapshots: one subject, so that one publisher's are in order. */
export const SESSIONS_SUBJECT = "beckon.sessions";

/** Where a server listens for the delivery messages to it. */
export function deliverySubject(server: string): string {
  return `beckon.delivery.${server}`;
}
