/** A generated community's day: `beckon replay` in a process of its own, one policy after the other. */
import type { DayRun, DayView } from "@beckon/console/stage";
import * as z from "zod";

import { linesOf } from "../lines.ts";
import { ownCommand } from "../own-command.ts";

export interface DayOptions {
  readonly users: number;
  /** Through each policy. */
  readonly messages: number;
  /** The program, and what comes before the name of a command. */
  readonly command: readonly string[];
}

/** Three messages a member; measured to take about ten seconds a policy on two cores. */
const USUAL = { users: 400, messages: 1_200 } as const;
/** Many more, and a conversation goes on before a wake has brought its two together, which in life takes seconds. */
const IN_FLIGHT = 4;

const line = z.union([
  z.object({ progress: z.object({ done: z.int(), of: z.int(), locality: z.number() }) }),
  z.object({
    messages: z.int(),
    locality: z.number(),
    lost: z.int(),
    ok: z.boolean(),
    problems: z.array(z.string()),
    counted: z.object({ local: z.int(), remote: z.int() }),
  }),
]);

export class Day {
  readonly #options: DayOptions;
  readonly #nothing: DayRun;
  #child: Bun.Subprocess<"ignore", "pipe", "pipe"> | undefined;

  constructor(options: Partial<DayOptions> = {}) {
    this.#options = { ...USUAL, command: ownCommand(), ...options };
    const of = this.#options.messages;
    this.#nothing = { done: 0, of, locality: undefined, local: 0, remote: 0, lost: 0 };
  }

  /** Tells at once, at each progress, and when it is over. */
  play(tell: (day: DayView) => void): void {
    let view: DayView = { state: "running", balanced: this.#nothing, sender: this.#nothing };
    const show = (change: Partial<DayView>): void => tell((view = { ...view, ...change }));
    show({});
    const both = async (): Promise<void> => {
      await this.#run("random", (balanced) => show({ balanced }));
      await this.#run("wake", (sender) => show({ sender }));
      show({ state: "done" });
    };
    both().catch((error: unknown) => show({ state: "failed", problem: (error as Error).message }));
  }

  stop(): void {
    this.#child?.kill();
  }

  async #run(policy: "random" | "wake", show: (run: DayRun) => void): Promise<void> {
    const { command, users, messages: count } = this.#options;
    const args = [
      "--generate=community",
      `--policy=${policy}`,
      `--users=${users}`,
      `--messages=${count}`,
      `--in-flight=${IN_FLIGHT}`,
      "--json",
      "--progress=json",
    ];
    const child = Bun.spawn([...command, "replay", ...args], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    this.#child = child;
    const notes = new Response(child.stderr).text();
    let isOver = false;
    for await (const text of linesOf(child.stdout)) {
      const said = line.parse(JSON.parse(text));
      if ("progress" in said) {
        const { done, of, locality } = said.progress;
        show({ ...this.#nothing, done, of, locality: done === 0 ? undefined : locality });
        continue;
      }
      const { messages, locality, lost, counted, ok, problems } = said;
      show({ done: messages, of: messages, locality, ...counted, lost });
      if (!ok) throw new Error(problems.join("; "));
      isOver = true;
    }
    await child.exited;
    this.#child = undefined;
    if (!isOver) throw new Error((await notes).trim() || "the replay was ended");
  }
}
