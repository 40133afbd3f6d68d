/** The page's line to the process behind it: `stage.ts` says what goes over it. */
import type { Act, StageEvent } from "./stage.ts";

export interface Link {
  act(act: Act): Promise<void>;
  /** A token for a user, as an application's backend would give it. */
  token(user: string): Promise<string>;
  /** A phone's ear at the push service of this process. */
  listen(pushToken: string, handler: (body: string) => void): () => void;
}

export interface LinkHandler {
  event(event: StageEvent): void;
  linked(linked: boolean): void;
}

/** `phones` names this page, which brings the demo's phones itself. */
export function openLink(phones: string, handler: LinkHandler): Link {
  const events = new EventSource(`/dev/events?phones=${encodeURIComponent(phones)}`);
  events.addEventListener("message", ({ data }: MessageEvent<string>) => {
    const event = JSON.parse(data) as StageEvent;
    // It would come back by itself, and take the phones again from the page that has them now.
    if (event.type === "phones-taken") events.close();
    handler.event(event);
  });
  events.addEventListener("open", () => handler.linked(true));
  events.addEventListener("error", () => handler.linked(false));
  return {
    async act(act) {
      const response = await fetch("/dev/acts", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(act),
      });
      if (!response.ok) throw new Error(await response.text());
    },
    async token(user) {
      const response = await fetch(`/dev/token?user=${encodeURIComponent(user)}`);
      if (!response.ok) throw new Error(await response.text());
      return response.text();
    },
    listen(pushToken, handle) {
      const pushes = new EventSource(`/push/v1/phones/${encodeURIComponent(pushToken)}`);
      pushes.addEventListener("message", ({ data }: MessageEvent<string>) => handle(data));
      return () => pushes.close();
    },
  };
}
