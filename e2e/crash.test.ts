/** A process that keeps what it must in a file loses nothing when it is killed, and repeats nothing without saying so. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { DeviceProcess } from "./support/device-process.ts";
import { compileProgram, installPackage } from "./support/package.ts";
import { Installation, type ServerProcess } from "./support/process.ts";
import { until } from "./support/until.ts";

const PROGRAM = fileURLToPath(new URL("programs/device.ts", import.meta.url));

let project: string | undefined;
let node: readonly string[];

beforeAll(async () => {
  project = await installPackage(["ws"]);
  node = ["node", await compileProgram("device", project)];
}, 60_000);
afterAll(async () => {
  if (project !== undefined) await rm(dirname(project), { recursive: true, force: true });
});

const started: { kill(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of started.splice(0).reverse()) await one.kill();
});

const numbered = (prefix: string, from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, at) => `${prefix}${from + at}`);

describe.each([
  ["Bun", () => [process.execPath, PROGRAM]],
  ["plain Node, from the tarball", () => [...node]],
])("%s", (_, command) => {
  let installation: Installation;
  let server: ServerProcess;

  async function setUp(): Promise<void> {
    installation = await Installation.create();
    server = await installation.serve();
    started.push({
      async kill() {
        server.child.kill("SIGKILL");
        await server.child.exited;
        await installation.remove();
      },
    });
  }

  async function device(user: string, hold = ""): Promise<DeviceProcess> {
    const token = await installation.token(user);
    const made = new DeviceProcess(command(), {
      URL: server.url,
      TOKEN: token,
      STORAGE: join(installation.folder, `${user}.beckon`),
      HOLD: hold,
    });
    started.push(made);
    return made.connected();
  }

  test("L2: killed while it sends: what it had taken arrives once, in order", async () => {
    await setUp();
    const bob = await device("bob");
    const ann = await device("ann");
    await ann.send("bob", numbered("a", 1, 20));
    await ann.count("acked", 20);

    // Nothing is acknowledged from now on; what is transmitted waits in the server's sockets.
    server.child.kill("SIGSTOP");
    await ann.send("bob", numbered("b", 1, 20));
    await ann.settled();
    await ann.kill();
    server.child.kill("SIGCONT");

    const again = await device("ann");
    await again.count("left", 1);
    expect(again.all("left")[0]!.left).toEqual(numbered("b", 1, 20));
    await again.send("bob", ["c1"]);
    const all = [...numbered("a", 1, 20), ...numbered("b", 1, 20), "c1"];
    await bob.count("got", all.length);
    await again.count("acked", 1);
    expect(bob.got).toEqual(all);
    expect([...ann.all("error"), ...again.all("error")]).toEqual([]);

    await again.settled();
    await again.kill();
    const third = await device("ann");
    await third.count("left", 1);
    expect(third.all("left")[0]!.left).toEqual([]);
  }, 60_000);

  test("L2: killed in a stream of sends: each acknowledged one has arrived, none twice, none out of order", async () => {
    await setUp();
    const bob = await device("bob");
    const sent: string[] = [];
    const promised: string[] = [];
    for (let round = 1; round <= 3; round++) {
      const ann = await device("ann");
      const texts = numbered(`r${round}-`, 1, 300);
      await ann.send("bob", texts);
      await ann.count("acked", 20 * round);
      await ann.kill();
      sent.push(...texts);
      promised.push(...ann.all("acked").map(({ acked }) => acked));
    }
    const last = await device("ann");
    await last.send("bob", ["last"]);
    await until(() => bob.got.includes("last"), "the last one");
    expect(promised.filter((text) => !bob.got.includes(text))).toEqual([]);
    // What was not on disk yet when it was killed is nowhere; the rest is in the order of the sends, once.
    expect(bob.got).toEqual([...sent.filter((text) => bob.got.includes(text)), "last"]);
  }, 60_000);

  test("L2: killed in its handler: that message comes again and says so, the others come once", async () => {
    await setUp();
    const bob = await device("bob", "a5");
    const ann = await device("ann");
    await ann.send("bob", numbered("a", 1, 10));
    // They are acknowledged as they are on his disk.
    await ann.count("acked", 10);
    await bob.count("got", 5);
    await bob.settled();
    await bob.kill();
    await ann.send("bob", numbered("b", 1, 3));
    await ann.count("acked", 13);

    const again = await device("bob");
    await again.count("got", 9);
    await again.settled();
    expect(bob.got).toEqual(numbered("a", 1, 5));
    expect(again.got[0]).toBe("a5*");
    // What waited for the handler may have been handed over, too, as far as anyone knows.
    const texts = again.got.map((text) => text.replace("*", ""));
    expect(texts).toEqual([...numbered("a", 5, 10), ...numbered("b", 1, 3)]);
    expect([...bob.all("error"), ...again.all("error")]).toEqual([]);
    await again.kill();
    const third = await device("bob");
    await third.settled();
    expect(third.got).toEqual([]);
  }, 60_000);
});
