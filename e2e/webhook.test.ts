/** Pushes by the operator's own application: through servers as they are configured, to a device that it passes them on to. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { appendFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { silentLog, systemClock } from "@beckon/server";

import { WebhookReceiver } from "../packages/server/src/push/test-support/webhook-receiver.ts";
import { readWebhookSecrets } from "../packages/server/src/push/webhook-sign.ts";
import { webhookProvider } from "../packages/server/src/push/webhook.ts";
import { Installation } from "./support/process.ts";
import { startSystem } from "./support/system.ts";
import { expectWoken } from "./support/woken.ts";

const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const TOKEN = "hms:0123";

setDefaultTimeout(60_000);

let application: WebhookReceiver;
const cleanups: (() => unknown)[] = [];
beforeEach(async () => {
  application = await WebhookReceiver.start(SECRET);
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  await application.close();
});

test("M7, M8: what the application got wakes the device at the sender's server, and the message is there; B5: sealed", async () => {
  const system = await startSystem(2, {
    providers: [
      webhookProvider({
        url: application.url,
        secrets: readWebhookSecrets(SECRET),
        clock: systemClock,
        log: silentLog,
      }),
    ],
  });
  cleanups.push(() => system.stop());
  const [s1, s2] = system.servers.map(({ url }) => url) as [string, string];
  await expectWoken({
    its: s2,
    sender: s1,
    name: "s1",
    token: (user) => system.token(user),
    push: { provider: "webhook", token: TOKEN },
    received: () => application.received(TOKEN),
  });
  expect(application.refusals).toEqual([]);
});

test("beckon serve pushes by the application, and signs with the secret of its file", async () => {
  const installation = await Installation.create();
  cleanups.push(() => installation.remove());
  await writeFile(join(installation.folder, "webhook-secret"), `${SECRET}\n`);
  await appendFile(
    join(installation.folder, "beckon.toml"),
    `\n[push.webhook]\nurl = "${application.url.href}"\nsecret_file = "webhook-secret"\n`,
  );
  const server = await installation.serve();
  cleanups.push(async () => {
    server.child.kill("SIGTERM");
    expect(await server.child.exited).toBe(0);
  });
  await expectWoken({
    its: server.url,
    sender: server.url,
    name: "eu-1",
    token: (user) => installation.token(user),
    push: { provider: "webhook", token: TOKEN },
    received: () => application.received(TOKEN),
  });
  expect(application.refusals).toEqual([]);
  expect(application.requests[0]!.items[0]).toMatchObject({ class: "message" });
  expect(server.log()).not.toContain(TOKEN);
});
