/** Time as the SDK sees it; a simulation gives its own. */
export interface Clock {
  /** Milliseconds since 1970. May jump: a jump ahead is how waking from sleep is noticed. */
  now(): number;
  /** Runs `task` once after `ms`, which is a day at most; the answer cancels it. */
  after(ms: number, task: () => void): () => void;
  /** Runs `task` at the end of this turn of the event loop: what is written until then leaves as one message. */
  defer(task: () => void): void;
}

/** What the runtimes have beside what all of them have. */
interface Deferring {
  readonly setImmediate?: (task: () => void) => unknown;
  readonly MessageChannel?: typeof MessageChannel;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  after(ms, task) {
    const timer = setTimeout(task, ms);
    return () => clearTimeout(timer);
  },
  defer: (task) => deferral()(task),
};

let known: ((task: () => void) => void) | undefined;

/** Made at first use, so that importing the SDK has no effect. */
function deferral(): (task: () => void) => void {
  known ??= pick(globalThis);
  return known;
}

function pick({ setImmediate, MessageChannel }: Deferring): (task: () => void) => void {
  if (setImmediate !== undefined) return (task) => void setImmediate(task);
  // Browsers slow nested timers down to 4 ms, and to a second in the background.
  if (MessageChannel !== undefined) return throughChannel(new MessageChannel());
  return (task) => void setTimeout(task, 0);
}

function throughChannel({ port1, port2 }: MessageChannel): (task: () => void) => void {
  const tasks: (() => void)[] = [];
  port1.addEventListener("message", () => tasks.shift()?.());
  port1.start();
  return (task) => {
    tasks.push(task);
    port2.postMessage(undefined);
  };
}
