import type { VNode } from "preact";

import { TITLES } from "../captions.ts";
import type { Director } from "../director.ts";
import { type Change, crossed, type Scene, stayed, STEPS } from "../scene.ts";
import { Panel } from "./panel.tsx";
import { StageView } from "./stage.tsx";

export interface ViewProps {
  readonly scene: Scene;
  readonly director: Director;
}

export function App(props: ViewProps & { readonly change: (change: Change) => void }): VNode {
  const { scene, director, change } = props;
  return (
    <>
      <header>
        <h1>
          <svg viewBox="0 0 32 32" aria-hidden="true">
            <circle cx="16" cy="19" r="5" />
            <path d="M7 19a9 9 0 0 1 18 0M2 19a14 14 0 0 1 28 0" />
          </svg>
          Beckon
        </h1>
        <nav aria-label="Steps">
          <ol>
            {STEPS.map((step, i) => (
              <li key={step}>
                <button
                  type="button"
                  class="step"
                  aria-current={step === scene.step ? "step" : undefined}
                  disabled={scene.busy || (i > 0 && i < 3)}
                  title={TITLES[step]}
                  onClick={() => director.go(step)}
                >
                  {i + 1}
                  <span class="wide"> {SHORT[step]}</span>
                </button>
              </li>
            ))}
          </ol>
        </nav>
      </header>
      <main>
        <StageView scene={scene} director={director} change={change} />
        <Panel scene={scene} director={director} />
      </main>
      <footer>
        <p>
          <b class="stayed">{stayed(scene)}</b> deliveries stayed on one server
        </p>
        <p>
          <b id="crossed" class="crossed">
            {crossed(scene)}
          </b>{" "}
          crossed servers
        </p>
        <p class="legend" aria-hidden="true">
          <span>
            <i />
            message
          </span>
          <span>
            <i class="push" />
            push
          </span>
          <span>
            <i class="crossing" />
            crosses servers
          </span>
        </p>
        {scene.trouble === undefined ? null : (
          <p class="trouble" role="alert">
            {scene.trouble.text}
          </p>
        )}
      </footer>
    </>
  );
}

const SHORT = {
  asleep: "Asleep",
  send: "Send",
  tap: "Tap",
  switch: "Without",
  kill: "Kill",
  app: "Your app",
} as const;
