/** Users of a file, each a process of its own, in Bun or in plain Node. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { fromJson, toJson } from "../file/json.ts";
import type { Storage, Stored } from "../storage.ts";
import type { StorageHarness } from "../storage.suite.ts";
import { IMPOSSIBLE, type UserCall } from "./user-call.ts";

type Reply = { readonly id: number; readonly result?: Stored; readonly error?: string };

/** `command`: what runs `file-user.ts` on the path that follows. */
export async function fileUsers(command: readonly string[]): Promise<StorageHarness> {
  const folder = await mkdtemp(join(tmpdir(), "beckon-file-"));
  const users = new Map<Storage, Bun.Subprocess>();
  return {
    async open(other) {
      const { storage, child, ready } = start([...command, join(folder, other ?? "storage")]);
      users.set(storage, child);
      // Who comes first would be who starts faster, else.
      await ready;
      return storage;
    },
    async kill(user) {
      const child = users.get(user)!;
      child.kill("SIGKILL");
      await child.exited;
    },
    async close() {
      for (const child of users.values()) {
        child.kill("SIGKILL");
        await child.exited;
      }
      await rm(folder, { recursive: true, force: true });
    },
  };
}

interface User {
  readonly storage: Storage;
  readonly child: Bun.Subprocess;
  readonly ready: Promise<unknown>;
}

function start(command: string[]): User {
  const child = Bun.spawn(command, { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
  const calls = new Map<number, (reply: Reply) => void>();
  const ready = new Promise((resolve) => calls.set(0, resolve));
  let last = 0;

  async function listen(): Promise<void> {
    const decoder = new TextDecoder();
    let text = "";
    for await (const chunk of child.stdout) {
      const lines = (text + decoder.decode(chunk, { stream: true })).split("\n");
      text = lines.pop()!;
      for (const line of lines) {
        const reply = fromJson(line) as unknown as Reply;
        calls.get(reply.id)!(reply);
      }
    }
    for (const fail of calls.values()) fail({ id: 0, error: "the process is gone" });
  }
  void listen();

  function call(method: UserCall["method"], changes: UserCall["changes"] = []): Promise<Stored> {
    const id = ++last;
    return new Promise((resolve, reject) => {
      calls.set(id, ({ result, error }) => {
        calls.delete(id);
        if (error === undefined) resolve(result!);
        else reject(new Error(error));
      });
      void child.stdin.write(
        `${toJson({ id, method, changes } satisfies UserCall as unknown as Stored)}\n`,
      );
      void child.stdin.flush();
    });
  }

  const storage: Storage = {
    read: async () => (await call("read")) as [string, Stored][],
    write: async (changes) => {
      const isFunction = (value: unknown): boolean => typeof value === "function";
      await call(
        "write",
        changes.map(({ key, value }) =>
          value === undefined ? [key] : [key, isFunction(value) ? IMPOSSIBLE : value],
        ),
      );
    },
    clear: async () => void (await call("clear")),
    close: async () => void (await call("close")),
  };
  return { storage, child, ready };
}
