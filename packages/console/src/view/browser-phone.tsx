import type { VNode } from "preact";

import { OWNER } from "../browser-phone.ts";
import type { BrowserScene } from "../scene.ts";
import type { ViewProps } from "./app.tsx";

/** Messages that there is room for. */
const SHOWN = 3;
const USUAL_PORT = "4680";

/** This browser as a phone of the visitor's own. */
export function BrowserPhoneCard({ scene, director }: ViewProps): VNode {
  const { browser } = scene;
  return (
    <section class="browser" aria-label="This browser as a phone">
      <h3>This browser as a phone</h3>
      <Situation browser={browser} />
      {browser.problem !== undefined || browser.state === "asking" ? null : browser.state ===
        undefined ? (
        <p>
          <button type="button" onClick={() => director.notify()}>
            Notify this browser
          </button>
        </p>
      ) : (
        <p>
          <button type="button" class="quiet" onClick={() => director.deafen()}>
            Forget this browser
          </button>
        </p>
      )}
    </section>
  );
}

function Situation({ browser }: { readonly browser: BrowserScene }): VNode {
  const { state, server, lines, problem } = browser;
  if (problem !== undefined) return <p role="status">{problem}</p>;
  if (state === undefined) {
    return <p>Real Web Push: its notifications come when this tab is closed, too.</p>;
  }
  if (state === "asking") return <p role="status">The browser asks its push service …</p>;
  const dev = location.port === USUAL_PORT ? "" : ` --dev ${location.origin}`;
  return (
    <>
      <p role="status">
        It is {OWNER}, {state === "connected" ? `on ${server}` : `${state} …`}.
      </p>
      {lines.length === 0 ? (
        <p>
          Close this tab, and write to it: <code>npx beckon device eve{dev}</code>, then{" "}
          <code>{OWNER}: hello</code>
        </p>
      ) : (
        <ol class="chat" aria-label="Your messages" aria-live="polite">
          {lines.slice(-SHOWN).map(({ id, text }) => (
            <li key={id} class="other">
              {text}
            </li>
          ))}
        </ol>
      )}
    </>
  );
}
