/** What does not work, said in words that help, and not a hundred times a second. */
import type { Happening } from "./happening.ts";

/** The same trouble of the same server is told again after this. */
const AGAIN_MS = 15_000;

type What = "store" | "push" | "server";

export class Trouble {
  readonly #tell: (happening: Happening) => void;
  /** By kind, and server where it is of one: when it was told. */
  readonly #told = new Map<string, number>();

  constructor(tell: (happening: Happening) => void) {
    this.#tell = tell;
  }

  store(server: string, onPurpose: boolean): void {
    const why = onPurpose
      ? "the disk is full, on purpose"
      : "the disk is full, or the database does not answer";
    const help = onPurpose ? 'switch the fault "disk-full" off' : "make room on the disk";
    this.#say(
      server,
      "store",
      `${server} cannot store: ${why}. What cannot be delivered at once stays with its sender, who tries again: ${help}`,
    );
  }

  push(server: string, outcome: string, user: string, onPurpose: boolean): void {
    if (outcome === "gone" || outcome === "impossible") {
      const text = `${user} cannot be woken: the push service does not know the device any more. The message is kept until it connects by itself`;
      this.#say(server, "push", text);
      return;
    }
    if (outcome === "rejected") {
      const text = `${user} cannot be woken: the push service refuses the push. The message is kept until it connects by itself`;
      this.#say(server, "push", text);
      return;
    }
    const help = onPurpose
      ? 'switch the fault "push-down" off'
      : "see whether the push service runs";
    this.#say(
      server,
      "push",
      `the push service does not answer. ${user} sleeps on, the message is kept, and the push is tried again: ${help}`,
    );
  }

  server(server: string, text: string): void {
    this.#say(server, "server", text);
  }

  /** It works again. */
  over(server: string, what: What): void {
    if (!this.#told.delete(keyOf(server, what))) return;
    const text = what === "store" ? `${server} stores again` : "the push service answers again";
    this.#tell({ type: "recovered", server, what, text });
  }

  #say(server: string, what: What, text: string): void {
    const key = keyOf(server, what);
    const now = performance.now();
    if (now - (this.#told.get(key) ?? -Infinity) < AGAIN_MS) return;
    this.#told.set(key, now);
    this.#tell({ type: "trouble", server, what, text });
  }
}

/** There is one push service, and whichever server is first sends a push. */
function keyOf(server: string, what: What): string {
  return what === "push" ? what : `${server}\n${what}`;
}
