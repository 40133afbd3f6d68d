import { parse } from "smol-toml";

export interface ConfigFile {
  readonly path: string;
  readonly text: string;
}

/**
 * Where each key was said: its variable; else the line of the statement after which the file has it, or the nearest table
 * that it would be in. So the parser's own grammar says what a statement is.
 */
export function locate(
  keys: readonly string[],
  variables: ReadonlyMap<string, string>,
  file: ConfigFile | undefined,
): Map<string, string> {
  const places = new Map<string, string>();
  const lines = file === undefined ? new Map<string, number>() : linesOf(keys, file.text);
  for (const key of keys) {
    const variable = variables.get(key);
    const line = lines.get(key);
    if (variable !== undefined) places.set(key, variable);
    else if (file !== undefined) {
      places.set(key, line === undefined ? file.path : `${file.path}:${line}`);
    }
  }
  return places;
}

function linesOf(keys: readonly string[], text: string): Map<string, number> {
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  const found = new Map<string, { line: number; depth: number }>();
  let statement = 1;
  for (let end = 1; end <= lines.length; end++) {
    const document = tryParse(lines.slice(0, end).join("\n"));
    if (document === undefined) continue;
    for (const key of keys) {
      const depth = depthOf(document, key.split("."));
      if (depth > (found.get(key)?.depth ?? 0)) found.set(key, { line: statement, depth });
    }
    statement = end + 1;
  }
  return new Map([...found].map(([key, { line }]) => [key, line]));
}

function tryParse(text: string): object | undefined {
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}

/** How many steps of the path the document has. */
function depthOf(document: unknown, path: readonly string[]): number {
  let value = document;
  for (const [depth, step] of path.entries()) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return depth;
    value = (value as Record<string, unknown>)[step];
  }
  return path.length;
}
