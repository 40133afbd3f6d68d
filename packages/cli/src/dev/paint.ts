/** Colours for a terminal; none where nobody sees them. */
export interface Paint {
  /** Each server's name has a colour of its own. */
  readonly server: (name: string) => string;
  readonly bad: (text: string) => string;
  readonly bold: (text: string) => string;
}

/** As on the page: blue, orange, green. */
const COLOURS = ["38;5;75", "38;5;214", "38;5;78", "38;5;176"] as const;

export function createPaint(coloured: boolean, servers: readonly string[]): Paint {
  const wrap = (code: string, text: string): string =>
    coloured ? `\u001B[${code}m${text}\u001B[0m` : text;
  return {
    server(name) {
      const at = servers.indexOf(name);
      return at < 0 ? name : wrap(COLOURS[at % COLOURS.length]!, name);
    },
    bad: (text) => wrap("31", text),
    bold: (text) => wrap("1", text),
  };
}
