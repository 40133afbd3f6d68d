import { DevPushService, devPushApp, systemClock } from "@beckon/server";

/** `lose`: not taken, and no answer; `mute`: taken, and no answer. */
type Treatment = "take" | "lose" | "mute";

/** A push service that counts, knows which server asks, and can keep silent as one does whose answer is lost. */
export class PushStandIn {
  readonly phones: DevPushService = new DevPushService(systemClock);
  /** Names of the phones that were pushed to, by the server that did. */
  readonly taken: { readonly server: string; readonly token: string }[] = [];
  /** What becomes of a request: asked for each. */
  treat: (server: string, tokens: readonly string[]) => Treatment = () => "take";
  readonly #listener: Bun.Server<undefined>;
  readonly #app = devPushApp(this.phones);
  readonly #end = Promise.withResolvers<void>();

  constructor() {
    this.#listener = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      idleTimeout: 0,
      fetch: (request) => this.#fetch(request),
    });
  }

  /** Where the server of this name pushes to. */
  urlFor(server: string): string {
    return `http://127.0.0.1:${this.#listener.port}/${server}`;
  }

  /** How often a phone was pushed to. */
  count(token: string): number {
    return this.taken.filter((push) => push.token === token).length;
  }

  async #fetch(request: Request): Promise<Response> {
    const [, server = "", ...rest] = new URL(request.url).pathname.split("/");
    const body = await request.text();
    const { items } = JSON.parse(body) as { items: { token: string }[] };
    const tokens = items.map(({ token }) => token);
    const treatment = this.treat(server, tokens);
    if (treatment === "lose") return this.#silence();
    for (const token of tokens) this.taken.push({ server, token });
    const answer = await this.#app.request(`/${rest.join("/")}`, {
      method: "POST",
      body,
      headers: { "content-type": "application/json" },
    });
    return treatment === "mute" ? this.#silence() : answer;
  }

  async #silence(): Promise<Response> {
    await this.#end.promise;
    return new Response(null, { status: 503 });
  }

  async close(): Promise<void> {
    this.#end.resolve();
    await this.#listener.stop(true);
  }
}
