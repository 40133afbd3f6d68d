/** Dots that run from one place of the page to another. */

/** Draws what flies; the page shows where things stand without it, too. */
export interface Motion {
  /** Runs a dot by way of elements, by their ids, one after another. Resolves when it has arrived, at once with reduced motion. */
  travel(ids: readonly string[], kind: "message" | "push" | "crossing"): Promise<void>;
  /** Resolves when everything that flies has landed. */
  settled(): Promise<void>;
}

const LEG_MS = 420;

export function createMotion(layer: () => HTMLElement | null): Motion {
  let flying: Promise<unknown> = Promise.resolve();

  async function fly(ids: readonly string[], kind: string): Promise<void> {
    const root = layer();
    if (root === null || document.hidden || isStill()) return;
    const dot = document.createElement("i");
    dot.className = `dot ${kind}`;
    root.append(dot);
    for (let leg = 1; leg < ids.length; leg++) {
      const [from, to] = [ids[leg - 1]!, ids[leg]!].map((id) => centre(root, id));
      if (from === undefined || to === undefined) continue;
      const wire =
        kind === "crossing" &&
        ids[leg]!.startsWith("server-") &&
        ids[leg - 1]!.startsWith("server-")
          ? drawWire(root, from, to)
          : undefined;
      const keyframes = [from, to].map(({ x, y }) => ({ transform: `translate(${x}px, ${y}px)` }));
      const run = dot.animate(keyframes, {
        duration: LEG_MS,
        easing: "ease-in-out",
        fill: "forwards",
      });
      await run.finished.catch(() => undefined);
      if (wire !== undefined) setTimeout(() => wire.remove(), 2 * LEG_MS);
    }
    dot.remove();
  }

  return {
    travel(ids, kind) {
      const flight = fly(ids, kind);
      flying = Promise.all([flying, flight]);
      return flight;
    },
    settled: async () => void (await flying),
  };
}

function isStill(): boolean {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

interface Point {
  readonly x: number;
  readonly y: number;
}

function centre(root: HTMLElement, id: string): Point | undefined {
  const element = document.getElementById(id);
  if (element === null) return undefined;
  const [own, base] = [element.getBoundingClientRect(), root.getBoundingClientRect()];
  return { x: own.x - base.x + own.width / 2, y: own.y - base.y + own.height / 2 };
}

/** The hop between two servers. */
function drawWire(root: HTMLElement, from: Point, to: Point): HTMLElement {
  const wire = document.createElement("i");
  wire.className = "wire";
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  wire.style.width = `${Math.hypot(dx, dy)}px`;
  wire.style.transform = `translate(${from.x}px, ${from.y}px) rotate(${Math.atan2(dy, dx)}rad)`;
  root.append(wire);
  return wire;
}
