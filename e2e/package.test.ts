/** The SDK's tarball in an empty folder: plain Node, and a compiler that knows nothing of this workspace. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdir, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";

import { compileProgram, installPackage, ROOT, run } from "./support/package.ts";
import { Installation, type ServerProcess } from "./support/process.ts";

let project: string;
let installation: Installation;
let server: ServerProcess;

beforeAll(async () => {
  project = await installPackage(["ws", "@types/ws", "@types/node"]);
  installation = await Installation.create();
  server = await installation.serve();
}, 60_000);

afterAll(async () => {
  server?.child.kill("SIGTERM");
  await server?.child.exited;
  await installation?.remove();
  if (project !== undefined) await rm(dirname(project), { recursive: true, force: true });
});

/** As `node` runs it in the folder; a warning is output, too. */
function node(code: string): Promise<string> {
  return run(["node", "--input-type=module", "-e", code], project);
}

test("one tarball is enough: it depends on nothing", async () => {
  const lock = await readFile(join(project, "package-lock.json"), "utf8");
  const { packages } = JSON.parse(lock) as { packages: Record<string, unknown> };
  expect(Object.keys(packages)).toEqual(["", "node_modules/@beckon/client"]);
  const files = await readdir(join(project, "node_modules/@beckon/client"), { recursive: true });
  expect(files.filter((file) => /(?<!\.d)\.ts$/.test(file))).toEqual([]);
});

test("plain Node sends and receives, with the WebSocket of ws and a file as its storage", async () => {
  const [ann, bob] = await Promise.all([installation.token("ann"), installation.token("bob")]);
  const program = await compileProgram("exchange", project);
  const output = await run(["node", program, server.url, ann, bob], project);
  expect(JSON.parse(output)).toEqual({
    acks: [
      expect.stringMatching(/^(delivered|held)$/),
      expect.stringMatching(/^(delivered|held)$/),
    ],
    got: ["hello", "déjà vu 😀"],
    storage: "beckon storage 1",
  });
});

test("without a WebSocket it says so", async () => {
  const output = await node(`
    import { BeckonError, connect } from "@beckon/client";
    delete globalThis.WebSocket;
    try {
      connect({ servers: ["ws://127.0.0.1:1"], token: () => "" });
    } catch (error) {
      const { code, message, hint } = error;
      console.log(JSON.stringify([error instanceof BeckonError, code, message, hint]));
    }`);
  expect(JSON.parse(output)).toEqual([
    true,
    "unsupported-runtime",
    "unsupported-runtime: webSocket",
    expect.stringContaining("`ws` on Node 20"),
  ]);
});

test("the storages' errors are those of the package, and a browser's storage says that it is none for Node", async () => {
  const output = await node(`
    import { BeckonError } from "@beckon/client";
    import { file } from "@beckon/client/file";
    import { indexedDb } from "@beckon/client/storage";
    const error = await file("no/where").read().catch((error) => error);
    let other;
    try { indexedDb("ann"); } catch (error) { other = error; }
    console.log([error, other].map((one) => [one instanceof BeckonError, one.message].join(" ")).join("\\n"));`);
  expect(output).toContain("true storage-failed: no/where: ENOENT");
  expect(output).toContain("true unsupported-runtime: indexedDB");
});

const LIBRARIES: readonly (readonly [string, readonly string[]])[] = [
  ["the language alone", ["ES2023"]],
  ["the DOM", ["ES2023", "DOM", "DOM.AsyncIterable"]],
];

for (const [name, lib] of LIBRARIES) {
  test.each(["bundler", "nodenext"])(
    `types check strictly with ${name}, resolved as %s`,
    async (resolution) => {
      await Bun.write(join(project, "app.ts"), APP);
      const options = [
        ["--module", resolution === "bundler" ? "preserve" : "nodenext"],
        ["--moduleResolution", resolution],
        ["--target", "ES2023", "--lib", lib.join(",")],
        ["--strict", "--exactOptionalPropertyTypes", "--noEmit", "--skipLibCheck", "false"],
      ];
      const tsc = join(ROOT, "node_modules/.bin/tsc");
      await run([tsc, ...options.flat(), "--types", "", "--ignoreConfig", "app.ts"], project);
    },
  );
}

const APP = `
import { type Ack, BeckonError, connect, type ErrorCode, type Message } from "@beckon/client";
import { file } from "@beckon/client/file";
import { indexedDb, memory, type Storage } from "@beckon/client/storage";
import { beckonWorker, type Woken } from "@beckon/client/worker";

beckonWorker({ show: (wake: Woken | undefined) => wake && { title: wake.from } });
const storages: Storage[] = [indexedDb("ann"), memory(), file("ann.beckon", { maxBytes: 1_000_000 })];
const beckon = connect({ servers: ["wss://a"], token: async () => "", storage: storages[0]! });
const ack: Ack = await beckon.send("bob", "hello", { wake: "call" });
const status: "delivered" | "held" = ack.status;
for await (const message of beckon.messages()) {
  const { from, redelivered }: Message = message;
  // @ts-expect-error: what is not there
  void [from, redelivered, status, message.missing];
}
try {
  await beckon.close();
} catch (error) {
  if (error instanceof BeckonError) { const code: ErrorCode = error.code; void code; }
}
`;
