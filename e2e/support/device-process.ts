import type { Command, Report } from "../programs/device-lines.ts";
import { until } from "./until.ts";

type KeysOf<T> = T extends unknown ? keyof T : never;
type Of<K extends KeysOf<Report>> = Extract<Report, Record<K, unknown>>;

/** `programs/device.ts` as a process of its own. */
export class DeviceProcess {
  readonly reports: Report[] = [];
  readonly #child: Bun.Subprocess<"pipe", "pipe", "inherit">;

  constructor(command: string[], environment: Readonly<Record<string, string>>) {
    this.#child = Bun.spawn(command, {
      env: { PATH: process.env["PATH"], ...environment },
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    });
    void this.#read();
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    let text = "";
    for await (const chunk of this.#child.stdout) {
      const lines = (text + decoder.decode(chunk, { stream: true })).split("\n");
      text = lines.pop()!;
      for (const line of lines) this.reports.push(JSON.parse(line) as Report);
    }
  }

  tell(command: Command): void {
    void this.#child.stdin.write(`${JSON.stringify(command)}\n`);
    void this.#child.stdin.flush();
  }

  all<K extends KeysOf<Report>>(kind: K): Of<K>[] {
    return this.reports.filter((report): report is Of<K> => kind in report);
  }

  /** The texts that its handler was given, those marked as redelivered with a `*`. */
  get got(): string[] {
    return this.all("got").map(({ got, redelivered }) => (redelivered ? `${got}*` : got));
  }

  async connected(): Promise<this> {
    await until(() => this.all("state").some(({ state }) => state === "connected"), "connected");
    return this;
  }

  /** Resolves when all that it wants to write is on disk. */
  async settled(): Promise<void> {
    const before = this.all("settled").length;
    this.tell({ settle: true });
    await until(() => this.all("settled").length > before, "the disk");
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }
}
