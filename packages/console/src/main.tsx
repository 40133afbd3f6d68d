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

/** What the service worker has put there; a link to this page should not have it. */
const fragment = location.hash.slice(1);
if (fragment !== "") history.replaceState(null, "", location.pathname + location.search);

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
  opened: fragment === "" ? undefined : decodeURIComponent(fragment),
});
change({ type: "busy", busy: true });
