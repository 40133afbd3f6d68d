/** A process that uses a file as a storage, as it is told line by line on its input, in Bun or in plain Node. */
import { createInterface } from "node:readline";

import { file } from "../file/file.ts";
import { fromJson, toJson } from "../file/json.ts";
import type { Change, Storage, Stored } from "../storage.ts";
import { IMPOSSIBLE, type UserCall } from "./user-call.ts";

const storage: Storage = file(process.argv[2]!);

async function answer({ method, changes }: UserCall): Promise<Stored> {
  if (method === "write") await storage.write(changes.map(toChange));
  else if (method === "read") return [...(await storage.read())];
  else await storage[method]();
  return null;
}

function toChange([key, value]: UserCall["changes"][number]): Change {
  return { key, value: value === IMPOSSIBLE ? ((() => {}) as unknown as Stored) : value };
}

createInterface(process.stdin)
  .on("line", (line) => {
    const call = fromJson(line) as unknown as UserCall;
    void answer(call).then(
      (result) => console.log(toJson({ id: call.id, result })),
      (error: unknown) => console.log(toJson({ id: call.id, error: String(error) })),
    );
  })
  // Whoever told it what to do is gone.
  .on("close", () => process.exit());

/** It is ready. */
console.log(toJson({ id: 0 }));
