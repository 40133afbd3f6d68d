/**
 * Says to how many laws of a port a backend is held in this run. `scripts/test.ts` reads these lines and adds them up.
 * `test` is what the suite was run with: where that skips, so does this.
 */
import { test } from "bun:test";

export function tellConformance(
  backend: string,
  laws: Readonly<Record<string, number>>,
  used: unknown = test,
): void {
  for (const [port, count] of Object.entries(laws)) {
    const held = used === test ? String(count) : "skipped";
    console.log(`conformance: ${port} on ${backend}: ${held}`);
  }
}
