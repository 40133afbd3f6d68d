import type { Hono } from "hono";

export interface PageListener {
  readonly url: string;
  close(): Promise<void>;
}

/** What Bun makes from HTML, when it is asked for first, by its path. */
export type Pages = Readonly<Record<string, Bun.HTMLBundle>>;

/** Serves the pages and what is behind them; on loopback, and nowhere else. */
export function listenPage(pages: Pages, app: Hono, port: number): PageListener {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port,
    // Seconds: longer than the silence between two comments of a stream.
    idleTimeout: 60,
    development: false,
    routes: pages,
    fetch: app.fetch,
  });
  return { url: `http://localhost:${server.port}`, close: () => server.stop(true) };
}
