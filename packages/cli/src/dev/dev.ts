/** A development system: servers, push service, page and phones in one process, on this machine alone. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { PEOPLE } from "@beckon/console/cast";
import {
  DEV_API_TOKEN,
  DEV_SECRET,
  DevPushService,
  devProvider,
  systemClock,
} from "@beckon/server";

import { createHub, LocalServer } from "../local/server.ts";
import type { Terminal } from "../terminal.ts";
import { devApp } from "./app.ts";
import { banner } from "./banner.ts";
import { Day } from "./day.ts";
import { Disk } from "./disk.ts";
import { listenPage } from "./listen-page.ts";
import { logTo } from "./log.ts";
import { Narrator } from "./narrator.ts";
import { createPaint } from "./paint.ts";
import { Phones } from "./phones.ts";
import { Ports } from "./ports.ts";
import { Stage } from "./stage.ts";
import { prepareWebPush } from "./web-push.ts";

export interface DevOptions {
  /** Of the page; those of the servers follow. 0: any that are free. */
  readonly port: number;
  readonly servers: number;
  /** For the database and the VAPID key; undefined: a temporary folder. */
  readonly data: string | undefined;
  /** What happens, as JSON instead of lines. */
  readonly json: boolean;
  /** The process's environment: `BECKON_PUSH_WEBPUSH_…` holds for the servers. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface Dev {
  readonly url: string;
  stop(): Promise<void>;
}

const DOWN_MS = 5_000;
/** From a server's port to that of its admin API. */
const ADMIN = 10;

export async function startDev(options: DevOptions, terminal: Terminal): Promise<Dev> {
  const folder = options.data ?? (await mkdtemp(join(tmpdir(), "beckon-dev-")));
  await mkdir(folder, { recursive: true });
  const removeFolder = async (): Promise<void> => {
    if (options.data === undefined) await rm(folder, { recursive: true, force: true });
  };
  const { default: page } = await import("@beckon/console/page");
  const { default: chat } = await import("@beckon/console/chat");

  const webPush = await prepareWebPush(folder, options.env).catch(async (error: unknown) => {
    await removeFolder();
    throw error;
  });
  const hub = createHub();
  const pushes = new DevPushService(systemClock);
  const ports = new Ports();
  const day = new Day();
  const store = join(folder, "beckon.db");
  const disk = await Disk.open(store);
  const stage: Stage = new Stage({
    applicationServerKey: webPush.applicationServerKey,
    downMs: DOWN_MS,
    fillDisk: (full) => disk.setFull(full),
    playDay: (tell) => day.play(tell),
  });
  const pagePort = ports.next(options.port);
  for (let i = 0; i < options.servers; i++) {
    const name = `s${i + 1}`;
    const port = pagePort === 0 ? 0 : pagePort + 1 + i;
    stage.add(
      new LocalServer({
        hub,
        name,
        port: ports.next(port),
        adminPort: ports.next(port === 0 ? 0 : port + ADMIN),
        store,
        secret: DEV_SECRET,
        apiToken: DEV_API_TOKEN,
        settings: webPush.settings,
        embedding: {
          providers: [devProvider(pushes)],
          throughPush: (provider) => stage.fallible(provider),
          wakeNames: (accepting) => stage.wakeNames(accepting),
          observer: stage.observer(name),
          logger: logTo((text) => stage.failed(name, `${name}: ${text}`)),
        },
      }),
    );
  }
  const phones = new Phones({
    pushes,
    urls: () => stage.servers.map(({ url }) => url),
    isConnected: (user) => stage.isConnected(user),
    report: (report) => stage.tell({ type: "report", report }),
    moved: (where) => stage.tell({ type: "phones", where }),
  });

  let quiet = (): void => undefined;
  const stop = async (): Promise<void> => {
    quiet();
    day.stop();
    await phones.stop();
    await listener?.close();
    await stage.stop();
    await disk.close();
    await removeFolder();
  };
  let listener: ReturnType<typeof listenPage> | undefined;
  try {
    await stage.start();
    listener = listenPage(
      { "/": page, "/chat": chat },
      devApp({ stage, pushes, phones }),
      pagePort,
    );
    await phones.start();
  } catch (error) {
    await stop();
    throw error;
  }

  const { url } = listener;
  const paint = createPaint(
    terminal.coloured && !options.json,
    stage.servers.map(({ name }) => name),
  );
  if (options.json) {
    quiet = stage.listen((happening) => terminal.out(`${JSON.stringify(happening)}\n`));
    terminal.out(`${JSON.stringify({ type: "ready", url, ...stage.view })}\n`);
  } else {
    const narrator = new Narrator({
      line: (text) => terminal.out(`${text}\n`),
      paint,
      after: (ms, task) => systemClock.after(ms, task),
      isConnected: (user) => stage.isConnected(user),
    });
    narrator.begin(stage.view.devices);
    const deafen = stage.listen((happening) => narrator.tell(happening));
    quiet = () => {
      deafen();
      narrator.flush();
    };
    terminal.out(banner({ url, view: stage.view, users: PEOPLE, taken: ports.taken, paint }));
  }
  return { url, stop };
}
