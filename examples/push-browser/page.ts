import { connect, type PushOptions } from "@beckon/client";
import { indexedDb } from "@beckon/client/storage";

const {
  user = "eve", // in an app: whoever has logged in
  server = "ws://127.0.0.1:8080",
  backend = "http://127.0.0.1:3001",
  key = "", // the public key that `beckon vapid` prints
} = Object.fromEntries(new URLSearchParams(location.search));

const worker = await navigator.serviceWorker.register(`/worker.js${location.search}`);
find("notify").addEventListener("click", () => void allow());

// What was subscribed before; the servers are told when it is another one.
const push = toPush(await worker.pushManager.getSubscription());
const beckon = connect({
  servers: [server],
  token: async () => (await fetch(`${backend}/beckon-token?user=${user}`)).text(),
  storage: indexedDb(user), // the worker opens wakes with the key that is in it
  background: "auto", // push also while the page is hidden
  ...(push !== undefined && { push }),
});
beckon.on("state", ({ name, server: at, error }) => {
  find("badge").textContent = `${user}: ${name} ${at ?? error?.code ?? ""}`;
});

// What a push brings while this page is open, and the one that has opened it.
navigator.serviceWorker.addEventListener("message", ({ data }) => void beckon.onWake(data));
if (location.hash !== "") {
  void beckon.onWake(decodeURIComponent(location.hash.slice(1)));
  history.replaceState(null, "", location.pathname + location.search);
}

for await (const message of beckon.messages()) {
  const line = document.createElement("li");
  line.textContent = `${message.from}: ${message.text()}`;
  find("messages").append(line);
}

/** After a click: browsers ask the user then. Where a browser reaches no push service it may never answer. */
async function allow(): Promise<void> {
  find("push").textContent = "Asking the push service…";
  try {
    await navigator.serviceWorker.ready;
    await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
    location.reload();
  } catch (error) {
    find("push").textContent = `You are not notified: ${String(error)}`;
  }
}

function toPush(subscription: PushSubscription | null): PushOptions | undefined {
  if (subscription === null) return undefined;
  find("push").textContent = "You are notified.";
  return { provider: "webpush", token: JSON.stringify(subscription) };
}

function find(id: string): HTMLElement {
  return document.getElementById(id)!;
}
