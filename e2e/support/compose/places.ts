/**
 * Where what the file names is on this machine. There are no containers: a path of one is below a folder of its service, and a port of one
 * is a free port of 127.0.0.1. Nothing else of what the file says is changed.
 */
import { join } from "node:path";

import { lastingPort } from "@beckon/server";

export class Places {
  readonly #folder: string;
  readonly #services: readonly string[];
  /** `service:port` by what the host has published, and ports of this machine by that. */
  readonly #published = new Map<string, string>();
  readonly #ports = new Map<string, number>();

  constructor(folder: string, services: Readonly<Record<string, { ports: readonly string[] }>>) {
    this.#folder = folder;
    this.#services = Object.keys(services);
    for (const [name, { ports }] of Object.entries(services)) {
      for (const port of ports) {
        const [, outside, inside] = port.split(":");
        if (this.#published.has(outside!)) throw new Error(`port ${outside} is published twice`);
        this.#published.set(outside!, `${name}:${inside}`);
      }
    }
  }

  /** `path`: in the container. */
  path(service: string, path: string): string {
    return join(this.#folder, service, path);
  }

  port(service: string, port: number | string): number {
    const key = `${service}:${port}`;
    const known = this.#ports.get(key);
    if (known !== undefined) return known;
    const free = lastingPort();
    this.#ports.set(key, free);
    return free;
  }

  /** What the host sees, as a README's command does. */
  outside(text: string): string {
    return text.replaceAll(/127\.0\.0\.1:(\d+)/g, (_, port: string) => {
      const inside = this.#published.get(port);
      if (inside === undefined) throw new Error(`port ${port} is not published`);
      return `127.0.0.1:${this.port(...(inside.split(":") as [string, string]))}`;
    });
  }

  /** What a service sees: others by their names, itself, and what is told to devices, which are outside. */
  inside(service: string, text: string): string {
    const names = this.#services.join("|");
    return text
      .replaceAll(/127\.0\.0\.1:(\d+)/g, (whole, port: string) =>
        this.#published.has(port) ? this.outside(whole) : `127.0.0.1:${this.port(service, port)}`,
      )
      .replaceAll(
        new RegExp(`(?<=^|[/@])(${names}):(\\d+)`, "g"),
        (_, name: string, port: string) => `127.0.0.1:${this.port(name, port)}`,
      )
      .replaceAll(/0\.0\.0\.0:(\d+)/g, (_, port: string) => `127.0.0.1:${this.port(service, port)}`)
      .replace(/^0\.0\.0\.0$/, "127.0.0.1")
      .replaceAll(/(?<=^|=)\/(?:run|var)\/[\w./-]+/g, (path) => this.path(service, path));
  }

  /** The same for a command: there a port can be an argument by itself, after an option that says so. */
  command(service: string, command: readonly string[]): string[] {
    return command.map((word, at) =>
      /^\d+$/.test(word) && /port$|^-p$/.test(command[at - 1] ?? "")
        ? String(this.port(service, word))
        : this.inside(service, word),
    );
  }
}
