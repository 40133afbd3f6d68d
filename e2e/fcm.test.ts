/** FCM from the message to the SDK: through servers as they are configured, and a stand-in that refuses what Google does. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { appendFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { BeckonError, connect } from "@beckon/client";
import { silentLog, systemClock } from "@beckon/server";

import { fcmProvider } from "../packages/server/src/push/fcm.ts";
import { FcmService } from "../packages/server/src/push/test-support/fcm-service.ts";
import { Installation } from "./support/process.ts";
import { startSystem } from "./support/system.ts";
import { until } from "./support/until.ts";
import { expectWoken } from "./support/woken.ts";

setDefaultTimeout(60_000);

let service: FcmService;
const cleanups: (() => unknown)[] = [];
beforeEach(async () => {
  service = await FcmService.start();
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  await service.close();
});

test("M7, M8: what FCM got wakes the device at the sender's server, and the message is there; B5: sealed", async () => {
  const text = { title: "", body: "New message", callBody: "Incoming call", isShown: false };
  const system = await startSystem(2, {
    providers: [
      fcmProvider({
        account: service.account(),
        url: service.url,
        text,
        clock: systemClock,
        log: silentLog,
      }),
    ],
  });
  cleanups.push(() => system.stop());
  const [s1, s2] = system.servers.map(({ url }) => url) as [string, string];
  const phone = service.install();
  await expectWoken({
    its: s2,
    sender: s1,
    name: "s1",
    token: (user) => system.token(user),
    push: { provider: "fcm", token: phone.token },
    received: () => phone.received,
  });
  expect(service.refusals).toEqual([]);
  expect(service.asked).toBe(1);
});

test("beckon serve pushes by FCM, with the file that Google's console makes; and refuses what is no registration", async () => {
  const installation = await Installation.create();
  cleanups.push(() => installation.remove());
  await writeFile(join(installation.folder, "account.json"), service.accountFile());
  await appendFile(
    join(installation.folder, "beckon.toml"),
    `
[push.fcm]
service_account_file = "account.json"
url = "${service.url.href}"
notification = true
title = "Parcels"
`,
  );
  const server = await installation.serve();
  cleanups.push(async () => {
    server.child.kill("SIGTERM");
    expect(await server.child.exited).toBe(0);
  });
  const phone = service.install();
  await expectWoken({
    its: server.url,
    sender: server.url,
    name: "eu-1",
    token: (user) => installation.token(user),
    push: { provider: "fcm", token: phone.token },
    received: () => phone.received,
  });
  expect(service.refusals).toEqual([]);
  expect(phone.messages[0]!.notification).toEqual({ title: "Parcels", body: "New message" });
  await until(async () => {
    const metrics = await (await fetch(new URL("/metrics", server.admin))).text();
    return metrics.includes('beckon_pushes_total{provider="fcm",class="message",outcome="sent"} 1');
  }, "the push to be counted");

  const token = await installation.token("eva");
  const eva = connect({
    servers: [server.url],
    token: () => token,
    push: { provider: "fcm", token: "not a token" },
  });
  cleanups.push(() => eva.close());
  await until(() => eva.state.name === "closed", "the refusal");
  expect(eva.state.error).toBeInstanceOf(BeckonError);
  expect(eva.state.error!.code).toBe("bad-hello");
  expect(eva.state.error!.message).toContain(
    "push: it must be a registration token, as Firebase's SDK gives it",
  );
  expect(server.log()).not.toContain(phone.token);
});
