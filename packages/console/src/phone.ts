/** A demo phone: the real SDK over its own WebSocket while it is awake, and a lock screen while it sleeps. */
import { type Ack, type Beckon, connect, type Message, type StateName } from "@beckon/client";
import { memory, type Storage } from "@beckon/client/storage";
import { decodeBase64Url, decodeHint, decodeWake, type WakeKey } from "@beckon/protocol";

export interface PhoneParts {
  readonly user: string;
  /** URLs of servers: where it connects when it does on its own comes first. Asked at each waking. */
  readonly servers: () => readonly string[];
  readonly token: () => Promise<string>;
  /** The ear for pushes, open also while the phone sleeps; the answer ends the listening. */
  readonly listen: (pushToken: string, handler: (body: string) => void) => () => void;
  readonly events: PhoneEvents;
}

export interface PhoneEvents {
  /** What the SDK says of itself; undefined: asleep. `server` is set while it is connected. */
  readonly state: (state: StateName | undefined, server?: string) => void;
  readonly message: (message: Message) => void;
  /** A push lies on the lock screen: its body as the push service sees it, and the server that it names as the phone reads it. */
  readonly pushed: (body: string, names: string) => void;
  /** A tap has led to a connection, `ms` later. */
  readonly woke: (server: string, ms: number) => void;
}

export interface Phone {
  readonly user: string;
  readonly device: string;
  readonly awake: boolean;
  /** The application is opened, without a push. */
  wake(): void;
  /** The newest notification is tapped: opens the application with it. */
  tap(): void;
  /** The application is closed; what it knows stays on the phone. */
  sleep(): Promise<void>;
  send(to: string, text: string): Promise<Ack>;
  /** The phone is put away. Its registration with the servers stays. */
  close(): Promise<void>;
}

export function createPhone({ user, servers, token, listen, events }: PhoneParts): Phone {
  const device = `${user}-phone`;
  /** By this the push service knows the phone: it says nothing of whose it is. */
  const pushToken = crypto.randomUUID();
  const storage = memory();
  let client: Beckon | undefined;
  let closing: Promise<void> = Promise.resolve();
  /** The newest push that was not opened. */
  let notification: string | undefined;
  const deafen = listen(pushToken, (body) => {
    notification = body;
    // A phone in use shows no notification: the application takes the push itself.
    if (client !== undefined) open(client);
    else
      void named(body, device, storage).then(
        (names) => events.pushed(body, names),
        () => {},
      );
  });

  function open(client: Beckon): void {
    const body = notification;
    notification = undefined;
    if (body !== undefined) void client.onWake(body);
  }

  function start(): Beckon {
    const started = connect({
      servers: servers(),
      token,
      device,
      storage,
      push: { provider: "dev", token: pushToken },
    });
    started.on("message", events.message);
    started.on("state", ({ name, server }) => {
      // What it says after it was put to sleep is of no interest.
      if (client === undefined || client === started) events.state(name, server);
    });
    client = started;
    return started;
  }

  async function sleep(): Promise<void> {
    const sleeping = client;
    if (sleeping === undefined) return closing;
    client = undefined;
    closing = sleeping.close();
    await closing;
    if (client === undefined) events.state(undefined);
  }

  return {
    user,
    device,
    get awake() {
      return client !== undefined;
    },
    wake: () => void (client ?? start()),
    tap() {
      const began = performance.now();
      const woken = client ?? start();
      open(woken);
      const stop = woken.on("state", ({ name, server }) => {
        if (name !== "connected") return;
        queueMicrotask(() => stop());
        events.woke(server ?? "", performance.now() - began);
      });
    },
    sleep,
    async send(to, text) {
      await closing;
      return (client ?? start()).send(to, text, { wake: "message", preview: text });
    },
    close() {
      deafen();
      return sleep();
    },
  };
}

/** The server that a push names, opened with the keys that the SDK keeps on the phone, as its service worker would. */
async function named(body: string, device: string, storage: Storage): Promise<string> {
  const { beckon } = JSON.parse(body) as { readonly beckon: string };
  const wake = decodeWake(decodeBase64Url(beckon)!);
  const keys = new Map(await storage.read()).get("w/keys") as unknown as readonly WakeKey[];
  const key = keys.find(({ id }) => id === wake.key)!;
  const [raw, iv, sealed] = [key.key, wake.nonce, wake.sealed].map((bytes) =>
    Uint8Array.from(bytes),
  ) as [Bytes, Bytes, Bytes];
  const aes = await crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["decrypt"]);
  const algorithm = { name: "AES-GCM", iv, additionalData: new TextEncoder().encode(device) };
  return decodeHint(new Uint8Array(await crypto.subtle.decrypt(algorithm, aes, sealed))).server
    .name;
}

type Bytes = Uint8Array<ArrayBuffer>;
