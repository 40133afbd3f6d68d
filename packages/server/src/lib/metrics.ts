/**
 * Counters, gauges and histograms that cost the hot path an addition: plain numbers, read when somebody asks.
 * prom-client writes them out; its own counters hash their labels at every step, some hundred times the cost.
 */
import { collectDefaultMetrics, type Metric, Registry } from "prom-client";

import { Distribution } from "./distribution.ts";

/** Only ever raised: `counter.value++`. */
export interface Counter {
  value: number;
}

export interface Gauge {
  value: number;
}

export interface Histogram {
  observe(value: number): void;
}

export type Labels = Readonly<Record<string, string>>;

/**
 * The metrics of one server. A series is made once, at start, by the part that counts it: its labels are known beforehand, so
 * that nothing a device sends can make one.
 */
export interface Metrics {
  /** Names end in `_total`. */
  counter(name: string, help: string, labels?: Labels): Counter;
  /** With `read` its value is asked for when it is wanted. */
  gauge(name: string, help: string, labels?: Labels, read?: () => number): Gauge;
  /** `bounds`: upper bounds of the buckets, ascending, the last one short of infinity. */
  histogram(name: string, help: string, bounds: readonly number[], labels?: Labels): Histogram;
  /** As `histogram`, of what is kept elsewhere. */
  show(name: string, help: string, distribution: Distribution, labels?: Labels): void;
  /** A family of counters or gauges that are kept elsewhere, under labels of a bounded number: asked for when they are wanted. */
  collect(
    name: string,
    help: string,
    type: "counter" | "gauge",
    read: () => Iterable<readonly [Labels, number]>,
  ): void;
  /** The present value of a counter or gauge; undefined: there is no such series. */
  read(name: string, labels?: Labels): number | undefined;
  /** Adds those of the process: CPU, memory, delay of the event loop. */
  observeProcess(): void;
  /** In Prometheus's text format. */
  render(): Promise<string>;
  readonly contentType: string;
}

/** Series of a server; a part that makes them without end fails at the first test that does. */
const SERIES = 1000;

/** What prom-client asks of a metric. */
interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly series: Map<string, Series>;
  /** Those that are kept elsewhere. */
  collected?: () => Iterable<readonly [Labels, number]>;
  get(): Promise<object>;
}

interface Series {
  readonly labels: Labels;
  readonly handle: Counter | Gauge | Distribution;
  samples(name: string): Sample[];
}

interface Sample {
  readonly metricName: string;
  readonly labels: Record<string, string | number>;
  readonly value: number;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  const families = new Map<string, Family>();
  let count = 0;

  function family(name: string, help: string, type: Family["type"]): Family {
    const known = families.get(name);
    if (known !== undefined) {
      if (known.type === type && known.help === help) return known;
      throw new Error(`metric ${name} was made as another ${known.type}`);
    }
    const made = createFamily(name, help, type);
    families.set(name, made);
    registry.registerMetric(made as unknown as Metric);
    return made;
  }

  function series<T extends Series>(of: Family, labels: Labels, make: () => T): T {
    const key = seriesKey(labels);
    const known = of.series.get(key);
    if (known !== undefined) return known as T;
    if (++count > SERIES) throw new Error(`metric ${of.name} is the ${count}th series`);
    const made = make();
    of.series.set(key, made);
    return made;
  }

  return {
    contentType: registry.contentType,
    counter(name, help, labels = {}) {
      return series(family(name, help, "counter"), labels, () => plain(labels)).handle as Counter;
    },
    gauge(name, help, labels = {}, read) {
      return series(family(name, help, "gauge"), labels, () => plain(labels, read)).handle as Gauge;
    },
    histogram(name, help, bounds, labels = {}) {
      const make = (): Series & { readonly handle: Distribution } =>
        shown(new Distribution(bounds), labels);
      return series(family(name, help, "histogram"), labels, make).handle;
    },
    show(name, help, distribution, labels = {}) {
      series(family(name, help, "histogram"), labels, () => shown(distribution, labels));
    },
    collect(name, help, type, read) {
      family(name, help, type).collected = read;
    },
    read(name, labels = {}) {
      const of = families.get(name);
      const key = seriesKey(labels);
      const known = of?.series.get(key);
      if (known !== undefined) return known.samples(name).at(-1)?.value;
      for (const [one, value] of of?.collected?.() ?? []) if (seriesKey(one) === key) return value;
      return undefined;
    },
    observeProcess() {
      collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 50 });
      for (const { name } of registry.getMetricsAsArray()) {
        if (EMPTY_ON_BUN.test(name)) registry.removeSingleMetric(name);
      }
    },
    render: () => registry.metrics(),
  };
}

/** Of V8 and libuv: Bun fills them with zeros, or with something else. */
const EMPTY_ON_BUN = /^(nodejs_(active|heap_space|gc|version|external)|process_heap)/;

function createFamily(name: string, help: string, type: Family["type"]): Family {
  const made: Family = {
    name,
    help,
    type,
    series: new Map(),
    get() {
      const values = [...made.series.values()].flatMap((one) => one.samples(name));
      for (const [labels, value] of made.collected?.() ?? []) {
        values.push({ metricName: name, labels, value });
      }
      return Promise.resolve({ name, help, type, values, aggregator: "sum" });
    },
  };
  return made;
}

function plain(labels: Labels, read?: () => number): Series {
  const handle = { value: 0 };
  return {
    labels,
    handle,
    samples: (metricName) => [{ metricName, labels, value: read?.() ?? handle.value }],
  };
}

function seriesKey(labels: Labels): string {
  return JSON.stringify(Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function shown(handle: Distribution, labels: Labels): Series & { readonly handle: Distribution } {
  return { labels, handle, samples: (name) => samplesOf(handle, name, labels) };
}

function samplesOf({ bounds, counts, sum }: Distribution, name: string, labels: Labels): Sample[] {
  const samples: Sample[] = [];
  let below = 0;
  for (const [i, count] of counts.entries()) {
    below += count;
    const le = bounds[i] ?? "+Inf";
    samples.push({ metricName: `${name}_bucket`, labels: { ...labels, le }, value: below });
  }
  samples.push({ metricName: `${name}_sum`, labels, value: sum });
  samples.push({ metricName: `${name}_count`, labels, value: below });
  return samples;
}
