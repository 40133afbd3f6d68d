/** What the configuration says of NATS and of the store, before the files that it names are read. */
import * as z from "zod";

/** A secret can be said itself, or be in a file. */
export interface GivenSecret {
  readonly text: string | undefined;
  readonly file: string | undefined;
}

export type GivenStore =
  | { readonly kind: "sqlite"; readonly path: string }
  | { readonly kind: "postgres"; readonly url: URL };

export interface GivenPostgres {
  readonly schema: string;
  readonly connections: number;
  readonly password: GivenSecret;
  readonly caFile: string | undefined;
}

export type GivenBus =
  | { readonly kind: "memory" }
  | {
      readonly kind: "nats";
      /** Without user and password. */
      readonly servers: readonly string[];
      readonly isTls: boolean;
      readonly user: string;
      readonly password: string;
    };

export interface GivenNats {
  readonly password: GivenSecret;
  readonly token: GivenSecret;
  readonly credentialsFile: string | undefined;
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
}

const STORE =
  'must be "sqlite:PATH" or "postgres://USER@HOST/DATABASE"; what is not a letter or a digit in a password is written as %XX';

export const store: z.ZodType<GivenStore, string> = z.string().transform((text, context) => {
  const path = text.replace(/^sqlite:/, "");
  if (path !== text && path !== "") return { kind: "sqlite", path };
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isWhole = url !== undefined && url.host !== "" && url.pathname.length > 1;
  if (isWhole && /^postgres(ql)?:$/.test(url.protocol)) {
    // Bun's driver knows one of the two names.
    return { kind: "postgres", url: new URL(text.replace(/^postgresql:/, "postgres:")) };
  }
  context.addIssue(STORE);
  return z.NEVER;
});

const BUS = 'must be "memory", or "nats://HOST:PORT" (or tls://), several with commas between them';
const MOST_SERVERS = 64;

export const bus: z.ZodType<GivenBus, string> = z.string().transform((text, context): GivenBus => {
  if (text === "memory") return { kind: "memory" };
  const parts = text.split(",").map((part) => part.trim());
  const urls = parts.filter((part) => URL.canParse(part)).map((part) => new URL(part));
  const [first] = urls;
  const isNats = urls.every(
    ({ protocol, host, pathname, search }) =>
      /^(nats|tls):$/.test(protocol) && host !== "" && /^\/?$/.test(pathname) && search === "",
  );
  if (first === undefined || urls.length < parts.length || !isNats || parts.length > MOST_SERVERS) {
    context.addIssue(BUS);
    return z.NEVER;
  }
  for (const part of ["protocol", "username", "password"] as const) {
    if (urls.every((url) => url[part] === first[part])) continue;
    context.addIssue(`must have the same ${part} for all of its servers`);
    return z.NEVER;
  }
  return {
    kind: "nats",
    servers: urls.map(({ protocol, hostname, port }) => `${protocol}//${hostname}:${port || 4222}`),
    isTls: first.protocol === "tls:",
    user: decodeURIComponent(first.username),
    password: decodeURIComponent(first.password),
  };
});

export const postgres: z.ZodPipe<z.ZodObject, z.ZodTransform<GivenPostgres>> = z
  .strictObject({
    schema: z
      .string()
      .regex(/^[a-z_][a-z0-9_]{0,62}$/, "must be lower case letters, digits and _")
      .default("beckon"),
    connections: z.int().min(4).max(64).default(8),
    password: z.string().optional(),
    password_file: z.string().optional(),
    ca_file: z.string().optional(),
  })
  .transform((given) => ({
    schema: given.schema,
    connections: given.connections,
    password: { text: given.password, file: given.password_file },
    caFile: given.ca_file,
  }));

export const nats: z.ZodPipe<z.ZodObject, z.ZodTransform<GivenNats>> = z
  .strictObject({
    password: z.string().optional(),
    password_file: z.string().optional(),
    token: z.string().optional(),
    token_file: z.string().optional(),
    credentials_file: z.string().optional(),
    ca_file: z.string().optional(),
    cert_file: z.string().optional(),
    key_file: z.string().optional(),
  })
  .superRefine(({ cert_file: cert, key_file: key }, context) => {
    if ((cert === undefined) === (key === undefined)) return;
    const path = [cert === undefined ? "key_file" : "cert_file"];
    const message = "must not be there without the other of cert_file and key_file";
    context.addIssue({ code: "custom", path, message });
  })
  .transform((given) => ({
    password: { text: given.password, file: given.password_file },
    token: { text: given.token, file: given.token_file },
    credentialsFile: given.credentials_file,
    caFile: given.ca_file,
    certFile: given.cert_file,
    keyFile: given.key_file,
  }));
