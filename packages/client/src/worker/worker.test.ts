import { describe, expect, test } from "bun:test";

import type { Page, Subscription, WorkerScope } from "./scope.ts";
import { runWorker, type WorkerOptions, type Woken } from "./worker.ts";

const WAKE: Woken = {
  class: "message",
  from: "bob",
  preview: "Are you there?",
  activity: 2,
  call: undefined,
  ended: false,
  expires: 5,
  storage: "ann",
};

type Listener = (event: object) => void;

/** A service worker whose browser does what it is asked, and says what that was. */
class FakeWorker {
  readonly did: unknown[] = [];
  pages: Page[] = [];
  readonly #listeners = new Map<string, Listener>();

  constructor(options: Partial<WorkerOptions>, opens: Woken | "nothing" | Error = WAKE) {
    const scope: WorkerScope = {
      addEventListener: (type: string, listener: unknown) => {
        this.#listeners.set(type, listener as Listener);
      },
      clients: {
        matchAll: () => Promise.resolve(this.pages),
        openWindow: (url) => this.#do({ opened: url }),
      },
      registration: {
        pushManager: {
          subscribe: (asked) => Promise.resolve({ options: asked, endpoint: "https://push/2" }),
        },
        showNotification: (title, shown) => this.#do({ title, ...shown }),
      },
    };
    const show = (wake: Woken | undefined): { title: string } => ({ title: wake?.preview ?? "?" });
    runWorker({ show, ...options }, scope, {
      open: async () => {
        if (opens instanceof Error) throw opens;
        return opens === "nothing" ? undefined : opens;
      },
      register: (subscription) => this.#do({ registered: JSON.parse(subscription) as unknown }),
    });
  }

  page(visibilityState: string): this {
    this.pages.push({
      visibilityState,
      postMessage: (data) => this.did.push({ posted: data }),
      focus: () => this.#do("focused"),
    });
    return this;
  }

  /** Resolves when all that the event asks for is done; answers what that was. */
  async tell(type: string, event: object): Promise<unknown[]> {
    const waits: Promise<unknown>[] = [];
    const waitUntil = (done: Promise<unknown>): void => void waits.push(done);
    this.#listeners.get(type)!({ ...event, waitUntil });
    await Promise.all(waits);
    return this.did.splice(0);
  }

  push(text: string | undefined): Promise<unknown[]> {
    const data = text === undefined ? null : { text: () => text };
    return this.tell("push", { data });
  }

  click(data: unknown): Promise<unknown[]> {
    const close = (): void => void this.did.push("closed");
    return this.tell("notificationclick", { notification: { data, close } });
  }

  async #do(what: unknown): Promise<void> {
    this.did.push(what);
  }
}

const PUSH = JSON.stringify({ beckon: "AAAA" });
const CARRIED = { beckon: "AAAA", page: "/" };

describe("a push", () => {
  test("M9: shows the preview that it carries, sealed, and is handed to the pages that are open", async () => {
    const worker = new FakeWorker({}).page("hidden").page("hidden");
    expect(await worker.push(PUSH)).toEqual([
      { posted: { beckon: "AAAA" } },
      { posted: { beckon: "AAAA" } },
      { title: "Are you there?", data: CARRIED },
    ]);
  });

  test("the application says what is shown, and keeps what the click needs out of its options", async () => {
    const show: WorkerOptions["show"] = (wake) => {
      const { from, activity } = wake!;
      return {
        title: from,
        options: { tag: from, body: `${activity} new`, data: 5 },
        page: `/chat/${from}`,
      };
    };
    expect(await new FakeWorker({ show }).push(PUSH)).toEqual([
      {
        title: "bob",
        tag: "bob",
        body: "2 new",
        data: { beckon: "AAAA", page: "/chat/bob" },
      },
    ]);
  });

  test("is shown where the storages cannot be read", async () => {
    const worker = new FakeWorker({}, new TypeError("indexedDB.databases is not a function"));
    expect(await worker.push(PUSH)).toEqual([{ title: "?", data: CARRIED }]);
  });

  test("shows nothing where the application has nothing to show, as while a page is seen", async () => {
    const show: WorkerOptions["show"] = async (_, isSeen) => (isSeen ? undefined : { title: "!" });
    const worker = new FakeWorker({ show });
    expect(await worker.push(PUSH)).toEqual([{ title: "!", data: CARRIED }]);
    expect(await worker.page("hidden").page("visible").push(PUSH)).toHaveLength(2);
  });

  test("B5: that cannot be opened is shown without what it says, and handed to no page", async () => {
    const worker = new FakeWorker({}, "nothing").page("hidden");
    expect(await worker.push(PUSH)).toEqual([{ title: "?", data: CARRIED }]);
  });

  test.each([["{}"], ["hello"], [undefined], ['{"aps":{}}']])(
    "of somebody else is left to the worker's other listeners: %p",
    async (text) => {
      expect(await new FakeWorker({}).page("hidden").push(text)).toEqual([]);
    },
  );
});

describe("a click on its notification", () => {
  test("M8: opens the page with the wake in the fragment, as no server is told", async () => {
    const fragment = encodeURIComponent(PUSH);
    expect(await new FakeWorker({}).click({ beckon: "AAAA", page: "/chat/bob" })).toEqual([
      "closed",
      { opened: `/chat/bob#${fragment}` },
    ]);
  });

  test("shows the page that is open, which was handed the wake before", async () => {
    expect(await new FakeWorker({}).page("hidden").click(CARRIED)).toEqual(["closed", "focused"]);
  });

  test("on another one's is left alone", async () => {
    expect(await new FakeWorker({}).click({ url: "/" })).toEqual([]);
    expect(await new FakeWorker({}).click(null)).toEqual([]);
  });
});

describe("a subscription that the browser has replaced", () => {
  const options = { userVisibleOnly: true };
  const one = { options, endpoint: "https://push/1" } as Subscription;
  const two = { options, endpoint: "https://push/2" };

  test.each([
    ["is registered", { newSubscription: one, oldSubscription: null }, [{ registered: one }]],
    [
      "is made anew, as the old one was, where the browser has made none",
      { oldSubscription: one },
      [{ registered: two }],
    ],
    ["is none where nobody knows how it was made", {}, []],
  ])("L5: %s", async (_, event, expected) => {
    expect(await new FakeWorker({}).tell("pushsubscriptionchange", event)).toEqual(expected);
  });
});
