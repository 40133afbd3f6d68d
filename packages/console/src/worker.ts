/** The page's service worker: shows that a push has come, and opens the page at a click. It is served alone, and so imports no module. */
interface Lasting {
  waitUntil(done: Promise<unknown>): void;
}
interface PushEvent extends Lasting {
  readonly data: { text(): string } | null;
}
interface ClickEvent extends Lasting {
  readonly notification: { readonly data: string; close(): void };
}
interface Page {
  readonly url: string;
  readonly visibilityState: string;
  postMessage(data: string): void;
  focus(): Promise<unknown>;
}
/** What of a service worker is used: its types and those of a page cannot be together. */
declare const self: {
  onpush: (event: PushEvent) => void;
  onnotificationclick: (event: ClickEvent) => void;
  readonly clients: {
    matchAll(options: object): Promise<readonly Page[]>;
    openWindow(url: string): Promise<unknown>;
  };
  readonly registration: { showNotification(title: string, options: object): Promise<void> };
};

self.onpush = (event) => {
  if (event.data !== null) event.waitUntil(pushed(event.data.text()));
};
self.onnotificationclick = (event) => {
  event.notification.close();
  event.waitUntil(clicked(event.notification.data));
};

/** It is sealed, and the page has the key: what it says is seen there. */
async function pushed(data: string): Promise<void> {
  const all = await pages();
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker's pages are of its own origin
  for (const page of all) page.postMessage(data);
  if (all.some(({ visibilityState }) => visibilityState === "visible")) return;
  await self.registration.showNotification("A new message", {
    body: "Beckon has woken this browser.",
    data,
  });
}

/** A page that is open was handed the push when it came. */
async function clicked(data: string): Promise<void> {
  const [first] = await pages();
  if (first !== undefined) await first.focus();
  else await self.clients.openWindow(`/#${encodeURIComponent(data)}`);
}

async function pages(): Promise<readonly Page[]> {
  // One that was there before the worker is none of its own yet.
  const all = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  return all.filter(({ url }) => new URL(url).pathname === "/");
}
