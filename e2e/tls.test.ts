/** Devices over TLS, with real servers: what an operator does to the certificate's files, and what devices see of it. */
import {
  afterAll,
  afterEach,
  beforeAll,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import { mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";

import type { TlsPair } from "../packages/server/src/gateway/certificate.ts";
import { Authority } from "../packages/server/src/gateway/test-support/certificates.ts";
import { DeviceProcess } from "./support/device-process.ts";
import { compileProgram, installPackage } from "./support/package.ts";
import { Installation, type ServerProcess } from "./support/process.ts";
import { RawDevice } from "./support/raw-device.ts";
import { until } from "./support/until.ts";

setDefaultTimeout(60_000);

const PROGRAM = fileURLToPath(new URL("programs/device.ts", import.meta.url));
const TLS = { BECKON_TLS_CERT_FILE: "live/cert.pem", BECKON_TLS_KEY_FILE: "live/key.pem" };

const authority = new Authority("root");
let project: string;
let node: readonly string[];
let installation: Installation;

beforeAll(async () => {
  project = await installPackage(["ws"]);
  node = ["node", await compileProgram("device", project)];
  installation = await Installation.create();
  await writeFile(join(installation.folder, "root.pem"), authority.cert);
}, 60_000);
afterAll(async () => {
  await rm(dirname(project), { recursive: true, force: true });
  await installation.remove();
});

const started: { kill(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of started.splice(0).reverse()) await one.kill();
});

/** As certbot and Kubernetes do it: other files in another folder, and a link that is set to it in one step. */
async function install(name: string, pair: TlsPair = authority.issue(name)): Promise<void> {
  const { folder } = installation;
  await mkdir(join(folder, name), { recursive: true });
  await writeFile(join(folder, name, "cert.pem"), pair.cert);
  await writeFile(join(folder, name, "key.pem"), pair.key);
  await rm(join(folder, "next"), { force: true });
  await symlink(name, join(folder, "next"));
  await rename(join(folder, "next"), join(folder, "live"));
}

async function serve(env: Readonly<Record<string, string>> = TLS): Promise<ServerProcess> {
  const server = await installation.serve(env);
  started.push({
    async kill() {
      server.child.kill("SIGKILL");
      await server.child.exited;
    },
  });
  return server;
}

/** Told to look; it would do so by itself within 5 s. */
async function reload(server: ServerProcess, event: string): Promise<void> {
  const count = (): number => server.log().split(`"${event}"`).length;
  const before = count();
  server.child.kill("SIGHUP");
  await until(() => count() > before, event);
}

async function device(
  command: readonly string[],
  user: string,
  { url }: ServerProcess,
): Promise<DeviceProcess> {
  const made = new DeviceProcess([...command], {
    URL: url,
    TOKEN: await installation.token(user),
    STORAGE: join(installation.folder, `${user}-${crypto.randomUUID()}.beckon`),
    NODE_EXTRA_CA_CERTS: join(installation.folder, "root.pem"),
  });
  started.push(made);
  return made.connected();
}

/** The name in the certificate that a new connection is shown; rejects where it is refused or reset. */
function shown(url: string): Promise<string> {
  const { hostname: host, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket: TLSSocket = connect({ host, port: Number(port), ca: authority.cert }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

test("a certificate is replaced while devices talk: they stay connected, and new ones see the new one", async () => {
  await install("one");
  const server = await serve();
  expect(server.url).toStartWith("wss://");
  const ann = await device([process.execPath, PROGRAM], "ann", server);
  const bob = await device(node, "bob", server);
  const texts: string[] = [];
  const talk = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) texts.push(`${texts.length}`);
    await ann.send("bob", texts.slice(-20));
  };
  for (const name of ["two", "three"]) {
    await talk();
    await install(name);
    await reload(server, "tls.reloaded");
    expect(await shown(server.url)).toBe(name);
    await talk();
    await bob.count("got", texts.length);
  }
  const eve = await device(node, "eve", server);
  await eve.send("bob", ["from eve"]);
  await bob.count("got", texts.length + 1);
  expect(bob.got).toEqual([...texts, "from eve"]);
  for (const { reports } of [ann, bob]) {
    expect(reports.filter((report) => "error" in report)).toEqual([]);
  }
  // Each has connected once.
  const states = (of: DeviceProcess): string[] => of.all("state").map(({ state }) => state);
  expect(states(ann).filter((state) => state === "connected")).toEqual(["connected"]);
  expect(states(bob).filter((state) => state === "connected")).toEqual(["connected"]);
  const metrics = await (await fetch(new URL("/metrics", server.admin))).text();
  expect(metrics).toContain("beckon_connections 3");

  // And they are still the server's to send away.
  server.child.kill("SIGTERM");
  expect(await server.child.exited).toBe(0);
  await until(() => states(ann).at(-1) !== "connected", "ann to be sent away");
  await until(() => states(bob).at(-1) !== "connected", "bob to be sent away");
}, 60_000);

test("no attempt to connect is refused or reset while certificates change", async () => {
  await install("c0");
  const server = await serve();
  const seen = new Map<string, number>();
  const failures: string[] = [];
  const over = new AbortController();
  const knock = async (): Promise<void> => {
    while (!over.signal.aborted) {
      try {
        const name = await shown(server.url);
        seen.set(name, (seen.get(name) ?? 0) + 1);
      } catch (error) {
        failures.push(String(error));
      }
    }
  };
  const knocking = Promise.all(Array.from({ length: 16 }, knock));
  for (const name of ["c1", "c2", "c3"]) {
    await install(name);
    await reload(server, "tls.reloaded");
    // Past the time for which the one before lingers, and so past its end.
    const after = seen.get(name) ?? 0;
    await until(() => (seen.get(name) ?? 0) > after + 50, `${name} to be seen`);
  }
  over.abort();
  await knocking;
  const count = [...seen.values()].reduce((sum, one) => sum + one, 0);
  expect(count).toBeGreaterThan(200);
  // Elsewhere the operating system does not say which of two listeners gets a connection.
  const expected = process.platform === "linux" ? failures : failures.filter(isRefusal);
  expect(expected).toEqual([]);
  expect([...seen.keys()]).toEqual(["c0", "c1", "c2", "c3"]);
}, 60_000);

const isRefusal = (failure: string): boolean => failure.includes("ECONNREFUSED");

test("a pair that does not belong together changes nothing, and is told once", async () => {
  await install("good");
  const server = await serve();
  const bob = await device(node, "bob", server);
  const { cert } = authority.issue("bad");
  await install("bad", { cert, key: authority.issue("other").key });
  await reload(server, "tls.refused");
  server.child.kill("SIGHUP");
  await install("partial", { cert: cert.slice(0, 300), key: "" });
  await reload(server, "tls.refused");
  expect(server.log().match(/"tls\.refused"/g)).toHaveLength(2);
  expect(await shown(server.url)).toBe("good");
  const ann = await device(node, "ann", server);
  await ann.send("bob", ["hello"]);
  await bob.count("got", 1);
  await install("better");
  await reload(server, "tls.reloaded");
  expect(await shown(server.url)).toBe("better");
  expect(server.log()).not.toContain("PRIVATE KEY");
}, 60_000);

test("a device without TLS, and one that does not trust the certificate, do not get in", async () => {
  await install("one");
  const server = await serve();
  const plain = new RawDevice(server.url.replace("wss:", "ws:"));
  expect((await plain.end()).code).toBe(1006);
  const strange = new RawDevice(server.url);
  expect((await strange.end()).code).toBeGreaterThan(1000);
  const metrics = await (await fetch(new URL("/metrics", server.admin))).text();
  expect(metrics).toContain("beckon_connections 0");
  expect(metrics).toMatch(/beckon_tls_certificate_expiry_timestamp_seconds \d{10}\n/);
});

describe("beckon serve --check", () => {
  test.each([
    ["a file that is missing", {}, "5: tls.cert_file: check/cert.pem: there is no such file"],
    [
      "a pair that does not belong together",
      { cert: authority.issue("a").cert, key: authority.issue("b").key },
      "6: tls.key_file: check/key.pem: the key does not belong to the certificate in cert_file",
    ],
    [
      "one that has expired",
      authority.issue("old", { expires: Date.parse("2026-02-03") }),
      "5: tls.cert_file: check/cert.pem: the certificate has expired on 2026-02-03",
    ],
  ] as const)("%s", async (_, pair: Partial<TlsPair>, expected) => {
    const folder = join(installation.folder, "check");
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder);
    for (const [name, text] of Object.entries(pair)) {
      await writeFile(join(folder, `${name}.pem`), text);
    }
    await writeFile(
      join(installation.folder, "tls.toml"),
      `[auth]
secret_file = "secret"
send = "anyone"
[tls]
cert_file = "check/cert.pem"
key_file = "check/key.pem"
`,
    );
    const child = installation.beckon("serve", "--check", "tls.toml");
    expect(await child.exited).toBe(1);
    expect(await new Response(child.stderr).text()).toContain(`tls.toml:${expected}`);
  });
});

describe("who is refused", () => {
  const knock = async (server: ServerProcess, headers: Record<string, string>): Promise<void> => {
    const stranger = await new RawDevice(server.url, headers).hello({ token: "nonsense" });
    expect((await stranger.end()).error).toBe("bad-token");
    await until(() => server.log().includes("connection.refused"), "the line in the log");
  };
  const forged = { "x-forwarded-for": "1.1.1.1, 203.0.113.9" };

  test("is in the log with its own address, whatever it claims", async () => {
    const server = await serve({});
    await knock(server, forged);
    expect(server.log()).toContain('"code":"bad-token","address":"127.0.0.1"');
    expect(server.log()).not.toContain("nonsense");
  });

  test("is in the log with the address that a trusted proxy names", async () => {
    const server = await serve({ BECKON_TRUSTED_PROXIES_0: "127.0.0.0/8" });
    await knock(server, forged);
    expect(server.log()).toContain('"code":"bad-token","address":"203.0.113.9"');
  });
});
