import { join } from "node:path";

export interface Authority {
  /** PEM file: whom to trust. */
  readonly ca: string;
  /** PEM files of a server on loopback that this one vouches for. */
  readonly cert: string;
  readonly key: string;
}

/** Files in `folder` whose names begin with `name`. */
export function createAuthority(folder: string, name: string): Authority {
  const file = (end: string): string => join(folder, `${name}-${end}.pem`);
  const [ca, caKey, cert, key] = [file("ca"), file("ca-key"), file("cert"), file("key")];
  const make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"];
  openssl(...make, "-days", "2", "-subj", `/CN=${name}`, "-keyout", caKey, "-out", ca);
  const signed = ["-CA", ca, "-CAkey", caKey, "-addext", "subjectAltName=IP:127.0.0.1"];
  openssl(...make, "-days", "2", "-subj", "/CN=server", ...signed, "-keyout", key, "-out", cert);
  return { ca, cert, key };
}

function openssl(...args: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(["openssl", ...args], { stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`openssl ${args[0]} has failed:\n${stderr.toString()}`);
}
