/**
 * Makes the package as it is published, in `dist/`: ES modules, types, and a package.json of its own. The protocol is in it, so
 * that one tarball is enough; run as a program, packs it. Inside the workspace the source is what is used, without a build.
 */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const PACKAGES = join(PACKAGE, "..");
const ROOT = join(PACKAGES, "..");
const PROTOCOL = "@beckon/protocol";

interface Manifest {
  readonly exports: Readonly<Record<string, string>>;
  readonly private?: boolean;
  readonly [field: string]: unknown;
}

/** What an application loads: minified, and all in one. */
export async function minified(entry: string, format: "esm" | "cjs" = "esm"): Promise<string> {
  const { outputs } = await Bun.build({
    entrypoints: [entry],
    target: "browser",
    external: ["node:*"],
    minify: true,
    format,
  });
  return (outputs[0] as Blob).text();
}

/** Bytes. */
export const gzipped = (code: string): number => Bun.gzipSync(code, { level: 9 }).length;

/** Makes the package in the folder, which is removed before. */
export async function buildPackage(folder: string): Promise<void> {
  const manifest = JSON.parse(await readFile(join(PACKAGE, "package.json"), "utf8")) as Manifest;
  const entries = Object.entries(manifest.exports).map(([name, source]) => ({
    name,
    file: name === "." ? "index" : name.slice("./".length),
    source: join(PACKAGE, source),
  }));
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await code(folder, entries);
  await types(folder, entries);
  const exports = Object.fromEntries(
    entries.map(({ name, file }) => [name, { types: `./${file}.d.ts`, default: `./${file}.js` }]),
  );
  const { private: _, dependencies: __, devDependencies: ___, scripts: ____, ...rest } = manifest;
  await writeFile(join(folder, "package.json"), JSON.stringify({ ...rest, exports }, null, 2));
  await cp(join(PACKAGE, "README.md"), join(folder, "README.md"));
  await cp(join(ROOT, "LICENSE"), join(folder, "LICENSE"));
}

interface Entry {
  readonly file: string;
  readonly source: string;
}

/** What several entries use is in a file that they share: there is one `BeckonError`. */
async function code(folder: string, entries: readonly Entry[]): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), "beckon-build-"));
  try {
    for (const { file, source } of entries) {
      await writeFile(join(work, `${file}.ts`), `export * from ${JSON.stringify(source)};\n`);
    }
    await Bun.build({
      entrypoints: entries.map(({ file }) => join(work, `${file}.ts`)),
      outdir: folder,
      target: "browser",
      external: ["node:*"],
      splitting: true,
      naming: { chunk: "shared-[hash].[ext]" },
    });
  } finally {
    await rm(work, { recursive: true });
  }
}

/** The declarations that the entries lead to, and no others; in `types/`. */
async function types(folder: string, entries: readonly Entry[]): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), "beckon-build-"));
  try {
    const config = {
      extends: join(ROOT, "tsconfig.base.json"),
      compilerOptions: {
        lib: ["ES2023", "DOM", "DOM.AsyncIterable"],
        types: ["node"],
        typeRoots: [join(ROOT, "node_modules/@types")],
        // As a file of its own package it would be taken for a library's, and not be declared.
        paths: { [PROTOCOL]: [join(PACKAGES, "protocol/src/index.ts")] },
        noEmit: false,
        emitDeclarationOnly: true,
        rootDir: PACKAGES,
        outDir: join(work, "out"),
      },
      files: entries.map(({ source }) => source),
    };
    await writeFile(join(work, "tsconfig.json"), JSON.stringify(config));
    await run([join(ROOT, "node_modules/.bin/tsc"), "-p", join(work, "tsconfig.json")], work);
    const declared = (path: string): string =>
      join(work, "out", relative(PACKAGES, path).replace(/\.ts$/, ".d.ts"));
    const seen = new Set<string>();
    const take = async (path: string): Promise<void> => {
      if (seen.has(path)) return;
      seen.add(path);
      const text = await readFile(path, "utf8");
      const target = join(folder, "types", relative(join(work, "out"), path));
      const found: string[] = [];
      const moved = text.replace(/(?<=from |import\()"([^"]+)"/g, (_, specifier: string) => {
        const to =
          specifier === PROTOCOL
            ? declared(join(PACKAGES, "protocol/src/index.ts"))
            : join(dirname(path), specifier.replace(/\.ts$/, ".d.ts"));
        found.push(to);
        return `"${importOf(dirname(path), to)}"`;
      });
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, moved);
      for (const next of found) await take(next);
    };
    for (const { file, source } of entries) {
      await take(declared(source));
      const to = join(folder, "types", relative(join(work, "out"), declared(source)));
      await writeFile(join(folder, `${file}.d.ts`), `export * from "${importOf(folder, to)}";\n`);
    }
  } finally {
    await rm(work, { recursive: true });
  }
}

/** As Node wants it: with the name of the JavaScript file. */
function importOf(from: string, declaration: string): string {
  const path = relative(from, declaration).replace(/\.d\.ts$/, ".js");
  return path.startsWith(".") ? path : `./${path}`;
}

/** Its output. */
async function run(command: string[], cwd: string): Promise<string> {
  const child = Bun.spawn(command, { cwd, stdout: "pipe", stderr: "inherit" });
  const output = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`${command.join(" ")}\n${output}`);
  return output.trim();
}

if (import.meta.main) {
  const folder = join(PACKAGE, "dist");
  await buildPackage(folder);
  for (const file of (await readdir(folder)).filter((name) => /^[a-z]+\.js$/.test(name))) {
    const size = gzipped(await minified(join(folder, file)));
    console.log(`${file.padEnd(12)} ${(size / 1000).toFixed(1)} kB minified and gzipped`);
  }
  console.log(join(folder, await run(["npm", "pack", "--silent"], folder)));
}
