/** APNs from the message to the SDK, through a server as it is configured and a push service that refuses what Apple's would. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { appendFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { type Beckon, BeckonError, connect, type Message } from "@beckon/client";
import { memory, type Storage } from "@beckon/client/storage";

import {
  ApnsService,
  headersOf,
  payloadOf,
  TOPIC,
} from "../packages/server/src/push/test-support/apns-service.ts";
import { Installation, type ServerProcess } from "./support/process.ts";
import { until } from "./support/until.ts";

// Four processes are started.
setDefaultTimeout(30_000);

let service: ApnsService;
let installation: Installation;
let server: ServerProcess;
const clients: Beckon[] = [];

beforeEach(async () => {
  [service, installation] = await Promise.all([ApnsService.start(), Installation.create()]);
  await Promise.all([
    writeFile(join(installation.folder, "apns.p8"), service.p8),
    writeFile(join(installation.folder, "ca.pem"), service.ca),
    appendFile(
      join(installation.folder, "beckon.toml"),
      `
[push.apns]
key_file = "apns.p8"
key_id = "${service.key.keyId}"
team_id = "${service.key.teamId}"
topic = "${TOPIC}"
url = "${service.url.href}"
`,
    ),
  ]);
  const ca = join(installation.folder, "ca.pem");
  server = await installation.serve({ NODE_EXTRA_CA_CERTS: ca });
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  server.child.kill("SIGTERM");
  expect(await server.child.exited).toBe(0);
  await Promise.all([installation.remove(), service.close()]);
});

interface Person {
  readonly name: string;
  readonly storage?: Storage;
  readonly registration?: string;
}

async function open({ name, storage, registration }: Person): Promise<Beckon> {
  const token = await installation.token(name);
  const client = connect({
    servers: [server.url],
    token: () => token,
    ...(storage === undefined ? {} : { storage }),
    ...(registration === undefined ? {} : { push: { provider: "apns", token: registration } }),
  });
  clients.push(client);
  return client;
}

const connected = (client: Beckon): Promise<void> =>
  until(
    () => client.state.name === "connected",
    () => `${client.state.name} to be connected`,
  );

test("M7, M8: what leaves for a device that is away, opened, wakes it at the sender's server, and the message is there; B5, L11: sealed", async () => {
  const [device, voip] = await Promise.all([service.install(), service.install(`${TOPIC}.voip`)]);
  const registration = JSON.stringify({ device, voip });
  const bobs: Person = { name: "bob", storage: memory(), registration };
  const asleep = await open(bobs);
  await connected(asleep);
  await asleep.close();

  const ann = await open({ name: "ann" });
  await connected(ann);
  const ack = await ann.send("bob", "Are you there?", { preview: "Are you there?" });
  expect(ack).toMatchObject({ status: "held", route: "wake" });
  await until(() => service.taken(device).length > 0, "the push");
  expect(service.refusals).toEqual([]);
  const [push] = service.requests as [ApnsService["requests"][number]];
  expect(headersOf(push)).toMatchObject({ "apns-push-type": "alert", "apns-topic": TOPIC });
  const payload = payloadOf(push);
  expect(payload.aps["alert"]).toEqual({ body: "New message" });
  const sealed = Buffer.from(payload.beckon!, "base64url").toString("latin1");
  for (const secret of ["there", "ann", "bob", new URL(server.url).host]) {
    expect(push.body + sealed).not.toContain(secret);
  }

  // As native code hands it over: the whole of `userInfo`.
  const woken = await open(bobs);
  const messages: Message[] = [];
  woken.on("message", (message) => void messages.push(message));
  expect(await woken.onWake(push.body)).toBe("connected");
  await until(() => messages.length > 0, "the message");
  expect(woken.state.server).toBe("eu-1");
  expect(messages[0]!.text()).toBe("Are you there?");
  expect(service.requests).toHaveLength(1);
});

test("a registration that is none is refused, with what is wrong with it", async () => {
  const bob = await open({ name: "bob", registration: "<a token as it was printed once>" });
  await until(() => bob.state.name === "closed", "the refusal");
  const refusal = bob.state.error;
  expect(refusal).toBeInstanceOf(BeckonError);
  expect(refusal!.code).toBe("bad-hello");
  expect(refusal!.message).toContain("push: the device token must be 32 to 100 bytes in hex");
});
