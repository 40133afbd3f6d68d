/** The demo's phones: what the push service gets for them, and who can open it. */
import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { connect } from "@beckon/client";
import { memory } from "@beckon/client/storage";
import type { PhoneReport } from "@beckon/console/stage";
import { decodeBase64Url, decodeWake, encodeWake } from "@beckon/protocol";
import {
  DEV_SECRET,
  DevPushService,
  devProvider,
  type PushProvider,
  silentLog,
  systemClock,
} from "@beckon/server";

import { createHub, LocalServer } from "../local/server.ts";
import { mintDevToken } from "../token.ts";
import { Phones } from "./phones.ts";

type PushItem = Parameters<PushProvider["send"]>[0][number];

const TEXT = "Lunch at one?";

test("M7, B5, L11: the push service gets nothing but a sealed wake, which the phone alone can open, and follows", async () => {
  const folder = await mkdtemp(join(tmpdir(), "beckon-phones-"));
  const hub = createHub();
  const pushes = new DevPushService(systemClock);
  const items: PushItem[] = [];
  const provider = devProvider(pushes);
  const tapped: PushProvider = {
    ...provider,
    send(batch) {
      items.push(...batch);
      return provider.send(batch);
    },
  };
  const servers = ["s1", "s2"].map(
    (name) =>
      new LocalServer({
        hub,
        name,
        port: 0,
        adminPort: 0,
        store: join(folder, "beckon.db"),
        secret: DEV_SECRET,
        embedding: { providers: [tapped], logger: silentLog },
      }),
  );
  const [s1, s2] = servers as [LocalServer, LocalServer];
  const woke = Promise.withResolvers<PhoneReport>();
  const phones = new Phones({
    pushes,
    urls: () => servers.map(({ url }) => url),
    isConnected: (user) => s1.node!.table.lookup(user).length > 0,
    report: (report) => {
      if (report.kind === "woke") woke.resolve(report);
    },
    moved: () => undefined,
  });
  try {
    await Promise.all(servers.map((server) => server.start()));
    await phones.start();
    const eve = connect({ servers: [s1.url], token: () => mintDevToken("eve") });
    const ack = await eve.send("bob", TEXT, { preview: TEXT });
    expect(ack).toMatchObject({ status: "held", server: "s1" });

    // He sleeps, and was last on s2: nothing but what the push says can bring him to s1.
    expect(await woke.promise).toMatchObject({ user: "bob", server: "s1" });
    expect(items).toEqual([
      {
        // None of these says whose phone it is, or of what conversation.
        token: expect.stringMatching(/^[\da-f-]{36}$/),
        collapse: expect.stringMatching(/^[\w-]{32}$/),
        body: expect.stringMatching(/^\{"beckon":"[\w-]+"\}$/),
        class: "message",
        expires: expect.any(Number),
      },
    ]);
    const { body } = items[0]!;
    const raw = decodeBase64Url((JSON.parse(body) as { beckon: string }).beckon)!;
    const wake = decodeWake(raw);
    // The number of a key, a nonce and what is sealed, to the last byte.
    expect(encodeWake(wake)).toEqual(raw);
    expect(wake.nonce).toHaveLength(12);
    expect(wake.sealed.length).toBeGreaterThan(TEXT.length + s1.url.length);
    const hidden = [TEXT, s1.url, "127.0.0.1", "bob-phone"];
    expect(hidden.filter((text) => Buffer.from(raw).includes(text))).toEqual([]);

    // Another phone, though it calls itself the same, has keys of its own.
    const other = connect({
      servers: [s2.url],
      token: () => mintDevToken("zoe"),
      device: "bob-phone",
      storage: memory(),
      push: { provider: "dev", token: "zoe" },
    });
    expect(await other.onWake(body)).toBe("ignored");
    await Promise.all([eve.close(), other.close()]);
  } finally {
    await phones.stop();
    await Promise.all(servers.map((server) => server.stop()));
    await rm(folder, { recursive: true, force: true });
  }
}, 30_000);
