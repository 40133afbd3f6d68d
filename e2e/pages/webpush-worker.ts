/** The service worker of docs/sdk.md. */
import { beckonWorker } from "@beckon/client/worker";

// In place of the one of the test before, at once.
void (globalThis as unknown as { skipWaiting(): Promise<void> }).skipWaiting();

beckonWorker({
  token: () => new URLSearchParams(location.search).get("token") ?? "",
  show: (wake) =>
    wake === undefined
      ? { title: "Something new" }
      : { title: wake.from, options: { body: wake.preview, tag: wake.from } },
});
