/** Lines in, lines out: what somebody types is not torn by what arrives meanwhile. */
import { createInterface } from "node:readline";

export interface Conversation {
  /** What is typed, until its end. */
  readonly lines: AsyncIterable<string>;
  say(line: string): void;
  close(): void;
}

/** With the process's standard streams; with a prompt where both are a terminal. */
export function systemConversation(): Conversation {
  const { stdin, stdout } = process;
  const isTerminal = stdin.isTTY && stdout.isTTY;
  const typing = createInterface({
    input: stdin,
    terminal: isTerminal,
    ...(isTerminal ? { output: stdout } : {}),
  });
  const end = (): void => typing.close();
  typing.on("SIGINT", end);
  process.once("SIGINT", end);
  process.once("SIGTERM", end);
  if (isTerminal) typing.prompt();
  typing.on("line", () => isTerminal && typing.prompt());
  return {
    lines: typing,
    say(line) {
      stdout.write(isTerminal ? `\r\u001B[K${line}\n` : `${line}\n`);
      if (isTerminal) typing.prompt(true);
    },
    close: end,
  };
}
