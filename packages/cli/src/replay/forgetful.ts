import type { Storage, Stored } from "@beckon/client/storage";

/** What the SDK knows of the system's servers: the last one, and the others. */
const PLACE = "m/place";

type Place = { readonly [name: string]: Stored };

/**
 * A storage that does not remember where the device was last, unless it is to, so that a device that connects on its own dials the first
 * server of its list. Everything else is kept: outbox, lanes, keys, epoch.
 */
export function forgetful(storage: Storage, remembers: () => boolean): Storage {
  return {
    ...storage,
    async read() {
      const values = [...(await storage.read())];
      return values.map(([key, value]) => {
        if (key !== PLACE || remembers()) return [key, value];
        return [key, { ...(value as Place), server: "", servers: [] }];
      });
    },
  };
}
