import { test } from "bun:test";

/**
 * A test that needs an engine: where there is none it is skipped, and one line says so; under `CI=true` it fails instead.
 * `install`: what brings the engine on Debian.
 */
export function testWith(engine: string, isThere: boolean, install: string): typeof test {
  if (isThere || process.env["CI"] === "true") return test;
  console.log(`no ${engine}, its tests are skipped: ${install}`);
  return test.skip;
}
