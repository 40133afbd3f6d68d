/** What a browser has for pages of one origin to find each other. */

export interface Channel {
  /** Throws for what cannot be cloned. */
  post(data: unknown): void;
  close(): void;
}

export interface Lifecycle {
  /** Nothing runs in this page when this has returned, until it is resumed. */
  frozen(): void;
  resumed(): void;
}

export interface TabPlatform {
  /** What the others post there comes in the order in which each has posted it. */
  channel(name: string, take: (data: unknown) => void): Channel;
  /** Resolves when the lock is held. The answer frees it, as does the end of the page. */
  hold(name: string): Promise<() => void>;
  /** Calls back once when nobody holds the lock. The answer ends the waiting. */
  free(name: string, task: () => void): () => void;
  /** The answer ends the listening. */
  listen(lifecycle: Lifecycle): () => void;
}

/** Undefined where pages cannot find each other, as in Node, Bun and React Native: there each client is for itself. */
export function tabPlatform(): TabPlatform | undefined {
  const { navigator, BroadcastChannel, document } = globalThis as Partial<typeof globalThis>;
  const locks = (navigator as Partial<Navigator> | undefined)?.locks;
  if (locks === undefined || BroadcastChannel === undefined) return undefined;

  return {
    channel(name, take) {
      const channel = new BroadcastChannel(name);
      channel.addEventListener("message", ({ data }) => take(data));
      return {
        // Its one argument is all that this one takes; a window's has an origin.
        // oxlint-disable-next-line unicorn/require-post-message-target-origin
        post: (data) => channel.postMessage(data),
        close: () => channel.close(),
      };
    },
    hold: (name) =>
      new Promise((resolve, reject) => {
        const held = (): Promise<void> => new Promise((free) => resolve(free));
        locks.request(name, held).catch(reject);
      }),
    free(name, task) {
      const waiting = new AbortController();
      const { signal } = waiting;
      locks
        .request(name, { signal }, () => {
          if (!signal.aborted) task();
        })
        // It was given up.
        .catch(() => {});
      return () => waiting.abort();
    },
    listen(lifecycle) {
      const ending = new AbortController();
      const { signal } = ending;
      const frozen = (): void => lifecycle.frozen();
      const resumed = (): void => lifecycle.resumed();
      // A page in the cache for going back is as one that is frozen; some browsers say the one, some the other.
      const hidden = ({ persisted }: PageTransitionEvent): void => void (persisted && frozen());
      const shown = ({ persisted }: PageTransitionEvent): void => void (persisted && resumed());
      document?.addEventListener("freeze", frozen, { signal });
      document?.addEventListener("resume", resumed, { signal });
      globalThis.addEventListener("pagehide", hidden as EventListener, { signal });
      globalThis.addEventListener("pageshow", shown as EventListener, { signal });
      return () => ending.abort();
    },
  };
}
