import { connect, createServer, type AddressInfo } from "node:net";

export interface Tap {
  readonly port: number;
  /** What went through it to the service. */
  readonly sent: Buffer[];
  close(): void;
}

/** Passes everything on to a port of this machine, and keeps it. */
export async function listenTap(to: number): Promise<Tap> {
  const sent: Buffer[] = [];
  const server = createServer((socket) => {
    const service = connect(to, "127.0.0.1");
    socket.on("data", (chunk) => sent.push(Buffer.from(chunk)));
    socket.pipe(service).pipe(socket);
    for (const end of [socket, service]) end.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { port, sent, close: () => void server.close() };
}
