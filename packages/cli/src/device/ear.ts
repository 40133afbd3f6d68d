/** The pushes of one phone, as the dev push service tells them: server-sent events, asked for again when they end. */
const AGAIN_MS = 1_000;

export function listen(url: URL, handler: (body: string) => void): () => void {
  const over = new AbortController();
  const hear = async (): Promise<void> => {
    while (!over.signal.aborted) {
      try {
        const response = await fetch(url, { signal: over.signal });
        for await (const data of eventsOf(response.body!)) handler(data);
      } catch {
        // The push service is away, or this is the end.
      }
      if (!over.signal.aborted) await Bun.sleep(AGAIN_MS);
    }
  };
  void hear();
  return () => over.abort();
}

/** The data of each event; those of this service are one line each. */
async function* eventsOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.startsWith("data: ")) yield line.slice(6);
  }
}
