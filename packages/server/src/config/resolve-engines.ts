import type { BusChoice, NatsChoice, NatsCredentials, StoreChoice } from "./config.ts";
import type { GivenBus, GivenNats, GivenPostgres, GivenStore } from "./engines.ts";
import type { Files } from "./files.ts";

export async function resolveStore(
  given: GivenStore,
  postgres: GivenPostgres,
  files: Files,
): Promise<StoreChoice> {
  if (given.kind === "sqlite") return { kind: "sqlite", path: files.path("store", given.path) };
  const url = new URL(given.url);
  const password = await files.secret("postgres.password", postgres.password, 1);
  if (password !== undefined) {
    if (url.password !== "")
      files.problem("store", "must have no password beside postgres.password");
    url.password = encodeURIComponent(password);
  }
  const { schema, connections, caFile } = postgres;
  const ca = await certificate("postgres.ca_file", caFile, files);
  return { kind: "postgres", url, schema, connections, ca };
}

/** Undefined where what NATS is to be told is incomplete; the problem has been told. */
export async function resolveBus(
  given: GivenBus,
  nats: GivenNats,
  files: Files,
): Promise<BusChoice | undefined> {
  if (given.kind === "memory") return given;
  const { servers, isTls } = given;
  const ca = await certificate("nats.ca_file", nats.caFile, files);
  const cert = await certificate("nats.cert_file", nats.certFile, files);
  const key = await certificate("nats.key_file", nats.keyFile, files);
  const said = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
  // With any of these NATS is spoken to under TLS or not at all.
  const tls: NatsChoice["tls"] = isTls || Object.keys(said).length > 0 ? said : undefined;
  const credentials = await credentialsOf(given, nats, files);
  if (credentials === "wrong") return undefined;
  return { kind: "nats", servers, credentials, tls };
}

async function credentialsOf(
  { user, password: inUrl }: Extract<GivenBus, { kind: "nats" }>,
  nats: GivenNats,
  files: Files,
): Promise<NatsCredentials | undefined | "wrong"> {
  const password = (await files.secret("nats.password", nats.password, 1)) ?? inUrl;
  const token = await files.secret("nats.token", nats.token, 1);
  const creds =
    nats.credentialsFile === undefined
      ? undefined
      : await files.read("nats.credentials_file", nats.credentialsFile);
  const ways: NatsCredentials[] = [];
  if (user !== "") ways.push({ user, password });
  if (token !== undefined) ways.push({ token });
  if (creds !== undefined) ways.push({ creds });
  const wrong = faultOf(ways.length, user, password);
  if (wrong === undefined) return ways[0];
  files.problem("bus", wrong);
  return "wrong";
}

function faultOf(ways: number, user: string, password: string): string | undefined {
  if (ways > 1) return "must have one of a user, nats.token and nats.credentials_file, not several";
  if (user !== "" && password === "")
    return "has a user without a password: say nats.password_file";
  if (user === "" && password !== "") return "has a password without a user: nats://USER@HOST:PORT";
  return undefined;
}

/** PEM. */
async function certificate(
  key: string,
  path: string | undefined,
  files: Files,
): Promise<string | undefined> {
  const text = path === undefined ? undefined : await files.read(key, path);
  if (text === undefined || text.includes("-----BEGIN ")) return text;
  files.problem(key, "must be a PEM file: it has no -----BEGIN line");
  return undefined;
}
