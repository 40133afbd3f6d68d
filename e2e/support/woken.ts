import { expect } from "bun:test";

import { type Beckon, connect, type Message, type PushOptions } from "@beckon/client";
import { memory } from "@beckon/client/storage";

import { until } from "./until.ts";

export interface Away {
  /** Where the device connects by itself, and where who writes to it is. */
  readonly its: string;
  readonly sender: string;
  /** The name of the sender's server. */
  readonly name: string;
  readonly token: (user: string) => Promise<string>;
  /** How the device registers. */
  readonly push: PushOptions;
  /** What its native code was given so far. */
  readonly received: () => readonly string[];
}

/**
 * M7, M8: a device goes away, somebody writes to it, and what native code is given wakes it at the sender's server, where the message
 * is. B5: it is sealed.
 */
export async function expectWoken({
  its,
  sender,
  name,
  token,
  push,
  received,
}: Away): Promise<void> {
  const clients: Beckon[] = [];
  const open = (...args: Parameters<typeof connect>): Beckon => {
    const client = connect(...args);
    clients.push(client);
    return client;
  };
  const isConnected =
    ({ state }: Beckon) =>
    (): boolean =>
      state.name === "connected";
  try {
    const bobs = { servers: [its], token: await token("bob"), storage: memory(), push };
    const options = { ...bobs, token: () => bobs.token };
    const asleep = open(options);
    await until(() => isConnected(asleep)(), "the device to be connected");
    await asleep.close();

    const anns = await token("ann");
    const ann = open({ servers: [sender], token: () => anns });
    await until(() => isConnected(ann)(), "the sender to be connected");
    const ack = await ann.send("bob", "Are you there?", { preview: "Are you there?" });
    expect(ack).toMatchObject({ status: "held", route: "wake" });
    await until(() => received().length > 0, "the push");
    const [body] = received() as [string];
    expect(Object.keys(JSON.parse(body) as object)).toEqual(["beckon"]);
    const sealed = Buffer.from((JSON.parse(body) as { beckon: string }).beckon, "base64url");
    for (const secret of ["there", new URL(sender).host]) {
      expect(sealed.toString("latin1")).not.toContain(secret);
    }

    const woken = open(options);
    const messages: Message[] = [];
    woken.on("message", (message) => void messages.push(message));
    expect(await woken.onWake(body)).toBe("connected");
    await until(() => messages.length > 0, "the message");
    expect(woken.state.server).toBe(name);
    expect(messages[0]!.text()).toBe("Are you there?");
    expect(received()).toHaveLength(1);
  } finally {
    await Promise.all(clients.map((client) => client.close()));
  }
}
