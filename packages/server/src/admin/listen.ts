import type { Hono } from "hono";

export interface AdminListener {
  readonly url: URL;
  /** Requests that are under way are finished. */
  close(): Promise<void>;
  /** As if the process had been killed. */
  kill(): void;
}

/** Seconds: longer than a message can take that waits for a device and then for the store. */
const IDLE = 60;

export function listenAdmin(app: Hono, hostname: string, port: number): AdminListener {
  const server = Bun.serve({ hostname, port, idleTimeout: IDLE, fetch: app.fetch });
  return { url: server.url, close: () => server.stop(), kill: () => void server.stop(true) };
}
