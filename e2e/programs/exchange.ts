/** Two devices in one process that write to each other; says what came of it. */
import { readFile } from "node:fs/promises";

import { connect } from "@beckon/client";
import { file } from "@beckon/client/file";
import { WebSocket } from "ws";

const [server = "", annsToken = "", bobsToken = ""] = process.argv.slice(2);
const common = { servers: [server], webSocket: WebSocket };
const ann = connect({ ...common, token: () => annsToken, storage: file("ann.beckon") });
const bob = connect({ ...common, token: () => bobsToken });
await Promise.all(
  [ann, bob].map(
    (one) =>
      new Promise<void>((resolve) => {
        one.on("state", ({ name }) => {
          if (name === "connected") resolve();
        });
      }),
  ),
);

const got: string[] = [];
const [atAnn, atBob] = [ann.messages(), bob.messages()];
const acks = [ann.send("bob", "hello")];
got.push((await atBob.next()).value!.text());
acks.push(bob.send("ann", new TextEncoder().encode("déjà vu 😀")));
got.push((await atAnn.next()).value!.text());
// Asking for the next one acknowledges.
void [atAnn.next(), atBob.next()];
const statuses = (await Promise.all(acks)).map(({ status }) => status);
await Promise.all([ann.close(), bob.close()]);
const [storage] = (await readFile("ann.beckon", "utf8")).split("\n");
console.log(JSON.stringify({ acks: statuses, got, storage }));
