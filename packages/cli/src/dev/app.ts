/** The endpoints behind the page, as `@beckon/console/stage` describes them. */
import type { StageEvent } from "@beckon/console/stage";
import { validUserId } from "@beckon/protocol";
import { type DevPushService, devPushApp } from "@beckon/server";
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { streamSSE } from "hono/streaming";

import { mintDevToken } from "../token.ts";
import { readAct } from "./act.ts";
import { EventQueue } from "./event-queue.ts";
import { guard, refusal } from "./guard.ts";
import type { Happening } from "./happening.ts";
import type { Stage } from "./stage.ts";
import { workerScript } from "./worker.ts";

export interface AppParts {
  readonly stage: Stage;
  readonly pushes: DevPushService;
  readonly phones: PhonesOwner;
}

/** Who brings the demo's phones: one page, or this process. */
export interface PhonesOwner {
  /** Resolves when the process has put its own away. `taken` is called when another page takes them from this one. */
  take(page: string, taken: () => void): Promise<void>;
  /** The page has gone; nothing happens where another has taken them. */
  release(page: string): void;
}

/** Events that wait for one reader; one that is slower begins anew. */
const WAITING = 1_000;
/** A comment this often keeps the connection from being taken for dead, ms. */
const HEARTBEAT_MS = 15_000;
const ACT_BYTES = 4_096;
const SCRIPT = { "content-type": "text/javascript; charset=utf-8", "cache-control": "no-cache" };

export function devApp({ stage, pushes, phones }: AppParts): Hono {
  const app = new Hono();
  app.use(guard);
  app.get("/worker.js", (c) => c.body(workerScript(), 200, SCRIPT));
  app.get("/dev/events", (c) => events(c, stage, phones));
  app.get("/dev/stage", (c) => c.json(stage.view));
  app.get("/dev/token", (c) => {
    const user = c.req.query("user") ?? "";
    if (validUserId(user)) return c.text(mintDevToken(user));
    const hint = "Ask as in /dev/token?user=eve";
    return c.json(refusal("a user id has 1 to 128 bytes without control characters", hint), 400);
  });
  app.post("/dev/acts", bodyLimit({ maxSize: ACT_BYTES }), async (c) => {
    const act = readAct(await c.req.json().catch(() => undefined));
    if (typeof act === "string")
      return c.json(refusal(act, "Send one act, as stage.ts has it."), 400);
    try {
      await stage.act(act);
    } catch (error) {
      return c.json(refusal((error as Error).message, "The terminal says more."), 400);
    }
    return c.body(null, 204);
  });
  app.route("/push", devPushApp(pushes));
  app.notFound((c) => c.json(refusal(`there is no ${c.req.path}`, "The page is at /."), 404));
  return app;
}

function events(c: Context, stage: Stage, phones: PhonesOwner): Response {
  const page = c.req.query("phones");
  return streamSSE(c, async (stream) => {
    const queue = new EventQueue<StageEvent>(WAITING);
    stream.onAbort(() => queue.end());
    if (page !== undefined) await phones.take(page, () => queue.put({ type: "phones-taken" }));
    queue.put({ type: "stage", ...stage.view });
    const stop = stage.listen((happening) => {
      if (isForPages(happening)) queue.put(happening);
    });
    const heartbeat = setInterval(() => void stream.write(": here\n\n"), HEARTBEAT_MS);
    for (let some = await queue.take(); some !== undefined; some = await queue.take()) {
      for (const event of some) await stream.writeSSE({ data: JSON.stringify(event) });
    }
    clearInterval(heartbeat);
    stop();
    if (page !== undefined) phones.release(page);
  });
}

function isForPages(happening: Happening): happening is StageEvent {
  const { type } = happening;
  return type !== "killed" && type !== "started" && type !== "report" && type !== "phones";
}
