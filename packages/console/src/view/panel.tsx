import type { VNode } from "preact";

import { caption, title } from "../captions.ts";
import { nextMove, type Push, type Scene, standsAt, wakesOf } from "../scene.ts";
import type { ViewProps } from "./app.tsx";
import { AppCode } from "./app-code.tsx";
import { BrowserPhoneCard } from "./browser-phone.tsx";
import { DayGauges } from "./day-gauges.tsx";
import { PushOpened } from "./push-opened.tsx";

/** What is happening, in words, and what can be done next. */
export function Panel({ scene, director }: ViewProps): VNode {
  const move = nextMove(scene);
  const push = shownPush(scene);
  const glows = (one: typeof move): string => (one === move ? "glow" : "");
  return (
    <aside class="panel" data-step={scene.step}>
      <h2>{title(scene)}</h2>
      <div id="caption" class="caption" aria-live="polite">
        {caption(scene).map((sentence) => (
          <p key={sentence}>{sentence}</p>
        ))}
      </div>
      {scene.taken ? <TakeBack /> : <Controls scene={scene} director={director} glows={glows} />}
      {scene.stage?.faults.length ? (
        <p>
          <button type="button" onClick={() => director.mend()}>
            Mend what is broken on purpose
          </button>
        </p>
      ) : null}
      {push === undefined ? null : <PushOpened push={push} />}
      {scene.step === "switch" && scene.stage?.day !== undefined ? (
        <DayGauges day={scene.stage.day} />
      ) : null}
      {scene.step === "app" ? <AppStep scene={scene} director={director} /> : null}
      <p class="go">
        {scene.step === "asleep" ? null : (
          <button
            type="button"
            class={scene.step === "app" ? "" : "quiet"}
            disabled={scene.busy}
            onClick={() => director.again()}
          >
            Start again
          </button>
        )}
        {hasNext(scene) ? (
          <button
            type="button"
            class={glows("next")}
            disabled={scene.busy}
            onClick={() => director.next()}
          >
            Next
          </button>
        ) : null}
      </p>
    </aside>
  );
}

/** First what is of interest: the lines, or what was written to this browser. */
function AppStep(props: ViewProps): VNode {
  const { scene } = props;
  const isPhone = scene.browser.state !== undefined;
  return (
    <>
      {isPhone ? <BrowserPhoneCard {...props} /> : null}
      <AppCode scene={scene} />
      {isPhone ? null : <BrowserPhoneCard {...props} />}
    </>
  );
}

function TakeBack(): VNode {
  return (
    <p>
      <button type="button" class="glow" onClick={() => location.reload()}>
        Bring them here
      </button>
    </p>
  );
}

function shownPush({ facts, stage, step }: Scene): Push | undefined {
  // The gauges take its place.
  const isShown = step === "switch" ? stage?.day === undefined : step === "send" || step === "tap";
  return isShown ? facts.push : undefined;
}

function hasNext(scene: Scene): boolean {
  if (scene.step === "tap") return scene.facts.answer !== undefined;
  return scene.step === "switch" || scene.step === "kill";
}

function Controls({
  scene,
  director,
  glows,
}: ViewProps & { readonly glows: (move: ReturnType<typeof nextMove>) => string }): VNode | null {
  if (scene.step === "switch") {
    const isOn = wakesOf(scene) === "sender";
    return (
      <div class="controls">
        <button
          type="button"
          role="switch"
          aria-checked={isOn}
          class={`switch ${glows("switch")}`}
          disabled={scene.busy}
          onClick={() => director.switchWakes()}
        >
          <i aria-hidden="true" /> Push names the sender’s server
        </button>
        <button
          type="button"
          class={glows("day")}
          disabled={scene.busy || scene.stage?.day?.state === "running"}
          onClick={() => director.day()}
        >
          Play a day
        </button>
      </div>
    );
  }
  if (scene.step === "kill") {
    const server = standsAt(scene, "ann") ?? "s1";
    const faults = scene.stage?.faults ?? [];
    return (
      <div class="controls">
        <button
          type="button"
          class={`danger ${glows("kill")}`}
          disabled={scene.busy}
          onClick={() => director.kill(server)}
        >
          Kill {server}
        </button>
        <details>
          <summary>Break something else</summary>
          <label>
            <input
              type="checkbox"
              checked={faults.includes("disk-full")}
              onChange={() => director.fault("disk-full")}
            />
            The disk is full
          </label>
          <label>
            <input
              type="checkbox"
              checked={faults.includes("push-down")}
              onChange={() => director.fault("push-down")}
            />
            The push service is down
          </label>
        </details>
      </div>
    );
  }
  return null;
}
