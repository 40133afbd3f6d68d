import { indexedDb as database } from "../indexed-db.ts";
import type { Storage } from "../storage.ts";
import { tabPlatform } from "./platform.ts";
import { shareAmongTabs } from "./tabs.ts";

/**
 * A database of the browser, one for each `name`, as of a user. All pages of the origin that connect with it are one device over one
 * connection, where there are Web Locks (in every secure context).
 */
export function indexedDb(name: string): Storage {
  const storage = database(name);
  const platform = tabPlatform();
  if (platform === undefined) return storage;
  return { ...storage, share: shareAmongTabs(`beckon/${name}`, () => database(name), platform) };
}
