/** What a browser does with a service worker for people alone, done by its own tools: it hands over pushes, and clicks on notifications. */
import type { Page, Worker } from "playwright-core";

import type { Browser } from "./browser.ts";

interface Shown {
  readonly title: string;
  readonly body: string;
  readonly data: unknown;
}

interface WorkerGlobals {
  readonly registration: {
    getNotifications(): Promise<unknown[]>;
    showNotification(title: string, options: Partial<Shown> & Pick<Shown, "data">): Promise<void>;
  };
  readonly clients: { openWindow: (url: string) => Promise<unknown> };
  dispatchEvent(event: unknown): void;
  shown: Promise<Shown>;
}

/** Hands a push to the service worker of `origin`. `page`: any tab, of that origin or not. */
export async function deliverPush(
  browser: Browser,
  page: Page,
  origin: string,
  data: string,
): Promise<void> {
  const devtools = await browser.devtools(page);
  const found = Promise.withResolvers<string>();
  devtools.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => {
    const own = registrations.find(({ scopeURL }) => new URL(scopeURL).origin === origin);
    if (own !== undefined) found.resolve(own.registrationId);
  });
  await devtools.send("ServiceWorker.enable");
  const registrationId = await found.promise;
  await devtools.send("ServiceWorker.deliverPushMessage", { origin, registrationId, data });
  await devtools.detach();
}

/**
 * From when it resolves `shown` of the worker is the next notification, when it is there. The browser is not asked for it before: it
 * forgets what it has noted and not shown yet when it is.
 */
export const watchShown = (worker: Worker): Promise<void> =>
  worker.evaluate(() => {
    const scope = globalThis as unknown as WorkerGlobals;
    const { registration } = scope;
    const show = registration.showNotification.bind(registration);
    scope.shown = new Promise((resolve, reject) => {
      registration.showNotification = async (title, options) => {
        const done = show(title, options);
        const { body = "", data } = options;
        done.then(() => resolve({ title, body, data }), reject);
        await done;
      };
    });
  });

export const shown = (worker: Worker): Promise<Shown> =>
  worker.evaluate(() => (globalThis as unknown as WorkerGlobals).shown);

/** As if somebody had clicked on the notification; answers what the worker wants to open, as a browser opens it for people alone. */
export const clickShown = (worker: Worker): Promise<string> =>
  worker.evaluate(async () => {
    const scope = globalThis as unknown as WorkerGlobals;
    const [notification] = await scope.registration.getNotifications();
    return new Promise<string>((resolve) => {
      scope.clients.openWindow = (url) => Promise.resolve(resolve(url));
      const Event = (globalThis as unknown as Record<string, new (...a: unknown[]) => unknown>)[
        "NotificationEvent"
      ]!;
      scope.dispatchEvent(new Event("notificationclick", { notification }));
    });
  });
