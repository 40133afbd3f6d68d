import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { ConfigError, describeConfig, loadConfig, type LoadOptions } from "./config.ts";
import { Authority } from "./gateway/test-support/certificates.ts";
import { PROJECT, serviceAccountFile } from "./push/test-support/service-account.ts";
import { readApnsKey } from "./push/apns-key.ts";
import { generateVapidKey, vapidJwk } from "./push/vapid.ts";

const SECRET = "a secret of thirty-two bytes, or more";

const VAPID = generateVapidKey();
const WHSEC = `whsec_${"A".repeat(32)}`;
const P8 = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({
  type: "pkcs8",
  format: "pem",
});
const APNS = `[push.apns]
key_file = "apns.p8"
key_id = "ABC123DEFG"
team_id = "DEF123GHIJ"
topic = "com.example.chat"
`;

const folder = mkdtempSync(join(tmpdir(), "beckon-config-"));
beforeAll(async () => {
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  await writeFile(join(folder, "apns.p8"), P8);
  await writeFile(join(folder, "secret"), `${SECRET}\n`);
  await writeFile(join(folder, "vapid.jwk"), JSON.stringify(vapidJwk(VAPID)));
  await writeFile(join(folder, "account.json"), serviceAccountFile());
  await writeFile(join(folder, "whsec"), `${WHSEC}\n`);
  await writeFile(join(folder, "short"), "short\n");
  await writeFile(join(folder, "pass"), "p@ss\n");
  await writeFile(join(folder, "nats.creds"), "creds");
  await writeFile(join(folder, "ca.pem"), PEM);
  await writeFile(join(folder, "key.pem"), publicKey.export({ type: "spki", format: "pem" }));
});
afterAll(() => rm(folder, { recursive: true }));

const PEM = "-----BEGIN CERTIFICATE-----\n";
const authority = new Authority("root");
const pair = authority.issue("s1");
const expired = authority.issue("s1", { expires: Date.parse("2026-01-31") });
beforeAll(async () => {
  for (const [name, text] of Object.entries({
    "cert.pem": pair.cert,
    "cert.key": pair.key,
    "old.pem": expired.cert,
    "old.key": expired.key,
    "chain.pem": pair.cert + new Authority("another").cert,
    "other.key": authority.issue("s2").key,
  })) {
    await writeFile(join(folder, name), text);
  }
});

const MINIMAL = `[auth]\nsecret_file = "secret"\nsend = "anyone"\n`;

async function load(text: string, env: Record<string, string> = {}, options: LoadOptions = {}) {
  const path = join(folder, "beckon.toml");
  await writeFile(path, text);
  return loadConfig(path, env, options);
}

/** What is wrong, without the folder's name. */
async function problems(
  text: string,
  env: Record<string, string> = {},
  options: LoadOptions = {},
): Promise<string[]> {
  const error = await load(text, env, options).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ConfigError);
  return (error as ConfigError).message.replaceAll(`${folder}/`, "").split("\n");
}

describe("the file", () => {
  test("that says the least", async () => {
    const config = await load(MINIMAL);
    expect(config).toMatchObject({
      name: "beckon",
      log: "info",
      listen: { host: "0.0.0.0", port: 8080 },
      admin: { host: "127.0.0.1", port: 9090 },
      store: { kind: "sqlite", path: join(folder, "beckon.db") },
      bus: { kind: "memory" },
      tls: undefined,
      trustedProxies: [],
      addresses: [],
      send: { kind: "anyone" },
      apiToken: undefined,
      push: {},
      maxConnections: 100_000,
      limits: { payload: 65_536, window: 256 },
      storeLimits: { heldPerDevice: 10_000 },
      drain: { batch: 500, interval: 100, deadline: 10_000 },
    });
    expect(config.auth).toEqual({
      keys: { kind: "secret", secret: new TextEncoder().encode(SECRET) },
      deviceClaim: "device",
      toClaim: "to",
      tolerance: 5000,
    });
  });

  test("that says everything", async () => {
    const config = await load(`
name = "eu-1"
log = "debug"
listen = "[::]:8081"
admin = ":0"
store = "sqlite:/var/lib/beckon/b.db"
bus = "memory"
cluster_key = "a cluster key of thirty-two bytes or more"
trusted_proxies = ["10.0.0.0/8", "::1"]

[tls]
cert_file = "cert.pem"
key_file = "cert.key"

[[listener]]
protocol = "tcp"
listen = ":7000"

[[listener]]
protocol = "tcp"
listen = "127.0.0.1:7001"
tls = false
proxy_protocol = true

[[address]]
url = "wss://eu-1.chat.example.com"
region = "eu"

[[address]]
url = "tcp://10.0.0.1:7000"
protocol = "tcp"
network = "hall"
priority = 3

[auth]
jwks = "https://app.example.com/jwks.json"
issuer = "https://app.example.com"
audience = "beckon"
device_claim = "did"
to_claim = "friends"
clock_tolerance = "30s"
send = "https://app.example.com/may-send"
send_token = "t"

[api]
token = "0123456789abcdef"

[push.dev]
url = "http://127.0.0.1:9999/"

[limits]
connections = 7
payload = 1000
message_bytes = 4000
message_frames = 5
in_flight = 6
window = 7
rate = 8
burst = 9
hello_timeout = "1s"
heartbeat = "10s"
idle = "1m"
held_per_device = 10
durable_devices = 2
dormant_after = "1d"
gone_dormant_after = "2h"
retention = "7d"

[drain]
batch = 10
interval = "1s"
deadline = "1m"
`);
    expect(config).toMatchObject({
      name: "eu-1",
      log: "debug",
      listen: { host: "::", port: 8081 },
      admin: { host: "0.0.0.0", port: 0 },
      tls: { certFile: join(folder, "cert.pem"), keyFile: join(folder, "cert.key") },
      trustedProxies: [
        { address: "10.0.0.0", family: "ipv4", prefix: 8 },
        { address: "::1", family: "ipv6", prefix: 128 },
      ],
      store: { kind: "sqlite", path: "/var/lib/beckon/b.db" },
      listeners: [
        {
          protocol: "tcp",
          listen: { host: "0.0.0.0", port: 7000 },
          isSecure: true,
          proxyProtocol: false,
        },
        {
          protocol: "tcp",
          listen: { host: "127.0.0.1", port: 7001 },
          isSecure: false,
          proxyProtocol: true,
        },
      ],
      addresses: [
        {
          url: "wss://eu-1.chat.example.com",
          protocol: "ws",
          secure: true,
          network: "",
          region: "eu",
          priority: 0,
        },
        {
          url: "tcp://10.0.0.1:7000",
          protocol: "tcp",
          secure: false,
          network: "hall",
          region: "",
          priority: 3,
        },
      ],
      auth: {
        keys: { kind: "jwks", url: new URL("https://app.example.com/jwks.json") },
        issuer: "https://app.example.com",
        audience: "beckon",
        deviceClaim: "did",
        toClaim: "friends",
        tolerance: 30_000,
      },
      send: { kind: "ask", url: new URL("https://app.example.com/may-send"), token: "t" },
      apiToken: "0123456789abcdef",
      push: { dev: { url: new URL("http://127.0.0.1:9999/") } },
      maxConnections: 7,
      limits: {
        payload: 1000,
        messageBytes: 4000,
        messageFrames: 5,
        inFlight: 6,
        window: 7,
        rate: 8,
        burst: 9,
        helloTimeout: 1000,
        heartbeat: 10_000,
        idle: 60_000,
        heldPerDevice: 10,
        durableDevices: 2,
      },
      storeLimits: {
        heldPerDevice: 10,
        durableDevicesPerUser: 2,
        dormantAfterMs: 86_400_000,
        goneDormantAfterMs: 7_200_000,
        retentionMs: 7 * 86_400_000,
      },
      drain: { batch: 10, interval: 1000, deadline: 60_000 },
    });
  });

  test("of the design, as it stands, with what its NATS and its push services ask for", async () => {
    const design = `# beckon.toml: beckon serve beckon.toml
name   = "eu-1"
listen = "0.0.0.0:8080"
admin  = "127.0.0.1:9090"                # health, metrics, console, POST /v1/messages
store  = "postgres://beckon@db/beckon"   # default: sqlite:beckon.db
bus    = "nats://n1:4222,nats://n2:4222" # default: memory, one process

[[address]]                              # how a device reaches this very server
url = "wss://eu-1.chat.example.com"

[auth]
jwks = "https://app.example.com/jwks.json" # or secret_file, or public_key_file
send = "claim"                             # who may write to whom: anyone | claim | https://…

[push.webpush]
key_file = "vapid.jwk"
`;
    expect(await problems(design)).toEqual(["beckon.toml:15: push.webpush.subject: missing"]);
    const subject = 'subject = "mailto:push@example.com"\n';
    expect(await load(`cluster_key_file = "secret"\n${design}${subject}`)).toMatchObject({
      push: { webpush: { key: VAPID, subject: "mailto:push@example.com", allow: [] } },
      name: "eu-1",
      store: { kind: "postgres", url: new URL("postgres://beckon@db/beckon"), schema: "beckon" },
      bus: { kind: "nats", servers: ["nats://n1:4222", "nats://n2:4222"], tls: undefined },
      send: { kind: "claim" },
    });
  });
});

