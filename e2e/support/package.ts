/** The SDK as people install it: its tarball, in an empty folder, without the network. */
import { cp, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { buildPackage } from "../../packages/client/scripts/build.ts";

export const ROOT: string = fileURLToPath(new URL("../..", import.meta.url));

/** A folder with `@beckon/client` installed, and with `others` of this workspace beside it. */
export async function installPackage(others: readonly string[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "beckon-package-"));
  await buildPackage(join(folder, "dist"));
  const project = join(folder, "project");
  await Bun.write(join(project, "package.json"), JSON.stringify({ type: "module", private: true }));
  const tarball = (await run(["npm", "pack", "--silent", "../dist"], project)).trim();
  const options = ["--offline", "--no-audit", "--no-fund", "--ignore-scripts"];
  await run(["npm", "install", ...options, `./${tarball}`], project);
  for (const name of others) {
    await cp(join(ROOT, "node_modules", name), join(project, "node_modules", name), {
      recursive: true,
    });
  }
  return project;
}

/** Its output; fails where it fails. */
export async function run(command: string[], cwd: string): Promise<string> {
  const child = Bun.spawn(command, {
    cwd,
    env: { PATH: process.env["PATH"], HOME: cwd },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, note] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if ((await child.exited) !== 0) throw new Error(`${command.join(" ")}\n${out}\n${note}`);
  return out;
}

/** A program of `e2e/programs` in JavaScript, for plain Node; it finds the package where it is put. */
export async function compileProgram(name: string, project: string): Promise<string> {
  const { outputs } = await Bun.build({
    entrypoints: [join(ROOT, "e2e/programs", `${name}.ts`)],
    target: "node",
    external: ["@beckon/client", "@beckon/client/*", "ws"],
  });
  const path = join(project, `${name}.mjs`);
  await writeFile(path, await (outputs[0] as Blob).text());
  return path;
}
