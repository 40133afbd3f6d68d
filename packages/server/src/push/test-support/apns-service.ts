/** A push service like Apple's in a process of its own, and what came there. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { Authority } from "../../gateway/test-support/certificates.ts";
import { type ApnsKey, readApnsKey } from "../apns-key.ts";
import type { Device, Mood, Order, Received, Report, Setup } from "./apns-process.ts";

export type { Mood, Received } from "./apns-process.ts";

const KEY_ID = "ABC123DEFG";
const TEAM_ID = "DEF123GHIJ";
export const TOPIC = "com.example.chat";
export const OTHER_TOPIC = "com.example.chat.mac";

export interface ApnsServiceOptions {
  readonly streams?: Partial<Setup["streams"]>;
}

export class ApnsService {
  /** Of the key that it knows: as Apple gives it out, and read. */
  readonly p8: string;
  readonly key: ApnsKey;
  /** Who vouches for it. */
  readonly ca: string;
  readonly requests: Received[] = [];
  connections = 0;
  /** By path. */
  readonly #taken = new Map<string, Received[]>();
  readonly #child: Bun.Subprocess;
  readonly #folder: string;
  readonly #port = Promise.withResolvers<number>();
  readonly #waiting: (() => void)[] = [];
  #url: URL | undefined;

  private constructor(program: string, folder: string, streams: Setup["streams"]) {
    this.#folder = folder;
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    this.p8 = privateKey.export({ type: "pkcs8", format: "pem" });
    this.key = { jwk: readApnsKey(this.p8), keyId: KEY_ID, teamId: TEAM_ID };
    const publicKey = createPublicKey(createPrivateKey(this.p8));
    const authority = new Authority("an authority");
    this.ca = authority.cert;
    this.#child = Bun.spawn(["node", program], {
      serialization: "json",
      ipc: (report: Report) => this.#hear(report),
      stdio: ["ignore", "inherit", "inherit"],
    });
    const setup: Setup = {
      tls: authority.issue("localhost"),
      publicKey: publicKey.export({ type: "spki", format: "pem" }),
      keyId: KEY_ID,
      teamId: TEAM_ID,
      topics: [TOPIC, OTHER_TOPIC],
      streams,
    };
    this.#child.send({ do: "setup", setup } satisfies Order);
  }

  static async start({ streams }: ApnsServiceOptions = {}): Promise<ApnsService> {
    const folder = await mkdtemp(join(tmpdir(), "beckon-apns-"));
    // Node 20 reads no TypeScript.
    const built = await Bun.build({
      entrypoints: [fileURLToPath(new URL("apns-process.ts", import.meta.url))],
      outdir: folder,
      target: "node",
      naming: "[name].mjs",
    });
    const all = { first: 1, trusted: 100, served: Infinity, ...streams };
    // JSON has no infinity.
    const counts = { ...all, served: Math.min(all.served, 1e9) };
    const service = new ApnsService(built.outputs[0]!.path, folder, counts);
    service.#url = new URL(`https://localhost:${await service.#port.promise}`);
    return service;
  }

  get url(): URL {
    return this.#url!;
  }

  /** Why it refused, in the order of the requests. */
  get refusals(): readonly string[] {
    return this.requests.map(({ refusal }) => refusal).filter((why) => why !== undefined);
  }

  /** Most requests of one connection that were under way at once. */
  get mostOpen(): number {
    return Math.max(0, ...this.requests.map(({ open }) => open));
  }

  /** The device token of an application on a new phone. */
  async install(topic: string = TOPIC): Promise<string> {
    const token = randomBytes(32).toString("hex");
    await this.set({ token, topic, state: "active" });
    return token;
  }

  set(device: Device): Promise<void> {
    return this.#order({ do: "device", device });
  }

  /** Undefined: it looks at each push as Apple would. */
  mood(mood?: Mood): Promise<void> {
    return this.#order({ do: "mood", mood });
  }

  /** `now`: ms since 1970. */
  time(now?: number): Promise<void> {
    return this.#order({ do: "time", now });
  }

  disconnect(): Promise<void> {
    return this.#order({ do: "disconnect" });
  }

  /** All that it has seen so far is in `requests`. */
  caughtUp(): Promise<void> {
    return this.#order({ do: "nothing" });
  }

  /** What it took for the device, in order. */
  taken(token: string): readonly Received[] {
    return this.#taken.get(`/3/device/${token}`) ?? [];
  }

  async close(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
    await rm(this.#folder, { recursive: true, force: true });
  }

  #order(order: Order): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#child.send(order);
    });
  }

  #take(request: Received): void {
    const path = request.headers.find(([name]) => name === ":path")?.[1];
    if (!request.taken || path === undefined) return;
    const before = this.#taken.get(path);
    if (before === undefined) this.#taken.set(path, [request]);
    else before.push(request);
  }

  #hear(report: Report): void {
    switch (report.told) {
      case "port":
        this.#port.resolve(report.port);
        return;
      case "done":
        this.#waiting.shift()?.();
        return;
      case "connection":
        this.connections++;
        return;
      case "request":
        this.requests.push(report.request);
        this.#take(report.request);
    }
  }
}

/** The headers of a push, without those of HTTP/2 itself. */
export function headersOf({ headers }: Received): Record<string, string> {
  return Object.fromEntries(headers.filter(([name]) => !name.startsWith(":")));
}

export function payloadOf({ body }: Received): { aps: Record<string, unknown>; beckon?: string } {
  return JSON.parse(body) as { aps: Record<string, unknown>; beckon?: string };
}
