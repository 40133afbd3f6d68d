import type { Command, Report, ReportKind, ReportOf } from "../programs/drive.ts";
import { until } from "./until.ts";

/** What a device that is told what to do has said so far. */
export abstract class DeviceReports {
  reports: readonly Report[] = [];

  abstract tell(command: Command): Promise<void>;

  all<K extends ReportKind>(kind: K): ReportOf<K>[] {
    return this.reports.filter((report): report is ReportOf<K> => kind in report);
  }

  /** The texts that its handler was given, those marked as redelivered with a `*`. */
  get got(): string[] {
    return this.all("got").map(({ got, redelivered }) => (redelivered ? `${got}*` : got));
  }

  async count(kind: ReportKind, count: number): Promise<void> {
    const enough = (): boolean => this.all(kind).length >= count;
    await until(enough, `${count} of ${kind}`, 20_000);
  }

  async connected(): Promise<this> {
    await until(() => this.all("state").at(-1)?.state === "connected", "a connection", 20_000);
    return this;
  }

  async send(to: string, texts: readonly string[]): Promise<void> {
    for (const text of texts) await this.tell({ send: text, to });
  }

  /** Resolves when all that it wants to write is on disk. */
  async settled(): Promise<void> {
    const before = this.all("settled").length;
    await this.tell({ settle: true });
    await this.count("settled", before + 1);
  }
}
