/**
 * Makes Beckon one executable: runtime, servers, command line and page. `bun scripts/build.ts [FILE]`, by default
 * `dist/beckon`, for the machine that it is made on.
 */
import { mkdir, stat } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const STORE = join(ROOT, "packages/server/src/store");

/** The page shows the source of a module that is also a page of its own: in one build a file is one of the two, unless they are told apart. */
const shownSource: Bun.BunPlugin = {
  name: "shown source",
  setup(build) {
    build.onResolve({ filter: /^\.\.\/chat\.ts$/ }, ({ path, resolveDir }) => ({
      // Bun takes one path for one file, whatever the namespace.
      path: `${join(resolveDir, path)}.txt`,
      namespace: "source",
    }));
    build.onLoad({ filter: /./, namespace: "source" }, async ({ path }) => ({
      contents: await Bun.file(path.replace(/\.txt$/, "")).text(),
      loader: "text",
    }));
  },
};

const outfile = process.argv[2] ?? join(ROOT, "dist/beckon");
const began = performance.now();
await mkdir(dirname(outfile), { recursive: true });
await Bun.build({
  // The store's thread is found beside the program, by its name: so its folder is the root.
  entrypoints: [join(ROOT, "packages/cli/src/main.ts"), join(STORE, "sqlite-worker.ts")],
  root: STORE,
  target: "bun",
  // Names stay, for the sake of what an error shows; most of the size is the runtime.
  minify: { syntax: true, whitespace: true },
  compile: { outfile },
  plugins: [shownSource],
});
const seconds = ((performance.now() - began) / 1_000).toFixed(1);
const { size } = await stat(outfile);
const runtime = (await stat(process.execPath)).size;
const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
console.log(
  `${relative(process.cwd(), outfile)}: ${mb(size)}, ${mb(runtime)} of it the runtime; made in ${seconds} s`,
);
