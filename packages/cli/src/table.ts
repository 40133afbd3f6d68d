/** Lines with their cells below each other; those of `right` stand at the right. Nothing follows the last cell of a line. */
export function tableOf(
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
): string[] {
  const widths = (rows[0] ?? []).map((_, at) =>
    Math.max(...rows.map((row) => Bun.stringWidth(row[at] ?? ""))),
  );
  return rows.map((row) =>
    row
      .map((cell, at) => {
        const space = " ".repeat(widths[at]! - Bun.stringWidth(cell));
        return right.includes(at) ? space + cell : cell + space;
      })
      .join("  ")
      .trimEnd(),
  );
}

const UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
] as const;

/** A time that has passed, as short as people say it: `3d 4h`, `12m`, `8s`, `0.4s`. */
export function roughly(ms: number): string {
  const unit = UNITS.find(([, least]) => ms >= least);
  if (unit === undefined) {
    return ms < 10_000 ? `${(Math.max(0, ms) / 1_000).toFixed(1)}s` : `${Math.floor(ms / 1_000)}s`;
  }
  const [name, length] = unit;
  const whole = `${Math.floor(ms / length)}${name}`;
  const hours = Math.floor((ms % 86_400_000) / 3_600_000);
  return name === "d" && hours > 0 ? `${whole} ${hours}h` : whole;
}
