/** The command `beckon` on a machine whose clock is `SKEW_MS` ahead of the others'. */
const skew = Number(process.env["SKEW_MS"]);
const now = Date.now.bind(Date);
Date.now = () => now() + skew;

await import(new URL("../../packages/cli/src/main.ts", import.meta.url).href);
