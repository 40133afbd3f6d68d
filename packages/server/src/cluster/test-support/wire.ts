import { createServer, type Server, type Socket, connect } from "node:net";
import type { AddressInfo } from "node:net";

type Mode = "open" | "cut" | "swallow";

/** A port that leads to another, and can be cut. */
export class Wire {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;
  readonly #state: { mode: Mode };

  private constructor(server: Server, sockets: Set<Socket>, state: { mode: Mode }) {
    this.#server = server;
    this.#sockets = sockets;
    this.#state = state;
    this.port = (server.address() as AddressInfo).port;
  }

  static async to(port: number): Promise<Wire> {
    const sockets = new Set<Socket>();
    const state: { mode: Mode } = { mode: "open" };
    const keep = (socket: Socket): void => {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => sockets.delete(socket));
    };
    const server = createServer((near) => {
      keep(near);
      if (state.mode === "cut") {
        near.destroy();
        return;
      }
      const far = connect(port, "127.0.0.1");
      keep(far);
      near.on("data", (bytes) => void (state.mode === "open" && far.write(bytes)));
      far.on("data", (bytes) => void (state.mode === "open" && near.write(bytes)));
      near.on("close", () => far.destroy());
      far.on("close", () => near.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new Wire(server, sockets, state);
  }

  /** Resets what is open, and whatever comes. */
  cut(): void {
    this.#state.mode = "cut";
    for (const socket of this.#sockets) socket.destroy();
  }

  /** From now on bytes vanish, and nobody is told. */
  swallow(): void {
    this.#state.mode = "swallow";
  }

  restore(): void {
    // What was swallowed from cannot go on in the middle.
    if (this.#state.mode === "swallow") for (const socket of this.#sockets) socket.destroy();
    this.#state.mode = "open";
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
