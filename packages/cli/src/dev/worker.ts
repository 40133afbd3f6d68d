import source from "@beckon/console/worker" with { type: "text" };

/** The page's service worker, as a classic script. */
export function workerScript(): string {
  return new Bun.Transpiler({ loader: "ts", target: "browser" }).transformSync(source);
}
