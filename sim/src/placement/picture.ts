/** The sweep as bars: a panel for each trace and number of servers, a bar for each policy, its moves beside it. */
import { labelOf, type SweepResult } from "./sweep.ts";

const BAR = 18;
const LABEL = 110;
const WIDTH = 220;
const PANEL = LABEL + WIDTH + 170;
const HEAD = 34;
const COLOURS: Readonly<Record<string, string>> = {
  random: "#9aa0a6",
  wake: "#7b9fc9",
  place: "#3f7fbf",
  move: "#1d8a5b",
};

export function drawSweep(results: readonly SweepResult[]): string {
  const rows = groups(results, ({ trace }) => trace).map((ofTrace) =>
    groups(ofTrace, ({ servers }) => servers),
  );
  const columns = Math.max(1, ...rows.map((panels) => panels.length));
  const height = HEAD + BAR * Math.max(0, ...rows.flat().map((panel) => panel.length)) + 20;
  const drawn = rows.flatMap((panels, y) =>
    panels.map((panel, x) => draw(panel, 10 + x * PANEL, 10 + y * height)),
  );
  const [w, h] = [columns * PANEL + 20, rows.length * height + 20];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}" font-family="system-ui, sans-serif" font-size="12">`,
    `<rect width="${w}" height="${h}" fill="#fff"/>`,
    ...drawn,
    "</svg>\n",
  ].join("\n");
}

function draw(panel: readonly SweepResult[], left: number, top: number): string {
  const { trace, servers, mode } = panel[0]!;
  const title = `${escaped(trace)}, ${servers} servers, ${mode}: local deliveries`;
  const lines = [`<text x="${left}" y="${top + 14}" font-weight="600">${title}</text>`];
  for (const [i, result] of panel.entries()) {
    const y = top + HEAD + i * BAR;
    const x = left + LABEL;
    const width = (result.local * WIDTH).toFixed(1);
    const about = `${result.local.toFixed(2)}${result.moves > 0 ? `, ${result.moves} moves` : ""}`;
    lines.push(
      `<text x="${x - 6}" y="${y + 11}" text-anchor="end">${labelOf(result)}</text>`,
      `<rect x="${x}" y="${y}" width="${width}" height="${BAR - 4}" fill="${COLOURS[result.policy]}"/>`,
      `<text x="${(x + Number(width) + 4).toFixed(1)}" y="${y + 11}" fill="#444">${about}</text>`,
    );
  }
  return lines.join("\n");
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/** In order of first appearance. */
function groups<T>(from: readonly T[], keyOf: (of: T) => unknown): T[][] {
  const found = new Map<unknown, T[]>();
  for (const one of from) {
    const group = found.get(keyOf(one));
    if (group === undefined) found.set(keyOf(one), [one]);
    else group.push(one);
  }
  return [...found.values()];
}
