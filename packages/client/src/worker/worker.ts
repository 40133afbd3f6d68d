/** `@beckon/client/worker`: the part of Web Push that is in a service worker. */
import { webCrypto } from "../crypto.ts";
import type { BeckonError } from "../errors.ts";
import type { SealCrypto } from "../options.ts";
import { registerPush } from "../registration.ts";
import { find } from "../wake.ts";
import { toWake, type Wake } from "../wake-event.ts";
import { keptDevice, type KeptDevice, keptNames, openKept } from "./kept.ts";
import type { ChangeEvent, ClickEvent, Page, WorkerScope } from "./scope.ts";

export interface WorkerOptions {
  /** The name that `indexedDb` was given. Default: any of this origin, as of each of the users who share a browser. */
  readonly storage?: string;
  /**
   * What the notification says; undefined: there is none, which browsers allow only while a page is seen. `wake` undefined: the push
   * is of Beckon, and cannot be opened here: it has expired, was opened before, or is for somebody who has logged out.
   */
  readonly show: (
    wake: Woken | undefined,
    isPageSeen: boolean,
  ) => Notice | undefined | Promise<Notice | undefined>;
  /** What a click opens where no page is open. Default: "/". */
  readonly page?: string;
  /**
   * The application's token for the user of that storage, as `connect` has it. With it a subscription that the browser has put in the
   * place of another is registered at once; without it the next page that connects does it.
   */
  readonly token?: (storage: string) => string | Promise<string>;
  /** Default: WebCrypto. */
  readonly crypto?: SealCrypto;
}

/** What a sealed wake says. */
export interface Woken extends Wake {
  /** Whose storage it was opened with. */
  readonly storage: string;
}

export interface Notice {
  readonly title: string;
  /** As `showNotification` takes them; `data` is what the helper needs. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** In place of the worker's `page`, for this one. */
  readonly page?: string;
}

/** What a notification of ours carries. */
interface Carried {
  readonly beckon: string;
  readonly page: string;
}

/**
 * Takes pushes of Beckon from now on, and leaves others alone: opens them, shows them, hands them to the pages that are open, and opens
 * one on a click, with the wake in the fragment of its URL. For the first turn of a service worker.
 */
export function beckonWorker(options: WorkerOptions): void {
  const { crypto = webCrypto, storage, token } = options;
  const names = async (): Promise<readonly string[]> =>
    storage === undefined ? keptNames() : [storage];
  const open = async (data: unknown): Promise<Woken | undefined> => {
    for (const name of await names()) {
      // What another one's key has sealed is refused.
      const hint = await openKept(data, name, crypto).catch(() => {});
      if (hint !== undefined) return { ...toWake(hint), storage: name };
    }
    return undefined;
  };
  const register = async (subscription: string): Promise<void> => {
    const kept = token && (await keptDevice(await names()));
    if (kept) await registerAt(kept, await token(kept.storage), subscription);
  };
  runWorker(options, globalThis as unknown as WorkerScope, { open, register });
}

/** Servers that are asked until one registers the device. */
const ASKED = 3;

/** Rejects where none of them did: the next page that connects does it. */
async function registerAt(kept: KeptDevice, token: string, subscription: string): Promise<void> {
  const { device, key } = kept;
  const push = { provider: "webpush", token: subscription };
  let failure: unknown;
  for (const server of kept.servers.slice(0, ASKED)) {
    try {
      return await registerPush({ server, token, device, push, key });
    } catch (error) {
      failure = error;
      if (!(error as BeckonError).retryable) break;
    }
  }
  throw failure;
}

/** What a worker needs of the storages of its origin. */
interface Kept {
  open(data: unknown): Promise<Woken | undefined>;
  register(subscription: string): Promise<void>;
}

/** In a service worker, or in what a test has for one. */
export function runWorker(options: WorkerOptions, scope: WorkerScope, kept: Kept): void {
  const pages = (): Promise<readonly Page[]> =>
    // A page that was there before the worker is none of its own yet.
    scope.clients.matchAll({ type: "window", includeUncontrolled: true });

  async function pushed(beckon: string): Promise<void> {
    // A browser takes the permission to push from who shows nothing, so a storage that fails is one that opens nothing.
    const opening = kept.open({ beckon }).catch(() => undefined);
    const [wake, all] = await Promise.all([opening, pages()]);
    // What was opened twice is for nobody any more.
    for (const page of wake === undefined ? [] : all) {
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker's pages are of its own origin
      page.postMessage({ beckon });
    }
    const isSeen = all.some(({ visibilityState }) => visibilityState === "visible");
    const notice = await options.show(wake, isSeen);
    if (notice === undefined) return;
    const carried: Carried = { beckon, page: notice.page ?? options.page ?? "/" };
    await scope.registration.showNotification(notice.title, { ...notice.options, data: carried });
  }

  async function clicked({ beckon, page }: Carried): Promise<void> {
    const [first] = await pages();
    // One that is open was handed the wake when it came.
    if (first !== undefined) await first.focus();
    else
      await scope.clients.openWindow(`${page}#${encodeURIComponent(JSON.stringify({ beckon }))}`);
  }

  async function changed({ newSubscription, oldSubscription }: ChangeEvent): Promise<void> {
    const fresh =
      newSubscription ??
      (oldSubscription &&
        (await scope.registration.pushManager.subscribe(oldSubscription.options)));
    if (fresh) await kept.register(JSON.stringify(fresh));
  }

  scope.addEventListener("push", (event) => {
    const beckon = find(event.data?.text());
    if (beckon !== undefined) event.waitUntil(pushed(beckon));
  });
  scope.addEventListener("notificationclick", (event: ClickEvent) => {
    const { notification } = event;
    if (find(notification.data) === undefined) return;
    notification.close();
    event.waitUntil(clicked(notification.data as Carried));
  });
  scope.addEventListener("pushsubscriptionchange", (event) => event.waitUntil(changed(event)));
}
