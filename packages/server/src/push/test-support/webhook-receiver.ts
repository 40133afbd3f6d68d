/**
 * An operator's application that takes pushes, and the devices that it passes them on to. It looks at each request with Standard
 * Webhooks' own library.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { Webhook, WebhookVerificationError } from "standardwebhooks";
import * as z from "zod";

/** Instead of taking a request. */
export type WebhookMood =
  | "silence"
  | "cut"
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string };

export interface WebhookItem {
  readonly token: string;
  readonly class: "message" | "call" | "silent";
  readonly collapse?: string | undefined;
  readonly expires: number;
  readonly body: string;
}

const schema: z.ZodType<{ type: string; timestamp: string; items: WebhookItem[] }> = z.strictObject(
  {
    type: z.literal("push.requested"),
    timestamp: z.iso.datetime(),
    items: z
      .array(
        z.strictObject({
          token: z.string().min(1),
          class: z.enum(["message", "call", "silent"]),
          collapse: z.string().optional(),
          expires: z.int(),
          body: z.string(),
        }),
      )
      .min(1),
  },
);

export interface WebhookRequest {
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
  readonly items: readonly WebhookItem[];
}

export class WebhookReceiver {
  /** Why it refused, in the order of the requests. */
  readonly refusals: string[] = [];
  /** Those that were as they should be. */
  readonly requests: WebhookRequest[] = [];
  /** Asked before a request is looked at; undefined: it is in no mood. */
  mood: () => WebhookMood | undefined = () => undefined;
  /** Instead of an outcome for each by its token. */
  answer: ((items: readonly WebhookItem[]) => string) | undefined;
  readonly gone: Set<string> = new Set();
  asked = 0;
  connections = 0;
  busy = 0;
  mostBusy = 0;
  readonly #received = new Map<string, string[]>();
  readonly #secret: string;
  readonly #server = createServer((request, response) => void this.#handle(request, response));

  private constructor(secret: string) {
    this.#secret = secret;
    this.#server.on("connection", () => this.connections++);
  }

  /** `secret`: `whsec_…`. */
  static async start(secret: string): Promise<WebhookReceiver> {
    const receiver = new WebhookReceiver(secret);
    await new Promise<void>((resolve) => receiver.#server.listen(0, "127.0.0.1", resolve));
    return receiver;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${this.port}/pushes`);
  }

  received(token: string): readonly string[] {
    return this.#received.get(token) ?? [];
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.asked++;
    this.mostBusy = Math.max(this.mostBusy, ++this.busy);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    // Others that are under way get in, too, so that `mostBusy` is of some worth.
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.busy--;
    const mood = this.mood();
    if (mood === "silence") return;
    if (mood === "cut") {
      response.writeHead(200, { "content-length": "100" });
      response.write('{"outcomes": [');
      response.socket?.end();
      return;
    }
    if (mood !== undefined) {
      response.writeHead(mood.status, mood.headers).end(mood.body);
      return;
    }
    const items = this.#read(request, text);
    if (typeof items === "string") {
      this.refusals.push(items);
      response.writeHead(Number(items.slice(0, 3))).end();
      return;
    }
    this.requests.push({ headers: request.headers, text, items });
    response.writeHead(200, { "content-type": "application/json" });
    response.end(
      this.answer?.(items) ?? JSON.stringify({ outcomes: items.map((one) => this.#take(one)) }),
    );
  }

  #read({ method, headers }: IncomingMessage, text: string): readonly WebhookItem[] | string {
    if (method !== "POST") return "405 method";
    if (headers["content-type"] !== "application/json") return "415 content-type";
    try {
      new Webhook(this.#secret).verify(text, headers as Record<string, string>);
    } catch (error) {
      if (!(error instanceof WebhookVerificationError)) throw error;
      return `401 ${error.message}`;
    }
    const { data, error } = schema.safeParse(JSON.parse(text));
    return data?.items ?? `400 ${error!.issues[0]!.path.join(".")}`;
  }

  #take({ token, body }: WebhookItem): object {
    if (this.gone.has(token)) return { kind: "gone" };
    this.#received.set(token, [...this.received(token), body]);
    return { kind: "sent" };
  }
}
