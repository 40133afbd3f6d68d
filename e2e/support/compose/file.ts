/** What examples/cluster/compose.yaml says. A key that is not here is refused: whoever writes one says in `project.ts` what it does. */
import * as z from "zod";

export interface Service {
  readonly image: string;
  readonly build?: { readonly context: string; readonly dockerfile: string } | undefined;
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly depends_on: Readonly<Record<string, unknown>>;
  /** `127.0.0.1:OUTSIDE:INSIDE` */
  readonly ports: readonly string[];
  readonly secrets: readonly string[];
  readonly configs: readonly { readonly source: string; readonly target: string }[];
  /** `NAME:PATH` */
  readonly volumes: readonly string[];
  readonly healthcheck: {
    readonly test: readonly [string, ...string[]];
    /** Seconds, as all times here. */
    readonly interval: number;
    readonly timeout: number;
    readonly retries: number;
  };
  readonly stop_grace_period: number;
}

export interface ComposeFile {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
  readonly configs: Readonly<Record<string, { readonly file: string }>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
}

/** Of a container that it does not have, a process cannot be deprived: such a key may say this one thing. */
const container = {
  restart: z.literal("unless-stopped"),
  read_only: z.literal(true).optional(),
  cap_drop: z.tuple([z.literal("ALL")]).optional(),
  security_opt: z.tuple([z.literal("no-new-privileges:true")]).optional(),
  shm_size: z.literal("256mb").optional(),
};

const seconds = z
  .string()
  .regex(/^\d+[sm]$/)
  .transform((text) => Number.parseInt(text) * (text.endsWith("m") ? 60 : 1));

const service: z.ZodType<Service> = z.strictObject({
  image: z.string(),
  build: z.strictObject({ context: z.string(), dockerfile: z.string() }).optional(),
  command: z.array(z.string()),
  environment: z.record(z.string(), z.string()).default({}),
  depends_on: z
    .record(z.string(), z.strictObject({ condition: z.literal("service_healthy") }))
    .default({}),
  // On this machine alone.
  ports: z.array(z.string().regex(/^127\.0\.0\.1:\d+:\d+$/)).default([]),
  secrets: z.array(z.string()).default([]),
  configs: z.array(z.strictObject({ source: z.string(), target: z.string() })).default([]),
  volumes: z.array(z.string().regex(/^\w+:\/[\w/]+$/)).default([]),
  healthcheck: z.strictObject({
    test: z.tuple([z.literal("CMD")], z.string()),
    interval: seconds,
    timeout: seconds,
    retries: z.int(),
  }),
  stop_grace_period: seconds.default(10),
  ...container,
});

const file: z.ZodType<ComposeFile> = z.strictObject({
  name: z.string(),
  // Anchors: what they say is in the services.
  "x-beckon": z.unknown(),
  "x-environment": z.unknown(),
  services: z.record(z.string(), service),
  volumes: z.record(z.string(), z.null()),
  configs: z.record(z.string(), z.strictObject({ file: z.string() })),
  secrets: z.record(z.string(), z.strictObject({ file: z.string() })),
});

/** `variables`: of the file `.env` beside it. @throws where one is missing that the file insists on, in the file's words. */
export function parseCompose(
  text: string,
  variables: Readonly<Record<string, string>>,
): ComposeFile {
  const said = text.replaceAll(/\$\{(\w+):\?([^}]*)\}/g, (_, name: string, why: string) => {
    const value = variables[name];
    if (value === undefined || value === "") throw new Error(`${name} is missing: ${why}`);
    return value;
  });
  if (/\$[{\w]/.test(said)) throw new Error("only ${NAME:?why} is understood");
  return file.parse(Bun.YAML.parse(said));
}
