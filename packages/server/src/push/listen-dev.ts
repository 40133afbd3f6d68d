import { devPushApp } from "./dev-http.ts";
import type { DevPushService } from "./dev.ts";

export interface DevPushListener {
  readonly url: URL;
  close(): Promise<void>;
}

/** Serves a dev push service on loopback, and nowhere else. `port` 0: any that is free. */
export function listenDevPush(service: DevPushService, port: number): DevPushListener {
  const app = devPushApp(service);
  const server = Bun.serve({ hostname: "127.0.0.1", port, idleTimeout: 60, fetch: app.fetch });
  return { url: server.url, close: () => server.stop(true) };
}
