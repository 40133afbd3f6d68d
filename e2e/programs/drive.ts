/** A device that is told what to do, and says what happens: as a process of its own, or in a page. */
import type { Beckon } from "@beckon/client";

export type Command =
  | { readonly send: string; readonly to: string }
  | { readonly settle: true }
  | { readonly wake: unknown }
  | { readonly close: true };

export type Report =
  | { readonly state: string }
  | { readonly error: string }
  /** The outbox, as the run before has left it. */
  | { readonly left: readonly string[] }
  /** Given to the handler. */
  | { readonly got: string; readonly redelivered: boolean; readonly fromDevice: string }
  | { readonly acked: string }
  | { readonly settled: true }
  | { readonly woken: string }
  | { readonly closed: true };

type KeysOf<T> = T extends unknown ? keyof T : never;
export type ReportKind = KeysOf<Report>;
export type ReportOf<K extends ReportKind> = Extract<Report, Record<K, unknown>>;

/**
 * The message whose text is `hold` keeps its handler for ever. `writing`: whether something is on its way to the disk. The answer
 * takes commands.
 */
export function drive(
  beckon: Beckon,
  hold: string,
  writing: () => boolean,
  report: (what: Report) => void,
): (command: Command) => void {
  beckon.on("error", ({ message }) => report({ error: message }));
  beckon.on("state", ({ name }) => report({ state: name }));
  void beckon.outbox().then((left) => report({ left: left.map((one) => one.text()) }));
  beckon.on("message", (message) => {
    const { redelivered, fromDevice } = message;
    report({ got: message.text(), redelivered, fromDevice });
    return message.text() === hold ? new Promise<void>(() => {}) : undefined;
  });

  /** Says when nothing is left to write for several turns. */
  function settle(quiet = 0): void {
    if (quiet === 20) report({ settled: true });
    else setTimeout(() => settle(writing() ? 0 : quiet + 1), 1);
  }

  return (command) => {
    if ("send" in command) {
      void beckon.send(command.to, command.send).then(
        () => report({ acked: command.send }),
        (error: unknown) => report({ error: String(error) }),
      );
    } else if ("wake" in command) {
      void beckon.onWake(command.wake).then((woken) => report({ woken }));
    } else if ("settle" in command) settle();
    else void beckon.close().then(() => report({ closed: true }));
  };
}
