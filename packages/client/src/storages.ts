/** `@beckon/client/storage`: the port and what a browser has for it; `@beckon/client/file` is for Node and Bun. */
export { indexedDb } from "./tabs/indexed-db.ts";
export { type Change, memory, type Storage, type Stored } from "./storage.ts";
