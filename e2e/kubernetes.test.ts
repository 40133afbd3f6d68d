/** examples/cluster/kubernetes: what can be known of the manifests without a cluster. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

import { type Config, loadConfig } from "@beckon/server";
import * as z from "zod";

import { endpoints } from "../packages/server/src/admin/endpoints.ts";
import { ROOT } from "./support/package.ts";

setDefaultTimeout(60_000);

const FOLDER = join(ROOT, "examples/cluster/kubernetes");

const labels = z.record(z.string(), z.string());
const probe = z.object({ httpGet: z.object({ path: z.string(), port: z.string() }) });
const statefulSet = z.object({
  kind: z.literal("StatefulSet"),
  metadata: z.object({ name: z.string() }),
  spec: z.object({
    serviceName: z.string(),
    replicas: z.int(),
    selector: z.object({ matchLabels: labels }),
    template: z.object({
      metadata: z.object({ labels }),
      spec: z.object({
        terminationGracePeriodSeconds: z.int(),
        containers: z.tuple([
          z.object({
            ports: z.array(z.object({ name: z.string(), containerPort: z.int() })),
            env: z.array(
              z.strictObject({
                name: z.string(),
                value: z.string().optional(),
                valueFrom: z
                  .union([
                    z.strictObject({
                      fieldRef: z.strictObject({ fieldPath: z.literal("metadata.name") }),
                    }),
                    z.strictObject({
                      secretKeyRef: z.strictObject({ name: z.literal("beckon"), key: z.string() }),
                    }),
                  ])
                  .optional(),
              }),
            ),
            startupProbe: probe,
            livenessProbe: probe,
            readinessProbe: probe,
            volumeMounts: z.tuple([z.object({ name: z.string(), mountPath: z.string() })]),
          }),
        ]),
        volumes: z.tuple([
          z.object({ name: z.string(), secret: z.object({ secretName: z.literal("beckon") }) }),
        ]),
      }),
    }),
  }),
});
const service = z.object({
  kind: z.literal("Service"),
  metadata: z.object({ name: z.string() }),
  spec: z.object({
    clusterIP: z.literal("None").optional(),
    selector: labels,
    ports: z.array(z.object({ name: z.string(), port: z.int(), targetPort: z.string() })),
  }),
});
const ingress = z.object({
  kind: z.literal("Ingress"),
  spec: z.object({
    rules: z.array(
      z.object({
        host: z.string(),
        http: z.object({
          paths: z.array(
            z.object({
              path: z.string(),
              pathType: z.literal("Prefix"),
              backend: z.object({
                service: z.object({ name: z.string(), port: z.object({ name: z.string() }) }),
              }),
            }),
          ),
        }),
      }),
    ),
  }),
});
const budget = z.object({
  kind: z.literal("PodDisruptionBudget"),
  spec: z.object({ selector: z.object({ matchLabels: labels }) }),
});
const policy = z.object({
  kind: z.literal("NetworkPolicy"),
  spec: z.object({
    podSelector: z.object({ matchLabels: labels }),
    ingress: z.array(z.object({ ports: z.array(z.object({ port: z.string() })) })),
  }),
});
const anyKind = z.discriminatedUnion("kind", [statefulSet, service, ingress, budget, policy]);

const read = (name: string): Promise<string> => Bun.file(join(FOLDER, name)).text();
const files = (await readdir(FOLDER)).filter((name) => name.endsWith(".yaml"));
const texts = new Map(
  await Promise.all(files.map(async (name) => [name, await read(name)] as const)),
);
const readme = await read("README.md");

function objectsOf(name: string): z.output<typeof anyKind>[] {
  return [Bun.YAML.parse(texts.get(name)!)].flat().map((each) => anyKind.parse(each));
}

const all = files.flatMap(objectsOf);
const set = all.find((each) => each.kind === "StatefulSet")!;
const services = all.filter((each) => each.kind === "Service");
const pod = set.spec.template.spec;
const [container] = pod.containers;
const names = Array.from({ length: set.spec.replicas }, (_, at) => `${set.metadata.name}-${at}`);

/** The secret, as the README makes it. */
const literals = new Map(
  [...readme.matchAll(/--from-literal=(\w+)=(\S+)/g)].map(([, key, value]) => [key!, value!]),
);
const secretFiles = [...readme.matchAll(/--from-file=([\w-]+)/g)].map(([, key]) => key!);

let mount: string;

beforeAll(async () => {
  mount = await mkdtemp(join(tmpdir(), "beckon-kubernetes-"));
  for (const key of secretFiles) await writeFile(join(mount, key), `${"x".repeat(64)}\n`);
});

afterAll(() => rm(mount, { recursive: true, force: true }));

/** What a pod's process has in its environment; the secret is mounted in a folder of this test. */
function environmentOf(name: string): Record<string, string> {
  const env: Record<string, string> = {};
  for (const { name: variable, value, valueFrom } of container.env) {
    const text =
      valueFrom === undefined
        ? value!
        : "fieldRef" in valueFrom
          ? name
          : literals.get(valueFrom.secretKeyRef.key)!;
    env[variable] = text
      .replaceAll(/\$\((\w+)\)/g, (whole, other: string) => env[other] ?? whole)
      .replace(`${container.volumeMounts[0].mountPath}/`, `${mount}/`);
  }
  return env;
}

