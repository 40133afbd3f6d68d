/** Everything a change must pass, cheapest first; stops at the first failure and says the sum. */

const checks = ["format:check", "lint", "typecheck", "knip"];

/** Runs a command, shows its output as it comes, and returns the output and the exit code. */
async function run(...command: string[]): Promise<{ code: number; output: string }> {
  console.log(`\n$ ${command.join(" ")}`);
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
  let output = "";
  const copy = async (from: ReadableStream<Uint8Array>, to: NodeJS.WriteStream): Promise<void> => {
    const decoder = new TextDecoder();
    for await (const chunk of from) {
      to.write(chunk);
      output += decoder.decode(chunk, { stream: true });
    }
  };
  await Promise.all([copy(child.stdout, process.stdout), copy(child.stderr, process.stderr)]);
  return { code: await child.exited, output };
}

function finish(passed: number, failed: number): never {
  console.log(`\n${passed} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}

for (const check of checks) {
  const { code } = await run("npm", "run", "--silent", check);
  if (code !== 0) finish(0, 1);
}

const { code, output } = await run(process.execPath, "test", "--parallel");

/** Lines of a failure that are shown once more. */
const SHOWN = 60;

// Once more at the end: between thousands of lines nobody finds them, and a log may keep its end alone.
for (const failure of failures(output)) console.log(`\n${failure}`);

/** What failed, with what was printed since the result before it. */
function failures(printed: string): string[] {
  const found: string[] = [];
  let since: string[] = [];
  for (const line of printed.split("\n")) {
    since.push(line);
    // The list at the end of the run begins with the number of them, and has no more than their names.
    const isListed = since.length === 1 || since.some((each) => /^\d+ tests failed:$/.test(each));
    if (line.startsWith("(fail)") && !isListed) found.push(since.slice(-SHOWN).join("\n"));
    if (/^\((pass|fail|skip|todo)\)/.test(line)) since = [];
  }
  return found;
}

/** What the suites of the ports said: `conformance: PORT on BACKEND: LAWS`, or `skipped`. */
const ports = new Map<string, { backend: string; laws: number }[]>();
for (const [, port, backend, laws] of output.matchAll(/^conformance: (\w+) on (\w+): (\w+)$/gm)) {
  const line = { backend: backend!, laws: Number(laws) || 0 };
  ports.set(port!, [...(ports.get(port!) ?? []), line]);
}
if (ports.size > 0) console.log("\nLaws by backends:");
for (const [port, lines] of ports) {
  const held = lines.filter(({ laws }) => laws > 0);
  const sum = held.reduce((all, { laws }) => all + laws, 0);
  const backends = lines.map(({ backend, laws }) => (laws > 0 ? backend : `${backend}, skipped`));
  console.log(`  ${port}: ${held[0]?.laws} × ${held.length} = ${sum} (${backends.join("; ")})`);
}

/** The last line of the form ` 12 pass` in the summary of `bun test`. */
const counted = (word: string): number =>
  Number([...output.matchAll(new RegExp(`^ *(\\d+) ${word}$`, "gm"))].at(-1)?.[1] ?? 0);
const failed = counted("fail") + counted("errors?");
finish(counted("pass"), code === 0 ? failed : Math.max(1, failed));
