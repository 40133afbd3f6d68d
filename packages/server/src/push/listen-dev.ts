import { devPushApp } from "./dev-http.ts";
import type { DevPushService } from "./dev.ts";

export interface DevPushListener {
  readonly url: URL;
  close(): Promise<void>;
}

/** Serves a dev push service, on loopback where nothing else is said. `port` 0: any that is free. */
export function listenDevPush(
  service: DevPushService,
  port: number,
  hostname = "127.0.0.1",
): DevPushListener {
  const app = devPushApp(service);
  const server = Bun.serve({ hostname, port, idleTimeout: 60, fetch: app.fetch });
  return { url: server.url, close: () => server.stop(true) };
}
