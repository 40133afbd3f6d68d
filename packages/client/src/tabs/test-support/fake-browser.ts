import type { Beckon } from "../../beckon.ts";
import { connect } from "../../client.ts";
import type { Clock } from "../../clock.ts";
import type { ConnectOptions } from "../../options.ts";
import type { Change, Storage, Stored } from "../../storage.ts";
import type { FakeNetwork } from "../../test-support/fake-server.ts";
import { seededRandom } from "../../test-support/setup.ts";
import type { VirtualClock } from "../../test-support/virtual-clock.ts";
import type { Dial } from "../../transport.ts";
import type { Lifecycle, TabPlatform } from "../platform.ts";
import { shareAmongTabs } from "../tabs.ts";

/** Time that a packet between pages, or a write, is under way, ms. */
const LATENCY = 1;

interface Waiting {
  readonly page: Page;
  readonly granted: () => void;
}

interface Listener {
  readonly page: Page;
  readonly name: string;
  readonly take: (data: unknown) => void;
}

/** Pages of one origin on a virtual clock: locks, channels, and one storage. */
export class FakeBrowser {
  readonly clock: VirtualClock;
  readonly network: FakeNetwork;
  /** What is on disk. */
  readonly values: Map<string, Stored> = new Map();
  readonly #locks = new Map<string, Waiting[]>();
  readonly listeners: Set<Listener> = new Set();
  #pages = 0;

  constructor(clock: VirtualClock, network: FakeNetwork) {
    this.clock = clock;
    this.network = network;
  }

  page(): Page {
    return new Page(this, ++this.#pages);
  }

  /** The first in the row has it. The answer frees it, or leaves the row. */
  request(name: string, page: Page, granted: () => void): () => void {
    // What a page that is gone still does is nothing.
    if (page.isGone) return () => {};
    const row = this.#locks.get(name) ?? [];
    this.#locks.set(name, row);
    const own = { page, granted };
    row.push(own);
    if (row[0] === own) page.run(granted);
    return () => this.#free(row, own);
  }

  #free(row: Waiting[], own: Waiting): void {
    const at = row.indexOf(own);
    if (at >= 0) row.splice(at, 1);
    const [next] = row;
    if (at === 0 && next !== undefined) next.page.run(next.granted);
  }

  /** The page is gone. */
  forget(page: Page): void {
    for (const listener of this.listeners)
      if (listener.page === page) this.listeners.delete(listener);
    for (const row of this.#locks.values()) {
      for (const own of row.filter((waiting) => waiting.page === page)) this.#free(row, own);
    }
  }
}

/** What runs in it goes through `run`: nothing does while it is frozen, or when it is gone. */
export class Page {
  readonly browser: FakeBrowser;
  readonly #number: number;
  readonly #lifecycles = new Set<Lifecycle>();
  #state: "runs" | "frozen" | "gone" = "runs";
  #backlog: (() => void)[] = [];

  constructor(browser: FakeBrowser, number: number) {
    this.browser = browser;
    this.#number = number;
  }

  get isGone(): boolean {
    return this.#state === "gone";
  }

  run(task: () => void): void {
    if (this.#state === "runs") task();
    if (this.#state === "frozen") this.#backlog.push(task);
  }

  connect(options: Partial<ConnectOptions> = {}): Beckon {
    const storage = this.#storage();
    const share = shareAmongTabs("beckon/ann", () => this.#storage(), this.#platform);
    return connect({
      servers: ["ws://a"],
      token: () => "token",
      clock: this.#clock,
      random: seededRandom(this.#number),
      transports: { ws: this.#dial },
      storage: { ...storage, share },
      ...options,
    });
  }

  /** As kill -9 of its process: the locks are free, the connection ends. */
  crash(): void {
    this.#state = "gone";
    this.browser.forget(this);
    for (const close of this.#connections) close();
  }

  freeze(): void {
    for (const lifecycle of this.#lifecycles) lifecycle.frozen();
    this.browser.clock.settle();
    this.#state = "frozen";
  }

  resume(): void {
    this.#state = "runs";
    for (const task of this.#backlog.splice(0)) {
      task();
      this.browser.clock.settle();
    }
    for (const lifecycle of this.#lifecycles) lifecycle.resumed();
  }

  readonly #clock: Clock = {
    now: () => this.browser.clock.now(),
    after: (ms, task) => this.browser.clock.after(ms, () => this.run(task)),
    defer: (task) => this.browser.clock.defer(() => this.run(task)),
  };

  readonly #connections = new Set<() => void>();

  readonly #dial: Dial = (address, handler) => {
    const transport = this.browser.network.dial(address, {
      opened: () => this.run(() => handler.opened()),
      message: (bytes) => this.run(() => handler.message(bytes)),
      closed: (code, reason) => this.run(() => handler.closed(code, reason)),
    });
    this.#connections.add(() => transport.close());
    return transport;
  };

  readonly #platform: TabPlatform = {
    channel: (name, take) => {
      const { listeners, clock } = this.browser;
      const own: Listener = { page: this, name, take };
      listeners.add(own);
      return {
        post: (data) => {
          const copy = structuredClone(data);
          if (this.#state !== "runs") return;
          for (const other of listeners) {
            if (other === own || other.name !== name) continue;
            clock.after(LATENCY, () => other.page.run(() => other.take(structuredClone(copy))));
          }
        },
        close: () => void listeners.delete(own),
      };
    },
    hold: (name) =>
      new Promise((resolve) => {
        const free = this.browser.request(name, this, () => resolve(() => free()));
      }),
    free: (name, task) => {
      let over = false;
      const free = this.browser.request(name, this, () => {
        queueMicrotask(() => {
          free();
          if (!over) task();
        });
      });
      return () => {
        over = true;
        free();
      };
    },
    listen: (lifecycle) => {
      this.#lifecycles.add(lifecycle);
      return () => void this.#lifecycles.delete(lifecycle);
    },
  };

  #storage(): Storage {
    const { browser } = this;
    let free: (() => void) | undefined;
    let closed = false;
    const apply = (task: () => void): Promise<void> =>
      new Promise((resolve, reject) => {
        if (closed || this.#state !== "runs") return reject(new Error("not open"));
        task();
        browser.clock.after(LATENCY, () => this.run(resolve));
      });
    return {
      read: () =>
        new Promise((resolve, reject) => {
          free = browser.request("storage", this, () => {
            if (closed) reject(new Error("closed"));
            else resolve([...browser.values].sort(([a], [b]) => (a < b ? -1 : 1)));
          });
        }),
      write: (changes) => apply(() => this.#apply(changes)),
      clear: () => apply(() => browser.values.clear()),
      close: () => {
        closed = true;
        free?.();
        return Promise.resolve();
      },
    };
  }

  #apply(changes: readonly Change[]): void {
    for (const { key, value } of changes) {
      if (value === undefined) this.browser.values.delete(key);
      else this.browser.values.set(key, structuredClone(value));
    }
  }
}