/** What Kubernetes tells a pod of a service, unless it is told not to. */
function linksOf({ metadata, spec }: z.output<typeof service>): Record<string, string> {
  if (spec.clusterIP === "None") return {};
  const name = metadata.name.toUpperCase().replaceAll("-", "_");
  const [{ port, name: portName }] = spec.ports as [z.output<typeof service>["spec"]["ports"][0]];
  const url = `tcp://10.0.0.1:${port}`;
  return {
    [`${name}_SERVICE_HOST`]: "10.0.0.1",
    [`${name}_SERVICE_PORT`]: String(port),
    [`${name}_SERVICE_PORT_${portName.toUpperCase()}`]: String(port),
    [`${name}_PORT`]: url,
    [`${name}_PORT_${port}_TCP`]: url,
    [`${name}_PORT_${port}_TCP_PROTO`]: "tcp",
    [`${name}_PORT_${port}_TCP_PORT`]: String(port),
    [`${name}_PORT_${port}_TCP_ADDR`]: "10.0.0.1",
  };
}

test("each file says that it was not applied", () => {
  for (const text of texts.values()) expect(text).toStartWith("# Not applied to any cluster yet;");
});

test("M1, M7: a server understands what its pod tells it, and has a name and an address of its own", async () => {
  const configs: Config[] = [];
  for (const name of names) configs.push(await loadConfig(undefined, environmentOf(name)));
  expect(configs.map(({ name }) => name)).toEqual(names);
  expect(configs.map(({ addresses }) => addresses[0]!.url)).toEqual(
    names.map((name) => `wss://${name}.chat.example.com`),
  );
  for (const { listen, admin, bus, store, drain } of configs) {
    expect(container.ports).toEqual([
      { name: "devices", containerPort: listen.port },
      { name: "admin", containerPort: admin.port },
    ]);
    expect([listen.host, admin.host]).toEqual(["0.0.0.0", "0.0.0.0"]);
    expect([bus.kind, store.kind]).toEqual(["nats", "postgres"]);
    expect(pod.terminationGracePeriodSeconds * 1_000).toBeGreaterThan(drain.deadline);
  }
});

test("what Kubernetes says of services named beckon is passed over", async () => {
  const links = Object.assign({}, ...services.map(linksOf)) as Record<string, string>;
  expect(Object.keys(links).length).toBeGreaterThan(20);
  await loadConfig(undefined, { ...links, ...environmentOf(names[0]!) });
});

test("probes ask what the admin API answers; selectors and ports fit", () => {
  const paths: string[] = Object.values(endpoints).map(({ path }) => path);
  for (const { httpGet } of [
    container.startupProbe,
    container.livenessProbe,
    container.readinessProbe,
  ]) {
    expect(paths).toContain(httpGet.path);
    expect(httpGet.port).toBe("admin");
  }
  const { labels: own } = set.spec.template.metadata;
  const ports = container.ports.map(({ name }) => name);
  for (const each of all) {
    if (each.kind === "Ingress") continue;
    const selector =
      each.kind === "Service"
        ? each.spec.selector
        : each.kind === "NetworkPolicy"
          ? each.spec.podSelector.matchLabels
          : each.spec.selector.matchLabels;
    const { [POD]: _, ...rest } = selector;
    expect(rest).toEqual(own);
    if (each.kind === "Service") {
      for (const { targetPort } of each.spec.ports) expect(ports).toContain(targetPort);
    }
    if (each.kind === "NetworkPolicy") {
      const open = each.spec.ingress.flatMap((rule) => rule.ports.map(({ port }) => port));
      expect(open.toSorted()).toEqual(ports.toSorted());
    }
  }
  const governing = services.find(({ metadata }) => metadata.name === set.spec.serviceName);
  expect(governing?.spec.clusterIP).toBe("None");
  expect(pod.volumes[0].name).toBe(container.volumeMounts[0].name);
});

/** By which a service leads to one pod. */
const POD = "statefulset.kubernetes.io/pod-name";

describe.each([["routes.yaml"], ["routes-by-path.yaml"]])("M7, L9: %s", (file) => {
  const [{ spec }] = objectsOf(file) as [z.output<typeof ingress>];
  /** The pod that a device reaches at this address; undefined: any. */
  function reached(address: string): string | undefined {
    const { hostname, pathname } = new URL(address);
    const rule = spec.rules.find(({ host }) => host === hostname)!;
    const { backend } = rule.http.paths
      .filter(({ path }) => `${pathname}/`.startsWith(path === "/" ? "/" : `${path}/`))
      .toSorted((a, b) => b.path.length - a.path.length)[0]!;
    const target = services.find(({ metadata }) => metadata.name === backend.service.name)!;
    expect(target.spec.ports.map(({ name }) => name)).toContain(backend.service.port.name);
    return target.spec.selector[POD];
  }

  const [, byPath] = /BECKON_ADDRESS_0_URL is (\S+)/.exec(texts.get(file)!) ?? [];

  test("the address of each server leads to that very server, and the seed to any", async () => {
    for (const name of names) {
      const env = environmentOf(name);
      const url = byPath?.replace("$(BECKON_NAME)", name) ?? env["BECKON_ADDRESS_0_URL"]!;
      const { addresses } = await loadConfig(undefined, { ...env, BECKON_ADDRESS_0_URL: url });
      expect(reached(addresses[0]!.url)).toBe(name);
    }
    expect(reached("wss://chat.example.com")).toBeUndefined();
  });
});

test("the README names every file", () => {
  for (const name of files) expect(readme).toContain(`](${basename(name)})`);
});
