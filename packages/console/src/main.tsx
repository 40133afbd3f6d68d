import { render } from "preact";

import { createDirector } from "./director.ts";
import { openLink } from "./link.ts";
import { createMotion } from "./motion.ts";
import { type Change, firstScene, next } from "./scene.ts";
import { App } from "./view/app.tsx";

const root = document.getElementById("root")!;
let scene = firstScene();
let drawing = false;

function change(what: Change): void {
  scene = next(scene, what);
  if (drawing) return;
  drawing = true;
  queueMicrotask(() => {
    drawing = false;
    render(<App scene={scene} director={director} change={change} />, root);
    // What had the focus may be gone: whoever uses the keyboard goes on where it glows.
    if (document.activeElement === document.body) {
      document.querySelector<HTMLElement>(".glow")?.focus({ preventScroll: true });
    }
  });
}

const link = openLink(crypto.randomUUID(), {
  event(event) {
    change({ type: "event", event });
    director.event(event);
  },
  linked: (linked) => change({ type: "linked", linked }),
});
const director = createDirector({
  link,
  motion: createMotion(() => document.getElementById("motion")),
  scene: () => scene,
  change,
});
change({ type: "busy", busy: true });
