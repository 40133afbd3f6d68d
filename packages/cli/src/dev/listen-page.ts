import type { Hono } from "hono";

export interface PageListener {
  readonly url: string;
  close(): Promise<void>;
}

/** Serves the page, which Bun makes from its HTML when it is asked for first, and what is behind it; on loopback, and nowhere else. */
export function listenPage(page: Bun.HTMLBundle, app: Hono, port: number): PageListener {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port,
    // Seconds: longer than the silence between two comments of a stream.
    idleTimeout: 60,
    development: false,
    routes: { "/": page },
    fetch: app.fetch,
  });
  return { url: `http://localhost:${server.port}`, close: () => server.stop(true) };
}
