/** A generated community's day: `beckon replay` in a process of its own, one policy after the other. */
import type { DayRun, DayView } from "@beckon/console/stage";
import * as z from "zod";

/** What is sent through each policy, three messages a member; measured to take about ten seconds on two cores. */
const MESSAGES = 1_200;
const ARGUMENTS = [
  "--generate=community",
  "--users=400",
  `--messages=${MESSAGES}`,
  "--in-flight=4",
  "--json",
  "--progress=json",
] as const;

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

const NOTHING: DayRun = {
  done: 0,
  of: MESSAGES,
  locality: undefined,
  local: 0,
  remote: 0,
  lost: 0,
};

export class Day {
  #child: Bun.Subprocess<"ignore", "pipe", "pipe"> | undefined;

  /** Tells at once, at each progress, and when it is over. */
  play(tell: (day: DayView) => void): void {
    let view: DayView = { state: "running", balanced: NOTHING, sender: NOTHING };
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
    const child = Bun.spawn([...ownCommand(), "replay", `--policy=${policy}`, ...ARGUMENTS], {
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
        show({ ...NOTHING, done, of, locality: done === 0 ? undefined : locality });
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

/** How this very program is started again: as one executable it is its own runtime. */
function ownCommand(): string[] {
  const isExecutable = Bun.main.startsWith("/$bunfs/") || Bun.main.includes("~BUN");
  return isExecutable ? [process.execPath] : [process.execPath, Bun.main];
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines.filter((text) => text !== "");
  }
}
