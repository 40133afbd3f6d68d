/** Imports go downward only: the drawing in the architecture document, as a test. */

import { expect, test } from "bun:test";
import { posix } from "node:path";
import { fileURLToPath } from "node:url";

interface Edge {
  /** A source file, from the root of the repository. */
  readonly file: string;
  /** What the import statement says. */
  readonly specifier: string;
}

/** What each package may import besides its own files; `others`: any package that is not ours. */
const PACKAGES: Record<string, { ours: readonly string[]; others: boolean }> = {
  protocol: { ours: [], others: false },
  client: { ours: ["@beckon/protocol"], others: false },
  server: { ours: ["@beckon/protocol"], others: true },
  console: { ours: ["@beckon/protocol", "@beckon/client"], others: true },
  cli: {
    ours: ["@beckon/protocol", "@beckon/client", "@beckon/server", "@beckon/console"],
    others: true,
  },
};

const SERVER = "packages/server/src/";

/** What only Node and Bun load; a browser's bundle does not see it. */
const FOR_NODE = /^packages\/client\/src\/(file|tcp)\//;

/** What comes with the browser's storage; whoever connects without one does not load it. */
const FOR_TABS = /^packages\/client\/src\/tabs\//;
const BROWSER_STORAGE = "packages/client/src/storages.ts";

/** The server's layers, highest first; a file imports from its own folder and from lower layers. */
const LAYERS: readonly (readonly string[])[] = [
  ["index.ts"],
  ["server.ts"],
  ["service.ts"],
  ["node.ts"],
  ["config.ts"],
  ["config"],
  ["gateway", "admin"],
  ["delivery"],
  ["sessions", "placement", "push"],
  ["store", "cluster"],
  ["lib"],
];

/** Files that implement a port; `server.ts` alone chooses among them. */
const BACKEND =
  /^packages\/server\/src\/(store\/(memory|sqlite|postgres)|cluster\/(memory|nats))\b/;

const EXEMPT = /\.(test|suite)\.ts$|\/(test|test-support)\//;

const STATEMENT = /^[ \t]*(?:import|export)\b[^"';]*?\bfrom\s*["']([^"']+)["']/gm;
const BARE_OR_DYNAMIC = /\bimport\s*\(?\s*["']([^"']+)["']/g;

function importsOf(source: string): string[] {
  return [STATEMENT, BARE_OR_DYNAMIC].flatMap((pattern) =>
    [...source.matchAll(pattern)].map((match) => match[1] ?? ""),
  );
}

const isOurs = (specifier: string): boolean => /^(@beckon\/|beckon(\/|$))/.test(specifier);

/** The part of a server's path that has a layer: a folder, or a file at the top. */
const unitOf = (path: string): string => path.slice(SERVER.length).split("/")[0] ?? "";

const layerOf = (unit: string): number => LAYERS.findIndex((units) => units.includes(unit));

/** Why an import is not allowed, or nothing if it is. */
function offence({ file, specifier }: Edge): string | undefined {
  const name = file.split("/")[1] ?? "";
  const allowed = PACKAGES[name];
  if (allowed === undefined) return `packages/${name} has no rule`;

  if (!specifier.startsWith(".")) {
    const [scope, second] = specifier.split("/");
    const imported = scope?.startsWith("@") ? `${scope}/${second}` : scope;
    const isAllowed = isOurs(specifier)
      ? allowed.ours.includes(imported ?? "")
      : allowed.others || (FOR_NODE.test(file) && specifier.startsWith("node:"));
    return isAllowed ? undefined : `packages/${name} may not import ${imported}`;
  }

  const target = posix.join(posix.dirname(file), specifier);
  if (!target.startsWith(`packages/${name}/`)) return "leaves its package";
  if (FOR_NODE.test(target) && !FOR_NODE.test(file)) return "only Node and Bun load it";
  if (FOR_TABS.test(target) && !FOR_TABS.test(file) && file !== BROWSER_STORAGE) {
    return "only the browser's storage brings it";
  }
  if (!file.startsWith(SERVER) || !target.startsWith(SERVER)) return undefined;

  const from = unitOf(file);
  const to = unitOf(target);
  for (const unit of [from, to]) if (layerOf(unit) < 0) return `${unit} has no layer`;
  const isImplementation = BACKEND.test(file) && from === to;
  if (BACKEND.test(target) && from !== "server.ts" && !isImplementation) {
    return "only server.ts imports a backend";
  }
  return from === to || layerOf(from) < layerOf(to) ? undefined : `${from} is not above ${to}`;
}

const isListener = (file: string): boolean => /^listen(-[\w-]+)?\.ts$/.test(posix.basename(file));

const OF_NODE = /\bimport \{[^}]*\bcreateServer\b[^}]*\} from "node:(net|tls|https?|http2)"/;

function namesServer(file: string, source: string): boolean {
  if (/\bBun\.serve\b/.test(source)) return true;
  return file.startsWith(SERVER) && (/\bBun\.listen\b/.test(source) || OF_NODE.test(source));
}

function offences(file: string, source: string): string[] {
  if (EXEMPT.test(file)) return [];
  const found = importsOf(source).flatMap((specifier) => {
    const reason = offence({ file, specifier });
    return reason === undefined ? [] : [`${file} imports "${specifier}": ${reason}`];
  });
  if (namesServer(file, source) && !isListener(file)) {
    found.push(`${file} names the runtime's server: only listen-*.ts may`);
  }
  return found;
}

