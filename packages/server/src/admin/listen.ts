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
  const server = Bun.serve({
    hostname,
    port,
    idleTimeout: IDLE,
    fetch: (request, { url }) => app.fetch(withWholeUrl(request, url)),
  });
  return { url: server.url, close: () => server.stop(), kill: () => void server.stop(true) };
}

/** Without a Host header, as health checks over HTTP/1.0 come, a request's URL is a path alone, which no route is found by. */
function withWholeUrl(request: Request, base: URL): Request {
  return request.url.startsWith("/")
    ? new Request(new URL(request.url, base).href, request)
    : request;
}
