import type { Bus, BusHandler } from "../../cluster/bus.ts";
import type { Clock } from "../../lib/clock.ts";

/** A process that can be stopped for a while and killed: what is due meanwhile runs when it goes on, or never. */
export class Process {
  isPaused = false;
  isAlive = true;
  #backlog: (() => void)[] = [];

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    for (const task of this.#backlog.splice(0)) this.run(task);
  }

  kill(): void {
    this.isAlive = false;
    this.#backlog = [];
  }

  run(task: () => void): void {
    if (!this.isAlive) return;
    if (this.isPaused) this.#backlog.push(task);
    else task();
  }

  clock(clock: Clock): Clock {
    return {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      after: (ms, task) => clock.after(ms, () => this.run(task)),
      defer: (task) => clock.defer(() => this.run(task)),
    };
  }

  bus(bus: Bus): Bus {
    return {
      publish: (subject, message) => bus.publish(subject, message),
      subscribe: (subject, handler) => bus.subscribe(subject, this.#handler(handler)),
      request: (subject, message, timeoutMs) => bus.request(subject, message, timeoutMs),
      onLink: (listener) => bus.onLink((up) => this.run(() => listener(up))),
      get up() {
        return bus.up;
      },
      close: () => bus.close(),
    };
  }

  #handler(handler: BusHandler): BusHandler {
    return (message, reply) => this.run(() => handler(message, reply));
  }
}