describe("NATS and PostgreSQL", () => {
  const BOTH = 'store = "postgres://beckon@db/beckon"\nbus = "nats://n1"\n';

  test("under TLS, with secrets in files: they go where they belong, and nobody sees them", async () => {
    const config = await load(`store = "postgres://beckon@db:5433/beckon?sslmode=verify-full"
bus = "tls://n1,tls://n2:5222"
${MINIMAL}
[postgres]
schema = "chat"
connections = 20
password_file = "pass"
ca_file = "ca.pem"

[nats]
credentials_file = "nats.creds"
ca_file = "ca.pem"
cert_file = "ca.pem"
key_file = "ca.pem"
`);
    expect(config.store).toEqual({
      kind: "postgres",
      url: new URL("postgres://beckon:p%40ss@db:5433/beckon?sslmode=verify-full"),
      schema: "chat",
      connections: 20,
      ca: PEM,
    });
    expect(config.bus).toEqual({
      kind: "nats",
      servers: ["tls://n1:4222", "tls://n2:5222"],
      credentials: { creds: "creds" },
      tls: { ca: PEM, cert: PEM, key: PEM },
    });
    const shown = describeConfig(config);
    expect(shown).toContain('bus = "tls://n1:4222,tls://n2:5222"');
    expect(shown).toContain("postgres://***:***@db:5433/beckon?***");
    for (const secret of ["p@ss", "p%40ss", 'creds"', "BEGIN"]) expect(shown).not.toContain(secret);
  });

  test("a user and a password stand in the URL, or the password beside it", async () => {
    const bus = async (text: string): Promise<unknown> =>
      (await load(`store = "postgres://u@h/d"\n${text}${MINIMAL}`)).bus;
    const credentials = { user: "ann", password: "p:w" };
    expect(await bus('bus = "nats://ann:p%3Aw@n1,nats://ann:p%3Aw@n2"\n')).toMatchObject({
      servers: ["nats://n1:4222", "nats://n2:4222"],
      credentials,
      tls: undefined,
    });
    const beside = `bus = "nats://ann@n1"\nnats.password = "p:w"\n`;
    expect(await bus(beside)).toMatchObject({ credentials });
    const shown = describeConfig(await load(`store = "postgres://u@h/d"\n${beside}${MINIMAL}`));
    expect(shown).toContain('bus = "nats://***:***@n1:4222"');
  });

  test.each([
    ['store = "postgres:"', "store: must be"],
    ['store = "postgres://u@h"', "store: must be"],
    ['bus = "redis://x"', "bus: must be"],
    ['bus = "nats://a, nats://"', "bus: must be"],
    ['bus = "nats://a/path"', "bus: must be"],
    ['bus = "nats://a,tls://b"', "bus: must have the same protocol for all"],
    ['bus = "nats://x:1@a,nats://x:2@b"', "bus: must have the same password for all"],
    ['bus = "nats://x@a"', "bus: has a user without a password: say nats.password_file"],
    ['bus = "nats://x:y@a"\nnats.token = "t"', "bus: must have one of a user, nats.token"],
    ['bus = "nats://a"\nnats.password = "t"', "bus: has a password without a user"],
    ['nats.ca_file = "secret"', "nats.ca_file: must be a PEM file: it has no -----BEGIN line"],
    ['nats.cert_file = "ca.pem"', "nats.cert_file: must not be there without the other"],
    ['nats.credentials_file = "no"', "nats.credentials_file: no: there is no such file"],
    ['postgres.schema = "No"', "postgres.schema: must be lower case letters"],
    ["postgres.connections = 2", "postgres.connections: must be at least 4"],
  ])("%j is wrong", async (text, message) => {
    const key = text.split(" ")[0]!;
    const rest = BOTH.split("\n").filter((line) => !line.startsWith(`${key} `));
    expect((await problems(`${text}\n${rest.join("\n")}\n${MINIMAL}`)).join("\n")).toContain(
      message,
    );
  });

  test("several processes need one store, and one key for the tickets of all (M1)", async () => {
    expect(await problems(`bus = "nats://a"\n${MINIMAL}`)).toEqual([
      "beckon.toml: store: must be a postgres:// URL where bus is NATS: servers of several processes need one store",
    ]);
    const keyless = '[auth]\npublic_key_file = "key.pem"\nsend = "anyone"\n';
    expect(await problems(BOTH + keyless)).toEqual([
      "beckon.toml: cluster_key: must have a cluster_key_file, the same on all servers, where bus is NATS",
    ]);
  });
});

