/** Devices by TCP, plain and in TLS, beside those by WebSocket: on real servers, with the SDK in Node and Bun. */
import {
  afterAll,
  afterEach,
  beforeAll,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect as connectTcp, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { type Beckon, connect, type ConnectOptions } from "@beckon/client";
import { memory } from "@beckon/client/storage";
import { tcp } from "@beckon/client/tcp";
import {
  type Address,
  decodeBase64Url,
  decodeHint,
  decodeWake,
  encodeFrames,
  type Hint,
  type HelloFrame,
} from "@beckon/protocol";
import { DevPushService, devProvider, lastingPort, systemClock } from "@beckon/server";

import { Authority } from "../packages/server/src/gateway/test-support/certificates.ts";
import { DeviceProcess } from "./support/device-process.ts";
import { compileProgram, installPackage } from "./support/package.ts";
import { API_TOKEN, Installation, type ServerProcess } from "./support/process.ts";
import { RawDevice, send } from "./support/raw-device.ts";
import { sayByApi } from "./support/shop.ts";
import { startSystem, type System } from "./support/system.ts";
import { until } from "./support/until.ts";

setDefaultTimeout(60_000);

const PROGRAM = fileURLToPath(new URL("programs/device.ts", import.meta.url));
const MAIN = fileURLToPath(new URL("../packages/cli/src/main.ts", import.meta.url));
const BUN = [process.execPath, PROGRAM];
const TLS = { BECKON_TLS_CERT_FILE: "cert.pem", BECKON_TLS_KEY_FILE: "key.pem" };

/** Devices by `wss`, by `tls`, and by `tcp`. */
const ALL = {
  ...TLS,
  BECKON_LISTENER_0_PROTOCOL: "tcp",
  BECKON_LISTENER_0_LISTEN: "127.0.0.1:0",
  BECKON_LISTENER_1_PROTOCOL: "tcp",
  BECKON_LISTENER_1_LISTEN: "127.0.0.1:0",
  BECKON_LISTENER_1_TLS: "false",
};

const authority = new Authority("root");
let project: string;
let node: readonly string[];
let installation: Installation;

beforeAll(async () => {
  project = await installPackage(["ws"]);
  node = ["node", await compileProgram("device", project)];
  installation = await Installation.create();
  await install("one");
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

async function install(name: string): Promise<void> {
  const { cert, key } = authority.issue(name);
  await writeFile(join(installation.folder, "cert.pem"), cert);
  await writeFile(join(installation.folder, "key.pem"), key);
}

async function serve(env: Readonly<Record<string, string>>): Promise<ServerProcess> {
  const server = await installation.serve(env);
  started.push({
    async kill() {
      server.child.kill("SIGKILL");
      await server.child.exited;
    },
  });
  return server;
}

/** What it says of where it listens. */
function urlOf(server: ServerProcess, scheme: string): string {
  return new RegExp(`${scheme}://[\\d.:]+`).exec(server.log())![0];
}

async function device(
  command: readonly string[],
  user: string,
  url: string,
  env: Readonly<Record<string, string>> = {},
): Promise<DeviceProcess> {
  const made = new DeviceProcess([...command], {
    URL: url,
    TOKEN: await installation.token(user),
    STORAGE: join(installation.folder, `${user}-${crypto.randomUUID()}.beckon`),
    ...env,
  });
  started.push(made);
  return made;
}

const states = (of: DeviceProcess): string[] => of.all("state").map(({ state }) => state);

test("devices by wss, tls and tcp talk with each other, in Node and Bun, while the certificate changes; SIGTERM sends all away", async () => {
  const server = await serve(ALL);
  const ca = { CA: authority.cert };
  const trusted = { NODE_EXTRA_CA_CERTS: join(installation.folder, "root.pem") };
  const all = [
    await device(node, "ann", urlOf(server, "wss"), trusted),
    await device(node, "bob", urlOf(server, "tls"), ca),
    await device(BUN, "cem", urlOf(server, "tls"), ca),
    await device(node, "dan", urlOf(server, "tcp")),
    await device(BUN, "eve", urlOf(server, "tcp")),
  ];
  const names = ["ann", "bob", "cem", "dan", "eve"];
  for (const one of all) await one.connected();
  const texts = Array.from({ length: 40 }, (_, i) => `${i}`);
  const talk = async (some: readonly string[]): Promise<void> => {
    await Promise.all(
      all.map(async (one, at) => {
        for (const to of names) if (to !== names[at]) await one.send(to, some);
      }),
    );
  };
  await talk(texts.slice(0, 20));
  await install("two");
  server.child.kill("SIGHUP");
  await until(() => server.log().includes("tls.reloaded"), "the other certificate");
  await talk(texts.slice(20));
  for (const one of all) await one.count("got", 4 * texts.length);
  for (const one of all) {
    const order = one.got.map(Number);
    // From each of four, in its order.
    expect(order.toSorted((a, b) => a - b)).toEqual(texts.flatMap((text) => Array(4).fill(+text)));
    expect(one.all("error")).toEqual([]);
    expect(states(one).filter((state) => state === "connected")).toEqual(["connected"]);
  }
  const late = await device(node, "fay", urlOf(server, "tls"), ca);
  await (await late.connected()).send("bob", ["late"]);
  await all[1]!.count("got", 4 * texts.length + 1);
  const metrics = await (await fetch(new URL("/metrics", server.admin))).text();
  expect(metrics).toContain("beckon_connections 6");

  server.child.kill("SIGTERM");
  expect(await server.child.exited).toBe(0);
  for (const one of [...all, late]) {
    await until(() => states(one).at(-1) !== "connected", "all to be sent away");
  }
}, 90_000);

test.each(["Node", "Bun"])(
  "%s does not connect where the certificate is another's, or of somebody whom it does not trust",
  async (runtime) => {
    const command = runtime === "Node" ? node : BUN;
    // The certificate is for 127.0.0.1.
    const server = await serve({ ...ALL, BECKON_LISTENER_0_LISTEN: "127.0.0.2:0" });
    const url = urlOf(server, "tls");
    expect(url).toContain("127.0.0.2");
    const other = await serve({ ...ALL, BECKON_STORE: "sqlite:other.db" });
    const foreign = await device(command, "ann", url, { CA: authority.cert });
    const strange = await device(command, "bob", urlOf(other, "tls"));
    for (const one of [foreign, strange]) {
      await until(() => states(one).includes("waiting"), "it to give up", 20_000);
      expect(states(one)).not.toContain("connected");
    }
    // The one who gives up last is seen to go in a moment.
    const isEmpty = async (): Promise<boolean> => {
      const metrics = await (await fetch(new URL("/metrics", server.admin))).text();
      return metrics.includes("beckon_connections 0");
    };
    await until(isEmpty, "nobody to be connected", 10_000);
  },
  60_000,
);

test("a device in the terminal", async () => {
  const server = await serve(ALL);
  // He has this device alone.
  const hal = await device(node, "hal", urlOf(server, "wss"), {
    NODE_EXTRA_CA_CERTS: join(installation.folder, "root.pem"),
  });
  await hal.connected();
  // As long as he reads what was held, as one does first who has come, all is held.
  const said = (): Promise<string> => sayByApi(server.admin, API_TOKEN, "hal", "news");
  await until(async () => (await said()) === "delivered", "hal to have read what was held");
  for (const [scheme, env] of [
    ["tcp", {}],
    ["tls", { NODE_EXTRA_CA_CERTS: join(installation.folder, "root.pem") }],
  ] as const) {
    const url = urlOf(server, scheme);
    const child = Bun.spawn([process.execPath, MAIN, "device", "ann", "--server", url], {
      env: { PATH: process.env["PATH"], BECKON_TOKEN: await installation.token("ann"), ...env },
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    });
    await child.stdin.write(`hal: by ${scheme}\n`);
    await child.stdin.end();
    expect(await new Response(child.stdout).text()).toMatch(/^ {2}hal: delivered, local, by eu-1/m);
    expect(await child.exited).toBe(0);
  }
  await until(() => hal.got.includes("by tls"), "the last one");
  expect(hal.got.filter((text) => text.startsWith("by "))).toEqual(["by tcp", "by tls"]);
}, 60_000);

test("a flood of connections that say nothing keeps nobody out", async () => {
  const server = await serve({ ...ALL, BECKON_LIMITS_HELLO_TIMEOUT: "2s" });
  const sockets: Socket[] = [];
  let closed = 0;
  started.push({
    kill() {
      for (const socket of sockets) socket.destroy();
      return Promise.resolve();
    },
  });
  for (const scheme of ["tls", "tcp"]) {
    const { port } = new URL(urlOf(server, scheme));
    for (let i = 0; i < 500; i++) {
      const socket = connectTcp(Number(port), "127.0.0.1");
      socket.on("error", () => undefined);
      socket.on("close", () => closed++);
      // What is told of the end is read.
      socket.resume();
      sockets.push(socket);
    }
  }
  const ann = await device(BUN, "ann", urlOf(server, "tls"), { CA: authority.cert });
  const bob = await device(node, "bob", urlOf(server, "tcp"));
  await ann.connected();
  await bob.connected();
  await ann.send("bob", ["through"]);
  await bob.count("got", 1);
  await until(() => closed === sockets.length, "the flood to be closed", 20_000);
  const metrics = await (await fetch(new URL("/metrics", server.admin))).text();
  expect(metrics).toContain("beckon_connections 2");
}, 60_000);

describe("wakes", () => {
  const KEY = new Uint8Array(32).fill(9);
  const LOCAL = { hostname: "127.0.0.1", port: 0 };
  let pushes: DevPushService;
  let system: System;
  const clients: Beckon[] = [];
  const raws: RawDevice[] = [];
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.close();
    for (const raw of raws.splice(0)) raw.close();
    await system.stop();
  });

  async function start(addresses?: readonly Address[]): Promise<void> {
    pushes = new DevPushService(systemClock);
    const providers = [devProvider(pushes)];
    system = await startSystem(1, {
      tcp: [LOCAL],
      providers,
      ...(addresses === undefined ? {} : { addresses }),
    });
  }

  async function hello(user: string, overrides: Partial<HelloFrame>): Promise<RawDevice> {
    const raw = new RawDevice(system.servers[0]!.url);
    raws.push(raw);
    return raw.hello({ token: await system.token(user), ...overrides });
  }

  async function open(body: string): Promise<Hint> {
    const { beckon } = JSON.parse(body) as { beckon: string };
    const wake = decodeWake(decodeBase64Url(beckon)!);
    const key = await crypto.subtle.importKey("raw", KEY, "AES-GCM", false, ["decrypt"]);
    const algorithm = {
      name: "AES-GCM",
      iv: Uint8Array.from(wake.nonce),
      additionalData: new TextEncoder().encode("phone"),
    };
    const sealed = Uint8Array.from(wake.sealed);
    return decodeHint(new Uint8Array(await crypto.subtle.decrypt(algorithm, key, sealed)));
  }

  test.each([
    [["ws"], ["ws"]],
    [["tcp"], ["tcp"]],
    [
      ["tcp", "ws"],
      ["tcp", "ws"],
    ],
    [["quic"], []],
  ])("M9, M12: a device that speaks %p is named addresses of %p", async (protocols, named) => {
    await start();
    const bodies: string[] = [];
    pushes.register("bob's", (body) => bodies.push(body));
    const push = { provider: "dev", token: "bob's", key: { id: 1, key: KEY } };
    const bob = await hello("bob", { protocols, push });
    bob.write({ type: "bye" });
    await bob.end();
    const ann = await hello("ann", {});
    ann.write(send("bob", 1));
    await until(() => bodies.length === 1, "a push");
    const { server } = await open(bodies[0]!);
    expect(server.addresses.map(({ protocol }) => protocol).toSorted()).toEqual(named.toSorted());
    // WELCOME names them all; it is the device that chooses.
    const [welcome] = ann.of("welcome");
    const listed = welcome!.servers.flatMap(({ addresses }) => addresses);
    expect(listed.map(({ url }) => url)).toEqual([...system.servers[0]!.urls]);
  });

  /** Where it has connected, in order. */
  function phone(servers: readonly string[], options: Partial<ConnectOptions>) {
    const dialled: string[] = [];
    const dial = tcp();
    const storage = memory();
    const begin = async (): Promise<Beckon> => {
      const token = await system.token("bob");
      const client = connect({
        servers,
        token: () => token,
        device: "phone",
        storage,
        push: { provider: "dev", token: "bob's" },
        transports: {
          tcp: (address, handler) => {
            dialled.push(address.url);
            return dial(address, handler);
          },
        },
        ...options,
      });
      clients.push(client);
      return client;
    };
    return { begin, dialled };
  }

  async function wokenUp({ begin }: ReturnType<typeof phone>): Promise<Beckon> {
    const bodies: string[] = [];
    pushes.register("bob's", (body) => bodies.push(body));
    const asleep = await begin();
    await until(() => asleep.state.name === "connected", "a connection");
    await asleep.close();
    const ann = await hello("ann", {});
    ann.write(send("bob", 1));
    await until(() => bodies.length === 1, "a push");
    const awake = await begin();
    expect(await awake.onWake(bodies[0])).toBe("connected");
    const { value } = await awake.messages().next();
    expect(value?.text()).toBe("message 1");
    return awake;
  }

  test("M10: a device that prefers tcp is woken to it, though it knew the server by ws alone", async () => {
    await start();
    const [ws, byTcp] = system.servers[0]!.urls;
    const made = phone([ws!], { prefer: { protocols: ["tcp", "ws"] } });
    await wokenUp(made);
    expect(made.dialled.at(-1)).toBe(byTcp);
  });

  test("M10: one that prefers ws stays with it", async () => {
    await start();
    const made = phone([system.servers[0]!.url], {});
    await wokenUp(made);
    expect(made.dialled).toEqual([]);
  });

  test("M12: where the address of tcp is dead, a device that prefers it gets in by ws", async () => {
    const dead = `tcp://127.0.0.1:${lastingPort()}`;
    const listen = { hostname: "127.0.0.1", port: lastingPort() };
    const alive = `ws://127.0.0.1:${listen.port}`;
    const place = { secure: false, network: "", region: "", priority: 0 };
    pushes = new DevPushService(systemClock);
    system = await startSystem(1, {
      listen,
      providers: [devProvider(pushes)],
      addresses: [
        { url: dead, protocol: "tcp", ...place },
        { url: alive, protocol: "ws", ...place },
      ],
    });
    const made = phone([alive], { prefer: { protocols: ["tcp", "ws"] } });
    await wokenUp(made);
    expect(made.dialled).toContain(dead);
  });
});

const haproxy =
  Bun.which("haproxy") ??
  ((await Bun.file("/usr/sbin/haproxy").exists()) ? "/usr/sbin/haproxy" : null);
if (haproxy === null) console.log("there is no haproxy here: its PROXY protocol is not tested");

describe.skipIf(haproxy === null)("behind HAProxy", () => {
  let folder: string;
  beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), "beckon-haproxy-"))));
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test.each(["send-proxy", "send-proxy-v2"])(
    "%s: the device's address is known, with and without TLS",
    async (how) => {
      const server = await serve({
        ...ALL,
        BECKON_TRUSTED_PROXIES_0: "127.0.0.1",
        BECKON_LISTENER_0_PROXY_PROTOCOL: "true",
        BECKON_LISTENER_1_PROXY_PROTOCOL: "true",
      });
      const ports = { tls: lastingPort(), tcp: lastingPort() };
      const part = (scheme: "tls" | "tcp"): string => `
listen ${scheme}
    bind 127.0.0.1:${ports[scheme]}
    server eu-1 ${urlOf(server, scheme).split("//")[1]} ${how} source 127.0.0.1 check inter 200ms
`;
      const config = join(folder, `${how}.cfg`);
      await writeFile(
        config,
        `defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 2m\n    timeout server 2m\n${part("tls")}${part("tcp")}`,
      );
      const proxy = Bun.spawn([haproxy!, "-db", "-f", config], {
        stdout: "ignore",
        stderr: "ignore",
      });
      started.push({
        async kill() {
          proxy.kill("SIGKILL");
          await proxy.exited;
        },
      });
      const ann = await device(node, "ann", `tls://127.0.0.1:${ports.tls}`, { CA: authority.cert });
      const bob = await device(BUN, "bob", `tcp://127.0.0.1:${ports.tcp}`);
      await ann.connected();
      await bob.connected();
      await ann.send("bob", ["hello"]);
      await bob.count("got", 1);

      // A stranger, at an address of its own.
      const stranger = connectTcp({
        port: ports.tcp,
        host: "127.0.0.1",
        localAddress: "127.0.0.9",
      });
      stranger.on("error", () => undefined);
      stranger.write(encodeFrames([{ type: "ping" }]));
      await until(() => server.log().includes("connection.refused"), "the line in the log");
      expect(server.log()).toContain('"code":"hello-expected","address":"127.0.0.9"');
      expect(server.log()).not.toContain('"code":"bad-frame"');
      // The proxy's own looks are nothing to tell of.
      expect(server.log()).not.toContain("proxy.refused");
      stranger.destroy();
    },
    60_000,
  );
});
