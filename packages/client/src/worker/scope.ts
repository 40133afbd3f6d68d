/** What of a service worker is used: its types and those of a page cannot be together. */
export interface WorkerScope {
  readonly clients: {
    matchAll(options: object): Promise<readonly Page[]>;
    openWindow(url: string): Promise<unknown>;
  };
  readonly registration: {
    readonly pushManager: { subscribe(options: object): Promise<Subscription> };
    showNotification(title: string, options: object): Promise<void>;
  };
  addEventListener(type: "push", listener: (event: PushEvent) => void): void;
  addEventListener(type: "notificationclick", listener: (event: ClickEvent) => void): void;
  addEventListener(type: "pushsubscriptionchange", listener: (event: ChangeEvent) => void): void;
}

/** A page of the origin. */
export interface Page {
  readonly visibilityState: string;
  postMessage(data: unknown): void;
  focus(): Promise<unknown>;
}

interface Lasting {
  waitUntil(done: Promise<unknown>): void;
}

export interface PushEvent extends Lasting {
  readonly data: { text(): string } | null;
}

export interface ClickEvent extends Lasting {
  readonly notification: { readonly data: unknown; close(): void };
}

export interface ChangeEvent extends Lasting {
  readonly newSubscription?: Subscription | null;
  readonly oldSubscription?: Subscription | null;
}

/** A subscription of Web Push, as `JSON.stringify` knows it. */
export interface Subscription {
  readonly options: object;
}
