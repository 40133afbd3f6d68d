/** The dev push service over HTTP, for servers and phones in other processes of the same machine. */
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { streamSSE } from "hono/streaming";
import * as z from "zod";

import type { DevPushService } from "./dev.ts";
import { outcomesOf } from "./outcomes.ts";
import { PUSH_ANSWER_MS } from "./provider.ts";
import type { PushOutcome, PushProvider } from "./provider.ts";

const ITEMS = 1000;
/** A comment this often keeps the phone's connection from being taken for dead, ms. */
const HEARTBEAT = 15_000;
/** When to try again a service that did not answer, ms. */
const RETRY_AFTER = 5000;

const batch = z.object({
  items: z
    .array(
      z.object({
        token: z.string().min(1).max(4096),
        body: z.string().max(4096),
        class: z.enum(["message", "call", "silent"]),
        expires: z.number(),
      }),
    )
    .max(ITEMS),
});

/**
 * `POST /v1/push` {items} → {outcomes}; `GET /v1/phones/:token` is a phone's ear: its pushes as server-sent events;
 * `DELETE /v1/phones/:token` forgets it. Whoever reaches it may do all that: serve it on loopback, or where only servers and phones of
 * a development system are.
 */
export function devPushApp(service: DevPushService): Hono {
  const app = new Hono();
  app.post("/v1/push", bodyLimit({ maxSize: ITEMS * 10_000 }), async (c) => {
    const sent = batch.safeParse(await c.req.json().catch(() => undefined));
    if (!sent.success) return c.json({ error: z.prettifyError(sent.error) }, 400);
    return c.json({ outcomes: sent.data.items.map((item) => service.send(item)) });
  });
  app.get("/v1/phones/:token", (c) => listen(c, service, c.req.param("token")));
  app.delete("/v1/phones/:token", (c) => {
    service.forget(c.req.param("token"));
    return c.body(null, 204);
  });
  return app;
}

function listen(c: Context, service: DevPushService, token: string): Response {
  return streamSSE(c, async (stream) => {
    const stop = service.register(token, (data) => void stream.writeSSE({ data }));
    const beat = (): unknown => stream.write(": here\n\n");
    const heartbeat = setInterval(beat, HEARTBEAT);
    beat();
    await new Promise<void>((resolve) => stream.onAbort(resolve));
    clearInterval(heartbeat);
    stop();
  });
}

/** Pushes through a service at `url`. */
export function devHttpProvider(url: URL, fetch: typeof globalThis.fetch): PushProvider {
  const endpoint = new URL("v1/push", url.href.endsWith("/") ? url : `${url.href}/`);
  return {
    name: "dev",
    async send(items) {
      const outcomes: PushOutcome[] = [];
      const signal = AbortSignal.timeout(PUSH_ANSWER_MS);
      for (let at = 0; at < items.length; at += ITEMS) {
        const some = items.slice(at, at + ITEMS);
        outcomes.push(...(await post(some, signal)));
      }
      return outcomes;
    },
    close: () => Promise.resolve(),
  };

  async function post(
    items: readonly object[],
    signal: AbortSignal,
  ): Promise<readonly PushOutcome[]> {
    try {
      const response = await fetch(endpoint, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ items }),
        signal,
      });
      const outcomes = outcomesOf(await response.json(), items.length);
      if (outcomes !== undefined) return outcomes;
    } catch {
      // Not there, or not such a service: nobody can say what became of the pushes.
    }
    return items.map(() => ({ kind: "retry", after: RETRY_AFTER }));
  }
}
