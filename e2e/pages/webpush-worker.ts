/** The service worker of docs/sdk.md. */
import { beckonWorker } from "@beckon/client/worker";

beckonWorker({
  show: (wake) =>
    wake === undefined
      ? { title: "Something new" }
      : { title: wake.from, options: { body: wake.preview, tag: wake.from } },
});
