import type { Terminal } from "./terminal.ts";

export interface View {
  /** In the place of what was shown before. Lines and columns that the terminal has no room for are left out. */
  show(lines: readonly string[]): void;
}

const UP = (lines: number): string => (lines === 0 ? "" : `\u001B[${lines}A`);
const CLEAR_LINE = "\u001B[K";
const CLEAR_BELOW = "\u001B[J";

/** Lines that change in their place: each is written over what stands there, and only then the rest is cleared, so that nothing flickers. */
export function createView(terminal: Terminal): View {
  let height = 0;
  return {
    show(lines) {
      const most = Math.max(2, terminal.rows - 1);
      const left = lines.length - most + 1;
      const shown = left > 1 ? [...lines.slice(0, most - 1), `and ${left} more`] : lines;
      const text = shown
        .map((line) => `${line.slice(0, terminal.columns)}${CLEAR_LINE}\n`)
        .join("");
      terminal.note(`${UP(height)}${text}${CLEAR_BELOW}`);
      height = shown.length;
    },
  };
}