describe("every problem has its key and line", () => {
  const STORE =
    'must be "sqlite:PATH" or "postgres://USER@HOST/DATABASE"; what is not a letter or a digit in a password is written as %XX';
  test.each([
    ["store = 'mysql:x'", [`1: store: ${STORE}`]],
    ["store = 'sqlite:'", [`1: store: ${STORE}`]],
    ["listen = '8080'", ['1: listen: must be "host:port", such as "0.0.0.0:8080"']],
    ["listen = 'x:70000'", ['1: listen: must be "host:port", such as "0.0.0.0:8080"']],
    [
      "listen = '127.0.0.1:80'\nadmin = '127.0.0.1:80'",
      ["2: admin: must have another port than listen, which has 80, too"],
    ],
    [
      "listen = '[::]:9090'\nadmin = '127.0.0.1:9090'",
      ["2: admin: must have another port than listen, which has 9090, too"],
    ],
    ["listen = 8080", ["1: listen: must be a text in quotes"]],
    ["name = 'a b'", ["1: name: must be 1 to 64 letters, digits, dots, - and _"]],
    ["log = 'wran'", ["1: log: must be one of debug, info, warn, error; did you mean warn?"]],
    ["nmae = 'x'", ["1: nmae: unknown key; did you mean name?"]],
    ["[atuh]\nsend = 'anyone'", ["1: atuh: unknown key; did you mean auth?"]],
    ["secret_file = 'x'", ["1: secret_file: unknown key; did you mean secret_file in [auth]?"]],
    ["banana = 1", ["1: banana: unknown key"]],
    ["foo = 1", ["1: foo: unknown key"]],
    ["[limits]\n\npayload = 0", ["3: limits.payload: must be at least 1"]],
    ["[limits]\nwindow = 99999999", ["2: limits.window: must be at most 65536"]],
    ["[limits]\npayload = 1.5", ["2: limits.payload: must be a whole number"]],
    ["[limits]\npayload = '1'", ["2: limits.payload: must be a number"]],
    ["[limits]\nidle = 60", ['2: limits.idle: must be a duration with its unit, such as "30s"']],
    ["[limits]\nidle = '9d'", ["2: limits.idle: must be between 2s and 1h"]],
    ["[limits]\nidle = '26s'", ["2: limits.idle: must be 5s or more above heartbeat"]],
    [
      "[limits]\nmessage_bytes = 1000",
      ["2: limits.message_bytes: must be 2048 or more above payload, so that such a SEND fits"],
    ],
    [
      "[[address]]\nurl = 'wss://a'\n[[address]]\nregion = 'eu'\nurl = 'https://b'",
      ["5: address.1.url: must be a URL that begins with wss://, ws://, tls:// or tcp://"],
    ],
    ["[[address]]\nurl = 'tls://a'", ["2: address.0.url: must name the port"]],
    ["[[listener]]\nprotocol = 'udp'\nlisten = ':7000'", ['2: listener.0.protocol: must be "tcp"']],
    [
      "[[listener]]\nprotocol = 'tcp'\nlisten = ':7000'\ntls = true",
      ["4: listener.0.tls: there is no certificate; add [tls] with cert_file and key_file"],
    ],
    [
      "[[listener]]\nprotocol = 'tcp'\nlisten = ':7000'\nproxy_protocol = true",
      ["4: listener.0.proxy_protocol: is believed of trusted_proxies alone, and there are none"],
    ],
    [
      "[[listener]]\nprotocol = 'tcp'\nlisten = ':9090'\n[[listener]]\nprotocol = 'tcp'\nlisten = '[::1]:9090'",
      [
        "3: listener.0.listen: must have another port than admin, which has 9090, too",
        "6: listener.1.listen: must have another port than listener.0.listen, which has 9090, too",
      ],
    ],
    ["[[address]]\nregion = 'eu'", ["1: address.0.url: missing"]],
    [
      "[[address]]\nurl = 'wss://a'\nprotocol = 'tcp'",
      ["3: address.0.protocol: must be ws, by the URL"],
    ],
    [
      "[[address]]\nurl = 'wss://ann:pw@a'",
      ["2: address.0.url: must be a URL that begins with wss://, ws://, tls:// or tcp://"],
    ],
    [
      "address = [\n  { url = 'wss://a' },\n  { uri = 'wss://b' },\n]",
      ["1: address.1.url: missing", "1: address.1.uri: unknown key; did you mean url?"],
    ],
    ["address = 'wss://a'", ["1: address: must be a list of tables ([[…]])"]],
    [
      "[push.webpush]\nkey_file = 'secret'\nsubject = 'mailto:push@localhost'\nallow = ['intranet']",
      [
        '3: push.webpush.subject: must be "mailto:" and an address, or an https:// URL: yours',
        '4: push.webpush.allow.0: must be an address or a range of them, such as "10.0.0.0/8" or "::1"',
      ],
    ],
    [
      "[push.webpush]\nkey_file = 'secret'\nsubject = 'https://example.com/contact'",
      [
        "2: push.webpush.key_file: secret: must be a private key of P-256, as JWK: beckon vapid makes one",
      ],
    ],
    [
      "[push.fcm]\nservice_account_file = 'secret'",
      [
        "2: push.fcm.service_account_file: secret: must be the JSON of a service account, with type, project_id, client_email, private_key and token_uri, as Google's console makes it",
      ],
    ],
    [
      `[push.fcm]\nservice_account_file = 'account.json'\nurl = 'http://fcm'\ntitle = '${"é".repeat(25)}'\nbody = ''`,
      [
        "3: push.fcm.url: must be an https:// URL (http:// only to this machine)",
        "4: push.fcm.title: must have 48 bytes or fewer",
        "5: push.fcm.body: must not be empty",
      ],
    ],
    [
      "[push.webhook]\nurl = 'http://example.com/pushes'",
      [
        "2: push.webhook.url: must be an https:// URL (http:// only to this machine, or to a name without a dot)",
      ],
    ],
    [
      "[push.webhook]\nurl = 'https://example.com/pushes'",
      ["1: push.webhook.secret_file: missing; so is push.webhook.secret"],
    ],
    [
      "[push.webhook]\nurl = 'https://example.com/pushes'\nsecret_file = 'secret'",
      [
        "3: push.webhook.secret_file: secret: must be whsec_ and 24 to 64 random bytes in base64: one, or two lines while one replaces the other",
      ],
    ],
    [
      "[push.apns]\nkey_id = 'abc'\nteam_id = 'DEF123GHIJK'\nenvironment = 'prod'\ntopics = ['x']",
      [
        "1: push.apns.key_file: missing",
        "2: push.apns.key_id: must be 10 capital letters and digits",
        "3: push.apns.team_id: must be 10 capital letters and digits",
        "1: push.apns.topic: missing",
        '5: push.apns.topics.0: must be a bundle id, such as "com.example.chat"',
        "4: push.apns.environment: must be one of production, sandbox",
      ],
    ],
    [
      APNS.replace("apns.p8", "secret"),
      [
        "2: push.apns.key_file: secret: must be a private key of P-256 in PEM: the .p8 file that Apple made for APNs",
      ],
    ],
    [`${APNS}url = 'https://relay.example.com/apns'`, ["6: push.apns.url: must have no path"]],
    [
      `${APNS}alert_body = ''\nurl = 'http://relay.example.com'`,
      [
        "7: push.apns.url: must be an https:// URL (http:// only to this machine)",
        "6: push.apns.alert_body: must have 1 to 200 characters",
      ],
    ],
    [
      "[push.dev]\nurl = 'http://example.com'",
      [
        "2: push.dev.url: must be an https:// URL (http:// only to this machine, or to a name without a dot)",
      ],
    ],
    ["api.token = 'short'", ["1: api.token: must have 16 bytes or more"]],
    ["cluster_key = 'short'", ["1: cluster_key: must have 32 bytes or more"]],
    [
      "cluster_key = 'x'\ncluster_key_file = 'secret'",
      ["2: cluster_key_file: must not be there beside cluster_key"],
    ],
    ["cluster_key_file = 'nowhere'", ["1: cluster_key_file: nowhere: there is no such file"]],
    ["cluster_key_file = '.'", ["1: cluster_key_file: .: is a folder"]],
    [
      "trusted_proxies = ['10.0.0.0/8', 'lan']",
      [
        '1: trusted_proxies.1: must be an address or a range of them, such as "10.0.0.0/8" or "::1"',
      ],
    ],
    [
      "trusted_proxies = '10.0.0.0/8'",
      ['1: trusted_proxies: must be a list of addresses and ranges, such as ["10.0.0.0/8"]'],
    ],
    ["[tls]\ncert_file = 'cert.pem'", ["1: tls.key_file: missing; cert_file is there"]],
    ["[tls]\nkey_file = 'cert.key'", ["1: tls.cert_file: missing; key_file is there"]],
    [
      "[tls]\ncert_file = 'none.pem'\nkey_file = 'cert.key'",
      ["2: tls.cert_file: none.pem: there is no such file"],
    ],
    [
      "[tls]\ncert_file = 'cert.pem'\nkey_file = 'other.key'",
      ["3: tls.key_file: other.key: the key does not belong to the certificate in cert_file"],
    ],
  ])("%s", async (text, expected) => {
    const auth = `\n\n${MINIMAL}`;
    const found = await problems(text + auth);
    expect(found).toEqual(expected.map((problem) => `beckon.toml:${problem}`));
  });

  test.each([
    [
      "",
      [
        "beckon.toml: auth.send: missing; say who may write to whom: anyone, claim (the token's list), or an https:// URL to ask",
      ],
    ],
    [
      "\n[auth]\nsend = 'anyone'",
      [
        "beckon.toml:2: auth: must have one of secret_file, secret, jwks, public_key_file: what the tokens are signed with",
      ],
    ],
    [
      "[auth]\nsend = 'anyone'\nsecret_file = 'secret'\njwks = 'https://a/b'",
      ["beckon.toml:1: auth: must have only one of secret_file, jwks"],
    ],
    [
      "[auth]\nsend = 'everyone'\nsecret_file = 'secret'",
      [
        "beckon.toml:2: auth.send: must be anyone, claim, or an https:// URL (http:// only to this machine)",
      ],
    ],
    [
      "[auth]\nsend = 'anyone'\njwks = 'http://app.example.com/jwks'",
      ["beckon.toml:3: auth.jwks: must be an https:// URL (http:// only to this machine)"],
    ],
    [
      "[auth]\nsend = 'anyone'\nsecret_file = 'short'",
      ["beckon.toml:3: auth.secret_file: must have 32 bytes or more"],
    ],
    [
      "[auth]\nsend = 'anyone'\npublic_key_file = 'secret'",
      ["beckon.toml:3: auth.public_key_file: it is not a public key in PEM, nor a JWK"],
    ],
    [
      "[auth]\nsend = 'anyone'\nsecret_file = 'secret'\nstore = 'sqlite:x'",
      ["beckon.toml:4: auth.store: unknown key; store stands at the top, before the first [table]"],
    ],
  ])("%s", async (text, expected) => {
    expect(await problems(text)).toEqual(expected);
  });

  test.each([
    ["old", "old.pem: the certificate has expired on 2026-01-31"],
    [
      "chain",
      "chain.pem: certificate 2 in it did not issue number 1: each must be followed by its issuer's",
    ],
  ])("of a certificate that is served all the same, for --check alone: %s", async (name, said) => {
    const key = name === "old" ? "old.key" : "cert.key";
    const text = `${MINIMAL}[tls]\ncert_file = "${name}.pem"\nkey_file = "${key}"\n`;
    expect((await load(text)).tls?.certFile).toBe(join(folder, `${name}.pem`));
    expect(await problems(text, {}, { isStrict: true })).toEqual([
      `beckon.toml:5: tls.cert_file: ${said}`,
    ]);
  });

  test("one port on two addresses of the machine is none", async () => {
    const text = `listen = "10.0.0.1:80"\nadmin = "127.0.0.1:80"\n${MINIMAL}`;
    expect(await load(text)).toMatchObject({ admin: { port: 80 } });
  });

  test("several at once", async () => {
    const text = 'nmae = "x"\nlisten = "y"\n[auth]\nsnd = "anyone"\n';
    expect(await problems(text, { BECKON_LSITEN: "z", BECKON_ADMIN: "q" })).toEqual([
      "BECKON_LSITEN: unknown variable; did you mean BECKON_LISTEN?",
      'beckon.toml:2: listen: must be "host:port", such as "0.0.0.0:8080"',
      'BECKON_ADMIN: admin: must be "host:port", such as "0.0.0.0:8080"',
      "beckon.toml:3: auth.send: missing; say who may write to whom: anyone, claim (the token's list), or an https:// URL to ask",
      "beckon.toml:4: auth.snd: unknown key; did you mean send?",
      "beckon.toml:1: nmae: unknown key; did you mean name?",
    ]);
  });

  test("a line after values of several lines, comments and Windows' ends of lines", async () => {
    const text = `# a comment
name = """\\
  eu-1"""
address = [
  { url = "wss://a" }, # one
]

# another
listen = "x"
${MINIMAL}`;
    expect(await problems(text)).toEqual([
      'beckon.toml:9: listen: must be "host:port", such as "0.0.0.0:8080"',
    ]);
    expect(await problems(text.replaceAll("\n", "\r\n"))).toEqual([
      'beckon.toml:9: listen: must be "host:port", such as "0.0.0.0:8080"',
    ]);
  });

  test("no TOML: the line, and nothing of what stands there", async () => {
    const found = await problems(`name = "x"\n[auth]\nsecret = ${SECRET}\n`);
    expect(found).toHaveLength(1);
    expect(found[0]).toStartWith("beckon.toml:3: ");
    expect(found[0]).not.toContain("thirty");
  });

  test("no file", async () => {
    await expect(loadConfig(join(folder, "none.toml"), {})).rejects.toThrow(
      /none\.toml: there is no such file$/,
    );
  });

  test("a secret is never repeated", async () => {
    const texts = [
      `[auth]\nsend = "anyone"\nsecret = "short-secret"`,
      `[auth]\nsend = "anyone"\nsecret = ["short-secret"]`,
      `${MINIMAL}[api]\ntoken = "short-secret"`,
      `cluster_key = "short-secret"\n${MINIMAL}`,
      `[push.dev]\nurl = "ftp://short-secret@x"\n${MINIMAL}`,
    ];
    for (const text of texts) {
      expect((await problems(text)).join("\n")).not.toContain("short-secret");
    }
  });
});

