import type { Process } from "./scheduler.ts";

export interface Scheduled {
  readonly time: number;
  /** What is deferred runs after all else that is due at the same time. */
  readonly kind: "input" | "timer" | "deferred";
  /** Undefined: the world. */
  readonly process: Process | undefined;
  readonly run: () => void;
  /** Given by the heap: of two that are due together the earlier scheduled comes first. */
  order: number;
  cancelled: boolean;
}

/** A binary heap: the earliest first. */
export class EventHeap {
  readonly #items: Scheduled[] = [];
  #order = 0;

  get size(): number {
    return this.#items.length;
  }

  peek(): Scheduled | undefined {
    return this.#items[0];
  }

  push(event: Scheduled): void {
    this.#order += 1;
    event.order = this.#order;
    const items = this.#items;
    let at = items.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, items[parent]!)) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = event;
  }

  pop(): Scheduled | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (first === undefined || last === undefined || items.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && isBefore(items[child + 1]!, items[child]!)) child += 1;
      if (!isBefore(items[child]!, last)) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
    return first;
  }
}

function isBefore(a: Scheduled, b: Scheduled): boolean {
  if (a.time !== b.time) return a.time < b.time;
  const isDeferred = a.kind === "deferred";
  if (isDeferred !== (b.kind === "deferred")) return !isDeferred;
  return a.order < b.order;
}
