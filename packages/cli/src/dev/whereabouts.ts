/** Which devices there are, and where: as the servers say when one comes or goes. */
import type { DeviceView } from "@beckon/console/stage";

/** Then the one that has been away longest is forgotten. */
const DEVICES = 1_000;

export class Whereabouts {
  readonly #devices = new Map<string, DeviceView>();
  readonly #changed: (device: DeviceView) => void;

  constructor(changed: (device: DeviceView) => void) {
    this.#changed = changed;
  }

  get all(): readonly DeviceView[] {
    return [...this.#devices.values()];
  }

  isConnected(user: string): boolean {
    return this.all.some((device) => device.user === user && device.server !== undefined);
  }

  connected(server: string, user: string, device: string): void {
    this.#put({ user, device, server, last: server });
  }

  /** Said by a server of its own connection; one that has come to another server meanwhile is there. */
  disconnected(server: string, user: string, device: string): void {
    const known = this.#devices.get(keyOf(user, device));
    if (known?.server === server) this.#put({ ...known, server: undefined });
  }

  /** The server is gone, with all its connections. */
  gone(server: string): void {
    for (const { user, device } of this.all) this.disconnected(server, user, device);
  }

  #put(view: DeviceView): void {
    const key = keyOf(view.user, view.device);
    this.#devices.delete(key);
    this.#devices.set(key, view);
    if (this.#devices.size > DEVICES) this.#forgetOne();
    this.#changed(view);
  }

  #forgetOne(): void {
    for (const [key, { server }] of this.#devices) {
      if (server !== undefined) continue;
      this.#devices.delete(key);
      return;
    }
  }
}

const keyOf = (user: string, device: string): string => `${user}\n${device}`;
