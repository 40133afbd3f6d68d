import { describe, expect, test } from "bun:test";

const ROOT = new URL("../", import.meta.url).pathname;
const DOCUMENT = await Bun.file(`${ROOT}docs/guarantees.md`).text();

/** Rows and laws by their name, each with the paths that the document gives as proof. */
const STATED = new Map(
  [...DOCUMENT.matchAll(/^\| \*\*([LMB]\d+)\*\* \|.*$/gm)].map(([row, name]) => [
    name!,
    [...row.matchAll(/\]\(\.\.\/([^)]+)\)/g)].map(([, path]) => path!),
  ]),
);

/** In a text of the test, its title mostly: a comment says what the code beside it is about, and proves nothing. */
function citedIn(code: string): Set<string> {
  const texts = code
    .split("\n")
    .filter((line) => !/^\s*(\/\/|\/?\*)/.test(line))
    .map((line) => /["'`](.*)["'`]/.exec(line)?.[1] ?? "");
  return new Set(texts.flatMap((text) => text.match(/\b[LMB]\d{1,2}\b/g) ?? []));
}

const CITED = new Map<string, Set<string>>();
for (const path of new Bun.Glob("{packages,sim,e2e,bench}/**/*.{test,suite}.ts").scanSync(ROOT)) {
  if (path.includes("node_modules") || path === "e2e/guarantees.test.ts") continue;
  CITED.set(path, citedIn(await Bun.file(ROOT + path).text()));
}

describe("docs/guarantees.md", () => {
  test("states laws and rows, each once", () => {
    expect(STATED.size).toBe([...DOCUMENT.matchAll(/^\| \*\*[LMB]\d+\*\* \|/gm)].length);
    expect([...STATED.keys()]).toEqual(expect.arrayContaining(["L1", "L11", "M1", "M8"]));
  });

  test("every law and row has a test that names it, at each path that is given", () => {
    const unproven = [...STATED].flatMap(([name, paths]) =>
      paths.length === 0
        ? [`${name}: no test`]
        : paths
            .filter((path) => !CITED.get(path)?.has(name))
            .map((path) => `${name}: not in ${path}`),
    );
    expect(unproven).toEqual([]);
  });

  test("every law and row that a test names is stated", () => {
    const unstated = [...CITED].flatMap(([path, names]) =>
      [...names].filter((name) => !STATED.has(name)).map((name) => `${path}: ${name}`),
    );
    expect(unstated).toEqual([]);
  });
});

test("a title names its laws, a comment does not", () => {
  expect([...citedIn('test("L1, M2: kept", () => {})\n// see "x": L3')]).toEqual(["L1", "M2"]);
  expect([...citedIn("  '[L11] tells a payload by its length',")]).toEqual(["L11"]);
});
