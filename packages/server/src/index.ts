export { ConfigError, describeConfig, DEV_API_TOKEN, DEV_SECRET, loadConfig } from "./config.ts";
export type { Config, LoadOptions } from "./config.ts";
export { createNode, SendRefused } from "./node.ts";
export type { Node, NodeParts } from "./node.ts";
export type { Observer } from "./delivery/observer.ts";
export { createAuthenticate } from "./gateway/jwt.ts";
export { processLog, silentLog } from "./lib/log.ts";
export type { Log, LogFields } from "./lib/log.ts";
export { systemClock } from "./lib/clock.ts";
export { lastingPort } from "./lib/listen-lasting.ts";
export { DevPushService, devProvider } from "./push/dev.ts";
export { devPushApp } from "./push/dev-http.ts";
export { generateVapidKey, readVapidKey, vapidJwk } from "./push/vapid.ts";
export type { PushProvider } from "./push/provider.ts";
export { listenDevPush } from "./push/listen-dev.ts";
export {
  createMemoryBus,
  createServer,
  openSqlite,
  removePostgres,
  startServer,
} from "./server.ts";
export type { ConfiguredServer, Embedding, Server, ServerParts, SqliteStore } from "./server.ts";
export type { PlacedDevice, UserDevice, UserPlacement } from "./admin/backend.ts";
export type { Locality, ServerOverview, SystemOverview } from "./cluster/overview.ts";
export { parseDuration } from "./lib/duration.ts";
