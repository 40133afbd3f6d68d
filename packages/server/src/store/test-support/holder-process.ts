/** A process of its own: holds messages for Bob's phone and writes the number of each once it is acknowledged. */
import { uuidv7 } from "@beckon/protocol";

import { openSqlite } from "../sqlite.ts";
import { arrival, request } from "./requests.ts";

const [path = "", first = "0", count = "0"] = process.argv.slice(2);
const store = await openSqlite(path);
const LANES = 4;
const end = Number(first) + Number(count);
let next = Number(first);

async function holdOnAndOn(): Promise<void> {
  while (next < end) {
    const number = next++;
    const body = new Uint8Array(4);
    new DataView(body.buffer).setUint32(0, number);
    const id = uuidv7(Date.now(), (bytes) => crypto.getRandomValues(bytes));
    const [result] = await store.messages.hold([request({ id, body, from: "child" })]);
    if (result?.outcome !== "held" || result.rows.length === 0) throw new Error("not held");
    process.stdout.write(`${number}\n`);
  }
}

await Promise.all(Array.from({ length: LANES }, holdOnAndOn));
await store.devices.arrive(arrival("bob", "laptop"));
await store.close();
