/** This browser as a phone: the push service of its vendor wakes it, also when no page is open. */
import { type Beckon, connect, type Message, type StateName } from "@beckon/client";
import { indexedDb } from "@beckon/client/storage";

/** Whose phone it is. */
export const OWNER = "you";

const WORKER = "/worker.js";
/** A browser that cannot reach its push service may wait for it for ever, ms. */
const ANSWER_MS = 10_000;

export interface BrowserPhoneParts {
  readonly servers: () => readonly string[];
  /** With which pushes for it are made; another one after a start of another system. */
  readonly applicationServerKey: () => string;
  readonly token: () => Promise<string>;
  readonly events: BrowserPhoneEvents;
}

export interface BrowserPhoneEvents {
  /** What the SDK says; undefined: it is no phone any more. */
  readonly state: (state: StateName | undefined, server?: string) => void;
  readonly message: (message: Message) => void;
  /** The browser asks its push service, until anything else is told. */
  readonly asking: () => void;
  /** Why it can be none, in one line. */
  readonly problem: (why: string) => void;
}

export interface BrowserPhone {
  /** What can be done without a click: it is a phone already, or says why it can be none. */
  resume(): Promise<void>;
  /** After a click: browsers ask the user then. */
  start(): Promise<void>;
  /** The browser forgets that it was one. */
  stop(): Promise<void>;
  /** The data of a push whose notification has opened this page. */
  open(push: string): void;
}

export function createBrowserPhone(parts: BrowserPhoneParts): BrowserPhone {
  const { events } = parts;
  let client: { readonly beckon: Beckon; readonly key: string } | undefined;
  /** Was handed over before the SDK was there. */
  let waiting: string | undefined;
  let working: Promise<void> = Promise.resolve();

  function open(push: string): void {
    if (client === undefined) waiting = push;
    else void client.beckon.onWake(push);
  }

  async function begin(): Promise<void> {
    const key = parts.applicationServerKey();
    if (client?.key === key) return;
    await client?.beckon.close();
    client = undefined;
    events.asking();
    const subscription = await within(ANSWER_MS, subscribe(key));
    const beckon = connect({
      servers: parts.servers(),
      token: parts.token,
      storage: indexedDb(OWNER),
      background: "auto",
      push: { provider: "webpush", token: JSON.stringify(subscription) },
    });
    client = { beckon, key };
    beckon.on("message", events.message);
    beckon.on("state", ({ name, server, error }) => {
      if (client?.beckon !== beckon) return;
      events.state(name, server);
      if (error !== undefined && name === "closed") events.problem(error.message);
    });
    if (waiting !== undefined) open(waiting);
    waiting = undefined;
  }

  async function end(): Promise<void> {
    const ended = client;
    client = undefined;
    // Ends the subscription, too.
    await (await navigator.serviceWorker.getRegistration())?.unregister();
    await ended?.beckon.forget();
    events.state(undefined);
  }

  /** One after the other. */
  function next(work: () => Promise<void>): Promise<void> {
    working = working
      .then(work)
      .catch((error: unknown) => events.problem(noPush((error as Error).message)));
    return working;
  }

  const why = missing();
  if (why === undefined) {
    navigator.serviceWorker.addEventListener("message", ({ data }: MessageEvent<string>) =>
      open(data),
    );
  }

  return {
    open,
    async resume() {
      if (why !== undefined) {
        events.problem(noPush(why));
        return;
      }
      await next(async () => {
        if (Notification.permission !== "granted") return;
        const worker = await navigator.serviceWorker.getRegistration();
        const subscription = await worker?.pushManager.getSubscription();
        // There is one where somebody has clicked before; its key may be another system's.
        if (subscription) await begin();
      });
    },
    start: () =>
      next(async () => {
        if ((await Notification.requestPermission()) === "granted") await begin();
        else
          events.problem(
            "Notifications are not allowed here: the browser’s settings for this page say so.",
          );
      }),
    stop: () => next(end),
  };
}

function missing(): string | undefined {
  if (!isSecureContext) return "this page is not a secure context: open it at http://localhost";
  const isThere = "serviceWorker" in navigator && "PushManager" in globalThis;
  return isThere ? undefined : "it knows no Web Push";
}

const noPush = (why: string): string =>
  `This browser has no push service (${why.replace(/\.$/, "")}). The other phones need none.`;

async function subscribe(applicationServerKey: string): Promise<PushSubscription> {
  const { pushManager } = await navigator.serviceWorker.register(WORKER);
  await navigator.serviceWorker.ready;
  const options = { userVisibleOnly: true, applicationServerKey };
  try {
    return await pushManager.subscribe(options);
  } catch (error) {
    // A system that was here before had another key.
    const old = await pushManager.getSubscription();
    if (old === null) throw error;
    await old.unsubscribe();
    return pushManager.subscribe(options);
  }
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error("it does not answer")), ms);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
