import { run } from "../program.ts";

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly notes: string;
}

interface Circumstances {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  readonly interactive?: boolean;
}

/** Runs a command as if it had been typed, and answers what it said. */
export async function beckon(
  args: readonly string[],
  { env = {}, input = "", interactive = false }: Circumstances = {},
): Promise<Outcome> {
  let out = "";
  let notes = "";
  const code = await run(args, {
    out: (text) => void (out += text),
    note: (text) => void (notes += text),
    interactive,
    coloured: false,
    columns: 80,
    rows: 24,
    env,
    input: () => Promise.resolve(new TextEncoder().encode(input)),
    converse: () => ({
      lines: linesOf(input),
      say: (line) => void (out += `${line}\n`),
      close: () => undefined,
    }),
  });
  return { code, out, notes };
}

async function* linesOf(text: string): AsyncGenerator<string> {
  for (const line of text.split("\n")) yield await Promise.resolve(line);
}
