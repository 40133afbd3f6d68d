import { expect, test } from "bun:test";
import { createMetrics } from "./metrics.ts";

test("counters and gauges are plain numbers, written out in Prometheus's format", async () => {
  const metrics = createMetrics();
  const local = metrics.counter("beckon_deliveries_total", "Deliveries.", { route: "local" });
  const remote = metrics.counter("beckon_deliveries_total", "Deliveries.", { route: "remote" });
  metrics.gauge("beckon_connections", "Connections.", {}, () => 7);
  local.value++;
  local.value++;
  remote.value += 40;
  expect(await metrics.render()).toBe(
    `# HELP beckon_deliveries_total Deliveries.
# TYPE beckon_deliveries_total counter
beckon_deliveries_total{route="local"} 2
beckon_deliveries_total{route="remote"} 40

# HELP beckon_connections Connections.
# TYPE beckon_connections gauge
beckon_connections 7
`,
  );
  expect(metrics.contentType).toStartWith("text/plain; version=0.0.4");
});

test("a histogram counts cumulatively, bounds included", async () => {
  const metrics = createMetrics();
  const ms = metrics.histogram("beckon_hold_seconds", "Time to hold.", [0.01, 0.1], { store: "s" });
  for (const value of [0.005, 0.01, 0.05, 3]) ms.observe(value);
  const text = await metrics.render();
  expect(text).toContain('beckon_hold_seconds_bucket{store="s",le="0.01"} 2\n');
  expect(text).toContain('beckon_hold_seconds_bucket{store="s",le="0.1"} 3\n');
  expect(text).toContain('beckon_hold_seconds_bucket{store="s",le="+Inf"} 4\n');
  expect(text).toContain('beckon_hold_seconds_sum{store="s"} 3.065\n');
  expect(text).toContain('beckon_hold_seconds_count{store="s"} 4\n');
});

test("the same name and labels are the same series, in whatever order the labels stand", () => {
  const metrics = createMetrics();
  const a = metrics.counter("x_total", "X.", { a: "1", b: "2" });
  expect(metrics.counter("x_total", "X.", { b: "2", a: "1" })).toBe(a);
  a.value = 5;
  expect(metrics.read("x_total", { b: "2", a: "1" })).toBe(5);
  expect(metrics.read("x_total")).toBeUndefined();
  expect(metrics.read("y_total")).toBeUndefined();
  metrics.gauge("z", "Z.", {}, () => 3);
  expect(metrics.read("z")).toBe(3);
});

test("what is kept elsewhere is read when it is wanted", async () => {
  const metrics = createMetrics();
  const codes = new Map([["forbidden", 3]]);
  metrics.collect("refusals_total", "Refusals.", "counter", () =>
    [...codes].map(([code, count]) => [{ code }, count] as const),
  );
  expect(metrics.read("refusals_total", { code: "forbidden" })).toBe(3);
  codes.set("bad-id", 1);
  expect(await metrics.render()).toContain(
    'refusals_total{code="forbidden"} 3\nrefusals_total{code="bad-id"} 1\n',
  );
  expect(metrics.read("refusals_total", { code: "internal" })).toBeUndefined();
});

test("one name is one kind of metric", () => {
  const metrics = createMetrics();
  metrics.counter("x_total", "X.");
  expect(() => metrics.gauge("x_total", "X.")).toThrow("x_total");
  expect(() => metrics.counter("x_total", "Something else.")).toThrow("x_total");
});

test("L10: series are bounded", () => {
  const metrics = createMetrics();
  expect(() => {
    for (let i = 0; i < 2000; i++) metrics.counter("x_total", "X.", { user: String(i) });
  }).toThrow("1001");
});

test("a label's value cannot break out of its line", async () => {
  const metrics = createMetrics();
  metrics.counter("x_total", "X.", { peer: 'a"} 1\ny_total 9' }).value = 1;
  const lines = (await metrics.render()).trimEnd().split("\n");
  expect(lines).toHaveLength(3);
  expect(lines[2]).toBe('x_total{peer="a\\"} 1\\ny_total 9"} 1');
});

test("the process's own metrics", async () => {
  const metrics = createMetrics();
  metrics.observeProcess();
  const text = await metrics.render();
  expect(text).toMatch(/^process_cpu_seconds_total \d/m);
  expect(text).toMatch(/^process_resident_memory_bytes [1-9]\d{6,}/m);
  expect(text).toContain("nodejs_eventloop_lag_p99_seconds");
  expect(text).not.toContain("heap_space");
});
