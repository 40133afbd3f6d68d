import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { VirtualClock } from "../cluster/test-support/virtual-clock.ts";
import { createLog } from "../lib/log.ts";
import { CertificateWatch, loadCertificate } from "./certificate-watch.ts";
import type { TlsPair } from "./certificate.ts";
import { Authority } from "./test-support/certificates.ts";

const DAY = 86_400_000;
const authority = new Authority("root");

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "beckon-tls-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function write({ cert, key }: TlsPair, into = folder): Promise<void> {
  await mkdir(into, { recursive: true });
  await writeFile(join(into, "cert.pem"), cert);
  await writeFile(join(into, "key.pem"), key);
}

interface Line {
  readonly event: string;
  readonly key?: string;
  readonly reason?: string;
}

async function watching(first: TlsPair, from = folder) {
  if (from === folder) await write(first);
  const files = { certFile: join(from, "cert.pem"), keyFile: join(from, "key.pem") };
  const clock = new VirtualClock(Date.now());
  const lines: string[] = [];
  const sink = (line: string): void => void lines.push(line);
  const log = createLog({ level: "debug", format: "json", sink, now: () => clock.now() });
  const used: string[] = [];
  const state = { fails: false };
  const watch = new CertificateWatch({
    files,
    first: await loadCertificate(files),
    clock,
    log,
    use(certificate) {
      if (state.fails) throw new Error("no more listeners");
      used.push(certificate.cert);
      return Promise.resolve();
    },
  });
  return {
    watch,
    clock,
    used,
    state,
    files,
    text: () => lines.join(""),
    /** What was said since the last time. */
    said: () => lines.splice(0).map((line) => JSON.parse(line) as Line),
  };
}

const events = (lines: readonly Line[]): string[] => lines.map(({ event }) => event);
const wait = (clock: VirtualClock, days: number): Promise<void> => clock.advance(days * DAY);

test("a certificate that is replaced by a link is taken over at the next look, and said once", async () => {
  const [first, second] = [authority.issue("s1"), authority.issue("s1")];
  await write(first, join(folder, "one"));
  await write(second, join(folder, "two"));
  await symlink("one", join(folder, "live"));
  const { watch, used, said } = await watching(first, join(folder, "live"));
  await watch.look();
  expect(events(said())).toEqual(["tls.loaded"]);
  await symlink("two", join(folder, "next"));
  await rename(join(folder, "next"), join(folder, "live"));
  await watch.look();
  await watch.look();
  expect(used).toEqual([second.cert]);
  expect(events(said())).toEqual(["tls.reloaded"]);
});

test("half a pair changes nothing, is told once, and is taken over when the other half is there", async () => {
  const [first, second] = [authority.issue("s1"), authority.issue("s1")];
  const { watch, used, said, files, text } = await watching(first);
  await writeFile(files.certFile, second.cert);
  said();
  await watch.look();
  await watch.look();
  const told = said();
  expect(told).toMatchObject([{ event: "tls.refused", key: "tls.key_file" }]);
  expect(told[0]!.reason).toBe("the key does not belong to the certificate in cert_file");
  await writeFile(files.keyFile, second.key.slice(0, 80));
  await watch.look();
  expect(said()).toMatchObject([{ event: "tls.refused", reason: "has no private key in PEM" }]);
  await rm(files.keyFile);
  await watch.look();
  await watch.look();
  const gone = { event: "tls.refused", reason: "there is no such file" };
  expect(said()).toMatchObject([{ ...gone, key: "tls.key_file" }]);
  await writeFile(files.keyFile, second.key);
  await rm(files.certFile);
  await watch.look();
  expect(said()).toMatchObject([{ ...gone, key: "tls.cert_file" }]);
  await rm(files.keyFile);
  await writeFile(files.certFile, second.cert);
  expect(used).toEqual([]);
  await writeFile(files.keyFile, second.key);
  await watch.look();
  expect(used).toEqual([second.cert]);
  expect(watch.expires).toBe((await loadCertificate(files)).expires);
  expect(text()).not.toContain("PRIVATE");
});

test("a problem that comes again after all was well is told again", async () => {
  const first = authority.issue("s1");
  const { watch, said, files } = await watching(first);
  for (const key of ["", first.key, ""]) {
    await writeFile(files.keyFile, key);
    await watch.look();
  }
  expect(events(said())).toEqual(["tls.loaded", "tls.refused", "tls.refused"]);
});

test("one that cannot be served leaves the one before in place, and is tried again", async () => {
  const { watch, used, state, said } = await watching(authority.issue("s1"));
  const second = authority.issue("s1");
  await write(second);
  state.fails = true;
  await watch.look();
  await watch.look();
  expect(events(said())).toEqual(["tls.loaded", "tls.refused"]);
  state.fails = false;
  await watch.look();
  expect(used).toEqual([second.cert]);
});

test("it looks by itself, and no more when it is stopped", async () => {
  const { watch, clock, used } = await watching(authority.issue("s1"));
  const looked = Promise.withResolvers<void>();
  const look = watch.look.bind(watch);
  let looks = 0;
  watch.look = () => {
    looks++;
    return look().finally(looked.resolve);
  };
  const second = authority.issue("s1");
  await write(second);
  await clock.advance(5_000);
  await looked.promise;
  expect(used).toEqual([second.cert]);
  watch.stop();
  await clock.advance(60_000);
  expect(looks).toBe(1);
});

test("that a certificate expires is said from 7 days before, once a day", async () => {
  const expires = Date.now() + 9 * DAY;
  const { watch, clock, said } = await watching(authority.issue("s1", { expires }));
  expect(events(said())).toEqual(["tls.loaded"]);
  const concerns = async (days: number): Promise<(string | undefined)[]> => {
    await wait(clock, days);
    await watch.look();
    await watch.look();
    return said().map(({ reason }) => reason);
  };
  expect(await concerns(1)).toEqual([]);
  expect(await concerns(1.5)).toEqual(["the certificate expires in 7 days or less"]);
  expect(await concerns(0.5)).toEqual([]);
  expect(await concerns(0.5)).toEqual(["the certificate expires in 6 days or less"]);
  const [expired] = await concerns(6);
  expect(expired).toStartWith("the certificate has expired on ");
  watch.stop();
});
