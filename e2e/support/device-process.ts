import type { Command, Report } from "../programs/drive.ts";
import { DeviceReports } from "./device-reports.ts";

/** `programs/device.ts` as a process of its own. */
export class DeviceProcess extends DeviceReports {
  readonly #child: Bun.Subprocess<"pipe", "pipe", "inherit">;

  constructor(command: string[], environment: Readonly<Record<string, string>>) {
    super();
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
      const reports = lines.map((line) => JSON.parse(line) as Report);
      this.reports = [...this.reports, ...reports];
    }
  }

  async tell(command: Command): Promise<void> {
    await this.#child.stdin.write(`${JSON.stringify(command)}\n`);
    await this.#child.stdin.flush();
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }
}
