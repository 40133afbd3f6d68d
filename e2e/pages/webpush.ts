/** A page that is woken by Web Push, as docs/sdk.md has it; the subscription is given, as this browser has no push service. */
import { connect } from "@beckon/client";
import { indexedDb } from "@beckon/client/storage";

const {
  server = "",
  token = "",
  user = "",
  subscription = "",
} = Object.fromEntries(new URLSearchParams(location.search));

const registered = navigator.serviceWorker.register(
  `/webpush-worker.js?${new URLSearchParams({ token })}`,
);
const beckon = connect({
  servers: [server],
  token: () => token,
  storage: indexedDb(user),
  push: { provider: "webpush", token: subscription },
});
const woken: string[] = [];
const got: string[] = [];
const wake = async (data: unknown): Promise<void> => void woken.push(await beckon.onWake(data));
navigator.serviceWorker.addEventListener("message", ({ data }) => void wake(data));
if (location.hash !== "") void wake(decodeURIComponent(location.hash.slice(1)));
beckon.on("message", (message) => void got.push(message.text()));

Object.assign(globalThis, { beckon, registered, woken, got });
