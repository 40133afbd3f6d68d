/** The service worker of docs/sdk.md. */
interface PushEvent {
  readonly data: { text(): string };
  waitUntil(done: Promise<unknown>): void;
}
interface ClickEvent {
  readonly notification: { readonly data: string; close(): void };
  waitUntil(done: Promise<unknown>): void;
}
declare const self: {
  onpush: (event: PushEvent) => void;
  onnotificationclick: (event: ClickEvent) => void;
  readonly clients: {
    matchAll(options: { type: "window" }): Promise<readonly { postMessage(data: string): void }[]>;
    openWindow(url: string): Promise<unknown>;
  };
  readonly registration: {
    showNotification(title: string, options: { data: string }): Promise<void>;
  };
};

self.onpush = (event) => event.waitUntil(pushed(event.data.text()));
self.onnotificationclick = (event) => {
  event.notification.close();
  event.waitUntil(self.clients.openWindow(`/#${encodeURIComponent(event.notification.data)}`));
};

async function pushed(data: string): Promise<void> {
  for (const page of await self.clients.matchAll({ type: "window" })) {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker's clients are of its own origin
    page.postMessage(data);
  }
  await self.registration.showNotification("A new message", { data });
}
