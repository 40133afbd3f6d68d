/** Plots as SVG inside a page whose style has the colours `--c0` to `--c7`. */

export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface LinePlot {
  readonly title: string;
  /** In words what it shows, for those who do not see it. */
  readonly about: string;
  /** What the horizontal axis has. */
  readonly x: string;
  /** How a value is written. */
  readonly y: (value: number) => string;
  /** The highest value; default: that of the points. */
  readonly top?: number;
  readonly series: readonly Line[];
}

export interface BarPlot {
  readonly title: string;
  readonly values: readonly (readonly [name: string, value: number])[];
  readonly text: (value: number) => string;
}

const WIDTH = 720;
const HEIGHT = 240;
const LEFT = 56;
const RIGHT = 90;
const BOTTOM = 36;
const COLOURS = 8;
/** Lines differ by their dashes, too. */
const DASHES = ["", "7 3", "2 3", "9 3 2 3"] as const;
const BAR = 26;
const LEAST_GAP = 14;

export function lines({ title, about, x, y, top, series }: LinePlot): string {
  const all = series.flatMap(({ points }) => points);
  const right = Math.max(Number.MIN_VALUE, ...all.map(([at]) => at));
  const high = top ?? niceAbove(Math.max(1, ...all.map(([, value]) => value)));
  const toX = (at: number): number => LEFT + (at / right) * (WIDTH - LEFT - RIGHT);
  const toY = (value: number): number => HEIGHT - BOTTOM - (value / high) * (HEIGHT - BOTTOM - 10);
  const grid = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const at = toY(share * high).toFixed(1);
    return `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}"/><text class="soft" x="${LEFT - 6}" y="${at}" dy="4" text-anchor="end">${y(share * high)}</text>`;
  });
  const ticks = [0, 0.25, 0.5, 0.75, 1].map(
    (share) =>
      `<text class="soft" x="${toX(share * right).toFixed(1)}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">${Number((share * right).toFixed(1))}</text>`,
  );
  const drawn = series.map(({ points }, i) => {
    const path = points.map(([at, value]) => `${toX(at).toFixed(1)},${toY(value).toFixed(1)}`);
    const dash = DASHES[i % DASHES.length];
    return `<polyline class="line" stroke="var(--c${i % COLOURS})"${dash === "" ? "" : ` stroke-dasharray="${dash}"`} points="${path.join(" ")}"/>`;
  });
  return figure(title, about, `0 0 ${WIDTH} ${HEIGHT}`, [
    ...grid,
    ...ticks,
    `<text class="soft" x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 4}" text-anchor="middle">${escaped(x)}</text>`,
    ...drawn,
    ...names(series, toY),
  ]);
}

/** At the right ends of the lines, one below the other where they would meet. */
function names(series: readonly Line[], toY: (value: number) => number): string[] {
  const ends = series
    .map(({ name, points }, i) => ({ name, i, at: toY(points.at(-1)?.[1] ?? 0) }))
    .sort((a, b) => a.at - b.at);
  let low = HEIGHT - BOTTOM + LEAST_GAP;
  for (const end of ends.toReversed()) low = end.at = Math.min(end.at, low - LEAST_GAP);
  let high = -Infinity;
  for (const end of ends) high = end.at = Math.max(end.at, high + LEAST_GAP, 10);
  return ends.map(
    ({ name, i, at }) =>
      `<rect x="${WIDTH - RIGHT + 6}" y="${(at - 5).toFixed(1)}" width="10" height="10" fill="var(--c${i % COLOURS})"/><text x="${WIDTH - RIGHT + 21}" y="${at.toFixed(1)}" dy="4">${escaped(name)}</text>`,
  );
}

export function bars({ title, values, text }: BarPlot): string {
  const high = Math.max(Number.MIN_VALUE, ...values.map(([, value]) => value));
  const rows = values.map(([name, value], i) => {
    const width = (value / high) * (WIDTH - LEFT - RIGHT - 20);
    const y = i * BAR;
    return `<text x="${LEFT}" y="${y + 16}" text-anchor="end">${escaped(name)}</text><rect x="${LEFT + 8}" y="${y + 3}" width="${width.toFixed(1)}" height="${BAR - 8}" fill="var(--c${i % COLOURS})"/><text class="soft" x="${(LEFT + width + 14).toFixed(1)}" y="${y + 16}">${text(value)}</text>`;
  });
  const about = values.map(([name, value]) => `${name}: ${text(value)}`).join("; ");
  return figure(title, about, `0 0 ${WIDTH} ${values.length * BAR}`, rows);
}

function figure(title: string, about: string, box: string, parts: readonly string[]): string {
  return `<figure>
<h2>${escaped(title)}</h2>
<svg viewBox="${box}" role="img" aria-label="${escaped(`${title}. ${about}`)}">
${parts.join("\n")}
</svg>
<figcaption>${escaped(about)}.</figcaption>
</figure>`;
}

/** 1, 2 or 5 times a power of ten. */
function niceAbove(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((times) => times * power >= value) ?? 10) * power;
}

export function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