test("imports go downward only", async () => {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const files = [...new Bun.Glob("packages/*/src/**/*.ts").scanSync(root)].toSorted();
  const found = await Promise.all(
    files.map(async (file) => offences(file, await Bun.file(root + file).text())),
  );
  expect(files).not.toBeEmpty();
  expect(found.flat()).toEqual([]);
});

const S = "packages/server/src";

test.each([
  [`${S}/server.ts`, "./gateway/gateway.ts"],
  [`${S}/server.ts`, "./store/sqlite.ts"],
  [`${S}/config.ts`, "./lib/log.ts"],
  [`${S}/index.ts`, "./server.ts"],
  [`${S}/gateway/handlers/send.ts`, "../../delivery/delivery.ts"],
  [`${S}/gateway/handlers/send.ts`, "../socket.ts"],
  [`${S}/delivery/delivery.ts`, "../store/message-store.ts"],
  [`${S}/sessions/replication.ts`, "../cluster/bus.ts"],
  [`${S}/store/sqlite.ts`, "./sqlite-worker.ts"],
  [`${S}/store/sqlite.ts`, "bun:sqlite"],
  [`${S}/lib/clock.ts`, "@beckon/protocol"],
  ["packages/client/src/index.ts", "@beckon/protocol"],
  ["packages/cli/src/main.ts", "@beckon/client/storage"],
  ["packages/client/src/file/file.ts", "node:fs/promises"],
  ["packages/client/src/file/file.ts", "../errors.ts"],
  ["packages/client/src/tcp/tcp.ts", "node:tls"],
  ["packages/client/src/storages.ts", "./tabs/indexed-db.ts"],
  ["packages/client/src/tabs/tab.ts", "../handover.ts"],
])("%s may import %s", (file, specifier) => {
  expect(offence({ file, specifier })).toBeUndefined();
});

test.each([
  [`${S}/lib/clock.ts`, "../delivery/delivery.ts", "lib is not above delivery"],
  [`${S}/delivery/delivery.ts`, "../gateway/socket.ts", "delivery is not above gateway"],
  [`${S}/gateway/gateway.ts`, "../admin/http.ts", "gateway is not above admin"],
  [`${S}/gateway/gateway.ts`, "../config.ts", "gateway is not above config.ts"],
  [`${S}/delivery/delivery.ts`, "../store/sqlite.ts", "only server.ts imports a backend"],
  [`${S}/store/message-store.ts`, "./memory.ts", "only server.ts imports a backend"],
  [`${S}/config.ts`, "./cluster/nats.ts", "only server.ts imports a backend"],
  [`${S}/index.ts`, "./cluster/memory-bus.ts", "only server.ts imports a backend"],
  [`${S}/lib/clock.ts`, "../misc/time.ts", "misc has no layer"],
  [`${S}/server.ts`, "../../client/src/index.ts", "leaves its package"],
  [`${S}/server.ts`, "@beckon/client", "packages/server may not import @beckon/client"],
  ["packages/protocol/src/codec.ts", "node:buffer", "packages/protocol may not import node:buffer"],
  [
    "packages/client/src/index.ts",
    "@beckon/server",
    "packages/client may not import @beckon/server",
  ],
  ["packages/client/src/index.ts", "ws", "packages/client may not import ws"],
  ["packages/client/src/index.ts", "node:fs", "packages/client may not import node:fs"],
  ["packages/client/src/index.ts", "./file/file.ts", "only Node and Bun load it"],
  ["packages/client/src/client.ts", "./tabs/tabs.ts", "only the browser's storage brings it"],
  ["packages/server/src/server.ts", "beckon", "packages/server may not import beckon"],
])("%s may not import %s", (file, specifier, reason) => {
  expect(offence({ file, specifier })).toBe(reason);
});

test("every form of import is seen, and tests are exempt", () => {
  const source = [
    'import "./a.ts";',
    'import type { B } from "./b.ts";',
    "import {\n  c,\n} from './c.ts';",
    'export * from "./d.ts";',
    'const e = await import("./e.ts");',
    "// import it from here",
  ].join("\n");
  expect(importsOf(source).toSorted()).toEqual(["a", "b", "c", "d", "e"].map((n) => `./${n}.ts`));

  const upward = 'import { deliver } from "../delivery/delivery.ts";';
  expect(offences(`${S}/lib/clock.ts`, upward)).toEqual([
    `${S}/lib/clock.ts imports "../delivery/delivery.ts": lib is not above delivery`,
  ]);
  expect(offences(`${S}/lib/clock.test.ts`, upward)).toEqual([]);
});

test("only listeners name the runtime's server", () => {
  const plain = 'import { createServer } from "node:net";';
  expect(offences(`${S}/gateway/listen-tcp.ts`, plain)).toEqual([]);
  expect(offences(`${S}/gateway/socket.ts`, plain)).toHaveLength(1);
  expect(offences(`${S}/gateway/address.ts`, 'import { isIPv4 } from "node:net";')).toEqual([]);
  expect(offences(`${S}/gateway/listen-ws.ts`, "Bun.serve({});")).toEqual([]);
  expect(offences(`${S}/admin/listen.ts`, "Bun.serve({});")).toEqual([]);
  expect(offences(`${S}/gateway/gateway.ts`, "Bun.serve({});")).toHaveLength(1);
});
