import { linesOf } from "../lines.ts";

/** The pushes of one phone, as the dev push service tells them: server-sent events, asked for again when they end. */
const AGAIN_MS = 1_000;
const DATA = "data: ";

export function listen(url: URL, handler: (body: string) => void): () => void {
  const over = new AbortController();
  const hear = async (): Promise<void> => {
    while (!over.signal.aborted) {
      try {
        const response = await fetch(url, { signal: over.signal });
        // The data of an event of this service is one line.
        for await (const line of linesOf(response.body!)) {
          if (line.startsWith(DATA)) handler(line.slice(DATA.length));
        }
      } catch {
        // The push service is away, or this is the end.
      }
      if (!over.signal.aborted) await Bun.sleep(AGAIN_MS);
    }
  };
  void hear();
  return () => over.abort();
}
