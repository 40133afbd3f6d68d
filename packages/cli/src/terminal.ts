import { type Conversation, systemConversation } from "./conversation.ts";

/** Where a command writes to: results to `out`, everything else to `note`. */
export interface Terminal {
  readonly out: (text: string) => void;
  readonly note: (text: string) => void;
  /** Whether somebody watches the notes: only then is there anything that moves. */
  readonly interactive: boolean;
  /** Whether the output shows colours. */
  readonly coloured: boolean;
  /** Characters in a line of the notes. */
  readonly columns: number;
  /** Lines of it. */
  readonly rows: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** All of the standard input. */
  input(): Promise<Uint8Array>;
  /** Lines in and lines out, as they come. */
  converse(): Conversation;
}

export const systemTerminal: Terminal = {
  out: (text) => void process.stdout.write(text),
  note: (text) => void process.stderr.write(text),
  interactive: process.stderr.isTTY,
  coloured: process.stdout.isTTY && (process.env["NO_COLOR"] ?? "") === "",
  // 0 is what a terminal says that does not know.
  get columns() {
    return process.stderr.columns || 80;
  },
  get rows() {
    return process.stderr.rows || 24;
  },
  env: process.env,
  input: () => Bun.stdin.bytes(),
  converse: systemConversation,
};