describe("the environment", () => {
  /** Every key there is, with a value that is none of the defaults. */
  const EVERY: Record<string, [value: string, read: (config: Loaded) => unknown, is: unknown]> = {
    BECKON_NAME: ["eu-9", (c) => c.name, "eu-9"],
    BECKON_LOG: ["error", (c) => c.log, "error"],
    BECKON_LISTEN: ["127.0.0.1:1", (c) => c.listen.port, 1],
    BECKON_ADMIN: ["127.0.0.1:2", (c) => c.admin.port, 2],
    BECKON_STORE: ["postgres://u@h/d", (c) => c.store.kind, "postgres"],
    BECKON_BUS: ["nats://a,nats://b:1", (c) => (c.bus as Nats).servers[1], "nats://b:1"],
    BECKON_POSTGRES_SCHEMA: ["other", (c) => (c.store as Postgres).schema, "other"],
    BECKON_POSTGRES_CONNECTIONS: ["9", (c) => (c.store as Postgres).connections, 9],
    BECKON_POSTGRES_PASSWORD: ["p", (c) => (c.store as Postgres).url.password, "p"],
    BECKON_NATS_TOKEN: ["t", (c) => (c.bus as Nats).credentials, { token: "t" }],
    BECKON_TRUSTED_PROXIES_0: ["10.0.0.1", (c) => c.trustedProxies[0]?.address, "10.0.0.1"],
    BECKON_CLUSTER_KEY: [SECRET.repeat(2), (c) => c.clusterKey.length, 32],
    BECKON_LISTENER_0_PROTOCOL: ["tcp", (c) => c.listeners[0]?.protocol, "tcp"],
    BECKON_LISTENER_0_LISTEN: [":9", (c) => c.listeners[0]?.listen.port, 9],
    BECKON_LISTENER_0_TLS: ["false", (c) => c.listeners[0]?.isSecure, false],
    BECKON_LISTENER_0_PROXY_PROTOCOL: ["true", (c) => c.listeners[0]?.proxyProtocol, true],
    BECKON_ADDRESS_0_URL: ["wss://b", (c) => c.addresses[0]?.url, "wss://b"],
    BECKON_ADDRESS_0_PROTOCOL: ["ws", (c) => c.addresses[0]?.protocol, "ws"],
    BECKON_ADDRESS_0_NETWORK: ["hall", (c) => c.addresses[0]?.network, "hall"],
    BECKON_ADDRESS_0_REGION: ["eu", (c) => c.addresses[0]?.region, "eu"],
    BECKON_ADDRESS_0_PRIORITY: ["3", (c) => c.addresses[0]?.priority, 3],
    BECKON_AUTH_ISSUER: ["i", (c) => c.auth.issuer, "i"],
    BECKON_AUTH_AUDIENCE: ["a", (c) => c.auth.audience, "a"],
    BECKON_AUTH_DEVICE_CLAIM: ["d", (c) => c.auth.deviceClaim, "d"],
    BECKON_AUTH_TO_CLAIM: ["t", (c) => c.auth.toClaim, "t"],
    BECKON_AUTH_CLOCK_TOLERANCE: ["1s", (c) => c.auth.tolerance, 1000],
    BECKON_AUTH_SEND: ["https://a/b", (c) => c.send.kind, "ask"],
    BECKON_AUTH_SEND_TOKEN: ["s", (c) => "token" in c.send && c.send.token, "s"],
    BECKON_API_TOKEN: ["fedcba9876543210", (c) => c.apiToken, "fedcba9876543210"],
    BECKON_PUSH_APNS_KEY_FILE: [
      join(folder, "apns.p8"),
      (c) => c.push.apns?.key.jwk,
      readApnsKey(P8),
    ],
    BECKON_PUSH_APNS_KEY_ID: ["K123456789", (c) => c.push.apns?.key.keyId, "K123456789"],
    BECKON_PUSH_APNS_TEAM_ID: ["T123456789", (c) => c.push.apns?.key.teamId, "T123456789"],
    BECKON_PUSH_APNS_TOPIC: ["a.b", (c) => c.push.apns?.topics, ["a.b"]],
    BECKON_PUSH_APNS_TOPICS_0: ["a.c", (c) => c.push.apns?.topics[1], "a.c"],
    BECKON_PUSH_APNS_ENVIRONMENT: [
      "sandbox",
      (c) => c.push.apns?.url.href,
      "https://api.sandbox.push.apple.com/",
    ],
    BECKON_PUSH_APNS_URL: ["https://a:2197", (c) => c.push.apns?.url.host, "a:2197"],
    BECKON_PUSH_APNS_ALERT_TITLE: ["T", (c) => c.push.apns?.alerts.title, "T"],
    BECKON_PUSH_APNS_ALERT_BODY: ["B", (c) => c.push.apns?.alerts.message, { text: "B" }],
    BECKON_PUSH_APNS_ALERT_LOC_KEY: ["K", (c) => c.push.apns?.alerts.message, { key: "K" }],
    BECKON_PUSH_APNS_CALL_BODY: ["C", (c) => c.push.apns?.alerts.call, { text: "C" }],
    BECKON_PUSH_APNS_CALL_LOC_KEY: ["K", (c) => c.push.apns?.alerts.call, { key: "K" }],
    BECKON_PUSH_DEV_URL: ["http://push:1/", (c) => c.push.dev?.url.host, "push:1"],
    BECKON_PUSH_WEBPUSH_KEY_FILE: [
      join(folder, "vapid.jwk"),
      (c) => c.push.webpush?.key.publicKey,
      VAPID.publicKey,
    ],
    BECKON_PUSH_WEBPUSH_SUBJECT: ["https://a.b/", (c) => c.push.webpush?.subject, "https://a.b/"],
    BECKON_PUSH_WEBPUSH_ALLOW_0: [
      "10.0.0.0/8",
      (c) => c.push.webpush?.allow[0]?.address,
      "10.0.0.0",
    ],
    BECKON_PUSH_FCM_SERVICE_ACCOUNT_FILE: [
      join(folder, "account.json"),
      (c) => c.push.fcm?.account.project,
      PROJECT,
    ],
    BECKON_PUSH_FCM_URL: ["https://a.b/", (c) => c.push.fcm?.url.host, "a.b"],
    BECKON_PUSH_FCM_NOTIFICATION: ["true", (c) => c.push.fcm?.text.isShown, true],
    BECKON_PUSH_FCM_TITLE: ["t", (c) => c.push.fcm?.text.title, "t"],
    BECKON_PUSH_FCM_BODY: ["b", (c) => c.push.fcm?.text.body, "b"],
    BECKON_PUSH_FCM_CALL_BODY: ["c", (c) => c.push.fcm?.text.callBody, "c"],
    BECKON_PUSH_WEBHOOK_URL: ["http://app:1/", (c) => c.push.webhook?.url.host, "app:1"],
    BECKON_PUSH_WEBHOOK_SECRET: [WHSEC, (c) => c.push.webhook?.secrets[0]?.length, 24],
    BECKON_PUSH_WEBHOOK_SECRET_FILE: [
      join(folder, "whsec"),
      (c) => c.push.webhook?.secrets[0]?.length,
      24,
    ],
    BECKON_LIMITS_CONNECTIONS: ["11", (c) => c.maxConnections, 11],
    BECKON_LIMITS_PAYLOAD: ["12", (c) => c.limits.payload, 12],
    BECKON_LIMITS_MESSAGE_BYTES: ["3000", (c) => c.limits.messageBytes, 3000],
    BECKON_LIMITS_MESSAGE_FRAMES: ["14", (c) => c.limits.messageFrames, 14],
    BECKON_LIMITS_IN_FLIGHT: ["15", (c) => c.limits.inFlight, 15],
    BECKON_LIMITS_WINDOW: ["16", (c) => c.limits.window, 16],
    BECKON_LIMITS_RATE: ["17", (c) => c.limits.rate, 17],
    BECKON_LIMITS_BURST: ["18", (c) => c.limits.burst, 18],
    BECKON_LIMITS_HELLO_TIMEOUT: ["2s", (c) => c.limits.helloTimeout, 2000],
    BECKON_LIMITS_HEARTBEAT: ["3s", (c) => c.limits.heartbeat, 3000],
    BECKON_LIMITS_IDLE: ["9s", (c) => c.limits.idle, 9000],
    BECKON_LIMITS_HELD_PER_DEVICE: ["19", (c) => c.storeLimits.heldPerDevice, 19],
    BECKON_LIMITS_DURABLE_DEVICES: ["4", (c) => c.storeLimits.durableDevicesPerUser, 4],
    BECKON_LIMITS_DORMANT_AFTER: ["1h", (c) => c.storeLimits.dormantAfterMs, 3_600_000],
    BECKON_LIMITS_GONE_DORMANT_AFTER: ["2h", (c) => c.storeLimits.goneDormantAfterMs, 7_200_000],
    BECKON_LIMITS_RETENTION: ["3h", (c) => c.storeLimits.retentionMs, 10_800_000],
    BECKON_DRAIN_BATCH: ["5", (c) => c.drain.batch, 5],
    BECKON_DRAIN_INTERVAL: ["6ms", (c) => c.drain.interval, 6],
    BECKON_DRAIN_DEADLINE: ["7s", (c) => c.drain.deadline, 7000],
  };
  const NEEDS: Record<string, Record<string, string>> = {
    BECKON_AUTH_SEND_TOKEN: { BECKON_AUTH_SEND: "https://a/b" },
    BECKON_LISTENER: {
      BECKON_LISTENER_0_PROTOCOL: "tcp",
      BECKON_LISTENER_0_LISTEN: ":7000",
      BECKON_TRUSTED_PROXIES_0: "::1",
    },
    BECKON_BUS: { BECKON_STORE: "postgres://u@h/d" },
    BECKON_NATS: { BECKON_STORE: "postgres://u@h/d", BECKON_BUS: "nats://a" },
    BECKON_PUSH_APNS: {
      BECKON_PUSH_APNS_KEY_FILE: join(folder, "apns.p8"),
      BECKON_PUSH_APNS_KEY_ID: "ABC123DEFG",
      BECKON_PUSH_APNS_TEAM_ID: "DEF123GHIJ",
      BECKON_PUSH_APNS_TOPIC: "com.example.chat",
    },
    BECKON_PUSH_WEBPUSH: {
      BECKON_PUSH_WEBPUSH_KEY_FILE: join(folder, "vapid.jwk"),
      BECKON_PUSH_WEBPUSH_SUBJECT: "https://a.b/",
    },
    BECKON_PUSH_FCM: { BECKON_PUSH_FCM_SERVICE_ACCOUNT_FILE: join(folder, "account.json") },
    BECKON_PUSH_WEBHOOK_URL: { BECKON_PUSH_WEBHOOK_SECRET: WHSEC },
    BECKON_PUSH_WEBHOOK: { BECKON_PUSH_WEBHOOK_URL: "https://a.b/" },
    BECKON_POSTGRES: { BECKON_STORE: "postgres://u@h/d" },
  };
  type Postgres = Extract<Loaded["store"], { kind: "postgres" }>;
  type Nats = Extract<Loaded["bus"], { kind: "nats" }>;
  type Loaded = Awaited<ReturnType<typeof loadConfig>>;

  const FILE = `
name = "eu-1"
[[address]]
url = "wss://a"
${MINIMAL}
[api]
token = "0123456789abcdef"
`;

  test.each(Object.entries(EVERY))("%s wins over the file", async (name, [value, read, is]) => {
    const needs = Object.entries(NEEDS).find(([prefix]) => name.startsWith(prefix))?.[1];
    const least = name.endsWith("_BYTES") ? { BECKON_LIMITS_PAYLOAD: "12" } : {};
    const shorter = name.endsWith("_IDLE") ? { BECKON_LIMITS_HEARTBEAT: "3s" } : {};
    const config = await load(FILE, { ...needs, [name]: value, ...least, ...shorter });
    expect(read(config)).toEqual(is);
  });

  test("wins over the file where the two say one thing with different keys", async () => {
    const token = "fedcba9876543210";
    const file = `${MINIMAL}[api]\ntoken_file = "nowhere"`;
    expect(await load(file, { BECKON_API_TOKEN: token })).toMatchObject({ apiToken: token });
    const path = join(folder, "secret");
    const text = `${MINIMAL}[api]\ntoken = "short"`;
    expect(await load(text, { BECKON_API_TOKEN_FILE: path })).toMatchObject({ apiToken: SECRET });
    const keys = async (env: Record<string, string>) => (await load(MINIMAL, env)).auth.keys;
    const other = "another secret of thirty-two bytes";
    expect(await keys({ BECKON_AUTH_SECRET: other })).toEqual({
      kind: "secret",
      secret: Buffer.from(other),
    });
    expect((await keys({ BECKON_AUTH_JWKS: "https://a/b" })).kind).toBe("jwks");
    const both = { BECKON_AUTH_JWKS: "https://a/b", BECKON_AUTH_SECRET: other };
    expect(await problems(MINIMAL, both)).toEqual([
      "beckon.toml:1: auth: must have only one of secret, jwks",
    ]);
  });

  test("is enough by itself; paths in it are relative to the working directory", async () => {
    const config = await loadConfig(undefined, {
      BECKON_AUTH_SECRET_FILE: join(folder, "secret"),
      BECKON_AUTH_SEND: "claim",
      BECKON_ADDRESS_0_URL: "wss://a",
      BECKON_ADDRESS_1_URL: "tls://b:1",
      BECKON_STORE: "",
    });
    expect(config.addresses.map(({ url }) => url)).toEqual(["wss://a", "tls://b:1"]);
    expect(config.store).toEqual({ kind: "sqlite", path: "beckon.db" });
    for (const [key, value] of Object.entries({
      BECKON_AUTH_SECRET: SECRET,
      BECKON_AUTH_JWKS: "https://a/b",
      BECKON_AUTH_PUBLIC_KEY_FILE: join(folder, "key.pem"),
    })) {
      const { auth } = await loadConfig(undefined, { [key]: value, BECKON_AUTH_SEND: "claim" });
      expect(auth.keys.kind).toBe(
        ({ SECRET: "secret", JWKS: "jwks" } as const)[key.slice(12)] ?? "public-key",
      );
    }
  });

  test("secrets can be in files, too", async () => {
    const { BECKON_API_TOKEN: _, ...env } = {
      BECKON_API_TOKEN: "",
      BECKON_API_TOKEN_FILE: join(folder, "secret"),
      BECKON_CLUSTER_KEY_FILE: join(folder, "secret"),
      BECKON_AUTH_SEND: "https://a/b",
      BECKON_AUTH_SEND_TOKEN_FILE: join(folder, "secret"),
    };
    const config = await load(MINIMAL, env);
    expect(config.apiToken).toBe(SECRET);
    expect(config.send).toMatchObject({ token: SECRET });
  });

  test("says where a certificate is, relative to the working directory", async () => {
    const { tls } = await load(MINIMAL, {
      BECKON_TLS_CERT_FILE: join(folder, "cert.pem"),
      BECKON_TLS_KEY_FILE: join(folder, "cert.key"),
    });
    expect(tls?.certFile).toBe(join(folder, "cert.pem"));
    expect(await problems(MINIMAL, { BECKON_TLS_CERT_FILE: "cert.pem" })).toEqual([
      "beckon.toml: tls.key_file: missing; cert_file is there",
    ]);
  });

  test("its problems name the variable", async () => {
    const env = {
      BECKON_LIMITS_PAYLOAD: "many",
      BECKON_AUTH_SEND: "nobody",
      BECKON_AUTH_SECERT: "x",
      BECKON_ADDRESS_2_URL: "wss://c",
    };
    expect(await problems(FILE, env)).toEqual([
      "BECKON_ADDRESS_2_URL: address.2: there is none before it; count from 0",
      "BECKON_AUTH_SECERT: unknown variable; did you mean BECKON_AUTH_SECRET?",
      "BECKON_AUTH_SEND: auth.send: must be anyone, claim, or an https:// URL (http:// only to this machine)",
      "BECKON_LIMITS_PAYLOAD: limits.payload: must be a number",
    ]);
  });

  test("variables that Kubernetes makes for a service named beckon are not ours; BECKON_PORT is nobody's", async () => {
    await load(MINIMAL, {
      BECKON_SERVICE_HOST: "10.0.0.1",
      BECKON_SERVICE_PORT: "8080",
      BECKON_SERVICE_PORT_WS: "8080",
      BECKON_PORT: "tcp://10.0.0.1:8080",
      BECKON_PORT_8080_TCP: "tcp://10.0.0.1:8080",
      BECKON_PORT_8080_TCP_ADDR: "10.0.0.1",
      BECKON_ADMIN_SERVICE_HOST: "10.0.0.2",
      BECKON_ADMIN_PORT_9090_TCP_PROTO: "tcp",
      BECKON_CONFIG: "beckon.toml",
      PATH: "/bin",
    });
    expect(await problems(MINIMAL, { BECKON_PORT: "8080" })).toEqual([
      "BECKON_PORT: unknown variable",
    ]);
  });
});

