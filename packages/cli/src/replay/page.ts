/** The report: one page that stands by itself, for people who look at it in light or in dark, with a mouse, a keyboard or a screen reader. */
import { bars, escaped, lines, type Line } from "./plots.ts";
import { bytes, milliseconds, number, percent, PLACED } from "./report.ts";
import type { Result } from "./result.ts";

const FAULTS = ["lost", "duplicated", "reordered", "late", "unpushed"] as const;

export function drawReport(results: readonly Result[]): string {
  const first = results[0]!;
  const title = `${first.trace}: ${number(first.messages)} messages, ${first.servers} servers`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Beckon replay: ${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escaped(title)}</h1>
<p>${escaped(about(first))}</p>
${figures(results)}
${locality(results)}
${costs(results)}
${results.map((result) => devices(result)).join("\n")}
${problems(results)}
</main>
</body>
</html>
`;
}

function about({
  users,
  devicesPerUser,
  mode,
  inFlight,
  gain,
  cap,
  seed,
  processes,
  changes,
}: Result): string {
  const said = [
    `${number(users)} users with ${devicesPerUser === 1 ? "a device" : `${devicesPerUser} devices`} each`,
    `mode ${mode}`,
    inFlight === 1 ? "one event at a time" : `${inFlight} messages under way at most`,
    `gain ${gain}, cap ${cap}, seed ${seed}`,
    processes ? "servers in processes of their own" : "servers and devices in one process",
    ...changes.map(
      ({ after, kind, server }) =>
        `s${server + 1} ${VERBS[kind]} after ${hours(after / 3_600_000)}`,
    ),
  ];
  return `${said.join("; ")}.`;
}

const VERBS = { kill: "killed", drain: "drained", add: "added" } as const;

function figures(results: readonly Result[]): string {
  const heads = [
    "policy",
    "local",
    "redirects",
    "moves",
    "fullest: p95",
    "maximum",
    "connects",
    "CPU",
    "bus",
    "faults",
  ];
  const rows = results.map((result) => [
    result.policy,
    percent(result.locality),
    result.redirects.toFixed(1),
    result.moves.toFixed(1),
    result.imbalanceP95.toFixed(2),
    result.imbalanceMax.toFixed(2),
    number(result.connects),
    milliseconds(result.cpuMs),
    bytes(result.busBytes),
    `${FAULTS.reduce((sum, fault) => sum + result[fault], 0)}`,
  ]);
  return `<div class="wide" tabindex="0" role="region" aria-label="Figures">
<table>
<caption>Redirects and moves are for 1,000 messages; CPU (of ${results[0]!.cpuOf}) and bytes over the bus for one, with all that comes with it. Faults: lost, repeated, out of order, late, not pushed.</caption>
<thead><tr>${heads.map((head) => `<th scope="col">${head}</th>`).join("")}</tr></thead>
<tbody>
${rows.map(([policy, ...cells]) => `<tr><th scope="row" title="${PLACED[policy as Result["policy"]]}">${policy}</th>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`).join("\n")}
</tbody>
</table>
</div>`;
}

/** Points that a share is of: in one there may be few messages. */
const SPAN = 8;

function locality(results: readonly Result[]): string {
  const series = results.map(({ policy, history }): Line => ({
    name: policy,
    points: history.flatMap(({ hours }, i) => {
      const span = history.slice(Math.max(0, i + 1 - SPAN), i + 1);
      const all = span.reduce((sum, { deliveries }) => sum + deliveries, 0);
      const local = span.reduce((sum, point) => sum + point.local, 0);
      return all === 0 ? [] : [[hours / 24, local / all] as const];
    }),
  }));
  return lines({
    title: "Local deliveries over time",
    about: results
      .map(({ policy, locality }) => `${policy}: ${percent(locality)} in all`)
      .join("; "),
    x: "days of the trace; each point is of the twelfth of it before",
    y: percent,
    top: 1,
    series,
  });
}

function devices({ policy, history, connectsByServer }: Result): string {
  const names = Object.keys(connectsByServer);
  const series = names.map((name, i): Line => ({
    name,
    points: history.map(({ hours, devices }) => [hours / 24, devices[i]!] as const),
  }));
  return lines({
    title: `Devices per server over time: ${policy}`,
    about: `${PLACED[policy]}; at the end ${names.map((name, i) => `${name} ${history.at(-1)?.devices[i] ?? 0}`).join(", ")}`,
    x: "days of the trace",
    y: (value) => number(Math.round(value)),
    series,
  });
}

function costs(results: readonly Result[]): string {
  const of = (value: (result: Result) => number): (readonly [string, number])[] =>
    results.map((result) => [result.policy, value(result)]);
  const whose = results[0]!.cpuOf;
  return [
    bars({
      title: `CPU of ${whose}, for a message`,
      values: of(({ cpuMs }) => cpuMs),
      text: milliseconds,
    }),
    bars({
      title: "Bytes over the bus, for a message",
      values: of(({ busBytes }) => busBytes),
      text: bytes,
    }),
  ].join("\n");
}

function problems(results: readonly Result[]): string {
  const found = results.flatMap(({ policy, problems }) =>
    problems.map((what) => `${policy}: ${what}`),
  );
  if (found.length === 0)
    return "<p>Nothing was lost, repeated, out of order, late, or not pushed.</p>";
  return `<h2>What went wrong</h2>\n<ul>\n${found.map((what) => `<li>${escaped(what)}</li>`).join("\n")}\n</ul>`;
}

const hours = (value: number): string => `${Number(value.toFixed(1))} h`;

/** Colours keep 3:1 to the ground in light and in dark, and differ for those who do not see red and green. */
const STYLE = `
:root { --ground: #fff; --ink: #1b1f24; --soft: #57606a; --grid: #d8dee4;
  --c0: #6e7781; --c1: #0072b2; --c2: #b35900; --c3: #00795a; --c4: #a0387a; --c5: #7a6000; --c6: #5b4bc4; --c7: #1f7a99; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #12161b; --ink: #e6edf3; --soft: #9da7b1; --grid: #30363d;
    --c0: #9da7b1; --c1: #56b4e9; --c2: #f0a04b; --c3: #3fc79a; --c4: #e08cc0; --c5: #d9c24a; --c6: #a79bff; --c7: #6fc7e0; }
}
body { background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; } p, caption, figcaption { color: var(--soft); }
figure { margin: 2rem 0; } figcaption { font-size: .9rem; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .soft { fill: var(--soft); } svg .grid { stroke: var(--grid); } svg .line { fill: none; stroke-width: 2; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; caption-side: bottom; font-size: .9rem; padding-top: .5rem; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th:first-child { text-align: left; }
`;