describe("the key of the tickets", () => {
  const key = async (text: string) => Buffer.from((await load(text)).clusterKey).toString("hex");

  test("is made from the tokens' secret, and is not it", async () => {
    const made = await key(MINIMAL);
    expect(made).toHaveLength(64);
    expect(await key(MINIMAL)).toBe(made);
    expect(made).not.toBe(Buffer.from(SECRET).toString("hex").slice(0, 64));
  });

  test("is made from the cluster's key, if there is one", async () => {
    const line = `cluster_key = "another key of thirty-two bytes or so"\n`;
    const made = await key(line + MINIMAL);
    expect(made).not.toBe(await key(MINIMAL));
    expect(await key(`${line}[auth]\njwks = "https://a/b"\nsend = "anyone"`)).toBe(made);
  });

  test("is random for public keys: one process", async () => {
    const text = `[auth]\npublic_key_file = "key.pem"\nsend = "anyone"`;
    expect(await key(text)).not.toBe(await key(text));
  });
});

describe("--check", () => {
  test("shows the configuration as it was understood, and no secret", async () => {
    const config = await load(`${MINIMAL}[push.dev]\nurl = "https://ann:pass@push/?key=hidden"`, {
      BECKON_API_TOKEN: "0123456789abcdef",
      BECKON_AUTH_SEND: "https://app/may?token=hidden",
      BECKON_AUTH_SEND_TOKEN: "hidden",
      BECKON_ADDRESS_0_URL: "wss://a",
    });
    const shown = describeConfig(config);
    expect(shown).toContain('listen = "0.0.0.0:8080"');
    expect(shown).toContain('send = "https://app/may?***"');
    expect(shown).toContain('secret = "***"');
    expect(shown).toContain('idle = "1m"');
    expect(shown).toContain('[[address]]\nurl = "wss://a"\nprotocol = "ws"');
    expect(shown).toContain('url = "https://***:***@push/?***"');
    for (const secret of ["hidden", "0123456789abcdef", "thirty-two", "ann", "pass@"]) {
      expect(shown).not.toContain(secret);
    }
  });

  test("shows whom APNs takes this system for, and no key", async () => {
    const { push } = await load(MINIMAL + APNS);
    expect(push.apns).toEqual({
      key: { jwk: readApnsKey(P8), keyId: "ABC123DEFG", teamId: "DEF123GHIJ" },
      url: new URL("https://api.push.apple.com"),
      topics: ["com.example.chat"],
      alerts: {
        title: undefined,
        message: { text: "New message" },
        call: { text: "Incoming call" },
      },
    });
    const shown = describeConfig(await load(MINIMAL + APNS));
    expect(shown).toContain(`[push.apns]
key_file = "***"
key_id = "ABC123DEFG"
team_id = "DEF123GHIJ"
topic = "com.example.chat"
topics = []
url = "https://api.push.apple.com/"
alert_body = "New message"
call_body = "Incoming call"
`);
    const again = shown
      .replace('key_file = "***"', 'key_file = "apns.p8"')
      .replaceAll("***", SECRET);
    expect(describeConfig(await load(again))).toBe(shown);
  });

  test("what it shows is a configuration, and the same one", async () => {
    const config = await load(MINIMAL, {
      BECKON_ADDRESS_0_URL: "wss://a",
      BECKON_LISTEN: "[::1]:8",
      BECKON_TRUSTED_PROXIES_0: "10.0.0.0/8",
      BECKON_TLS_CERT_FILE: join(folder, "cert.pem"),
      BECKON_TLS_KEY_FILE: join(folder, "cert.key"),
    });
    const shown = describeConfig(config).replaceAll("***", SECRET);
    expect(describeConfig(await load(shown))).toBe(describeConfig(config));
  });
});
