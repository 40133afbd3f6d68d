import { readFile } from "node:fs/promises";

import type { Millis } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { whyUnread } from "../lib/why-unread.ts";
import { BadCertificate, concerns, readCertificate } from "./certificate.ts";
import type { Certificate, TlsFile } from "./certificate.ts";

/**
 * The files are read again so often, and what they say is compared: a link that is set to another folder changes no file, and
 * not every file system tells of changes.
 */
const LOOK_MS = 5_000;
const DAY_MS = 86_400_000;
const EXPIRES_SOON_MS = 7 * DAY_MS;

export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** @throws {BadCertificate} */
export async function loadCertificate({ certFile, keyFile }: TlsFiles): Promise<Certificate> {
  // One after the other: of two that are missing the first is named.
  const cert = await read("cert_file", certFile);
  const key = await read("key_file", keyFile);
  return readCertificate(cert, key);
}

async function read(file: TlsFile, path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new BadCertificate(file, whyUnread(error));
  }
}

export interface CertificateWatchOptions {
  readonly files: TlsFiles;
  /** What is served at first. */
  readonly first: Certificate;
  readonly clock: Clock;
  readonly log: Log;
  /** From now on this one; resolves when another may follow. Where it throws, the one before stays. */
  use(certificate: Certificate): Promise<void>;
}

/** Takes a new certificate over when its files hold one that is whole; till then the one before stays. */
export class CertificateWatch {
  readonly #options: CertificateWatchOptions;
  #current: Certificate;
  /** The problem that was told last; each is told once, however often it is found. */
  #told: string | undefined;
  #warnedAt = -Infinity;
  #cancel: (() => void) | undefined;
  #look: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #isStopped = false;

  constructor(options: CertificateWatchOptions) {
    this.#options = options;
    this.#current = options.first;
    this.#say("tls.loaded");
    this.#warn();
    this.#wait();
  }

  /** When the certificate in use expires. */
  get expires(): Millis {
    return this.#current.expires;
  }

  /** Looks now. One look at a time; all who ask during it are served by the one after it. */
  look(): Promise<void> {
    if (this.#look !== undefined) {
      return (this.#next ??= this.#look.then(() => {
        this.#next = undefined;
        return this.look();
      }));
    }
    this.#look = this.#takeOver().finally(() => (this.#look = undefined));
    return this.#look;
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel?.();
  }

  #wait(): void {
    this.#cancel = this.#options.clock.after(LOOK_MS, () => {
      void this.look().finally(() => {
        if (!this.#isStopped) this.#wait();
      });
    });
  }

  async #takeOver(): Promise<void> {
    const { files, log } = this.#options;
    let over: Promise<void> | undefined;
    try {
      const found = await loadCertificate(files);
      if (this.#isStopped) return;
      const { cert, key } = this.#current;
      if (found.cert !== cert || found.key !== key) {
        over = this.#options.use(found);
        this.#current = found;
        this.#warnedAt = -Infinity;
        this.#say("tls.reloaded");
      }
      this.#told = undefined;
    } catch (error) {
      const { message: reason } = error as Error;
      const where = this.#whereOf(error);
      const problem = `${where.key} ${reason}`;
      if (this.#told !== problem) {
        this.#told = problem;
        log.warn("tls.refused", { ...where, reason, fingerprint: this.#current.fingerprint });
      }
    }
    this.#warn();
    await over;
  }

  #whereOf(error: unknown): { key?: string; path?: string } {
    if (!(error instanceof BadCertificate)) return {};
    const { certFile, keyFile } = this.#options.files;
    return { key: `tls.${error.file}`, path: error.file === "cert_file" ? certFile : keyFile };
  }

  #say(event: string): void {
    const { fingerprint, serial, expires } = this.#current;
    const until = new Date(expires).toISOString();
    this.#options.log.info(event, { fingerprint, serial, expires: until });
  }

  /** Once a day for as long as it is so. */
  #warn(): void {
    const { clock, log } = this.#options;
    if (clock.monotonic() - this.#warnedAt < DAY_MS) return;
    const now = clock.now();
    const found = concerns(this.#current, now).map(({ message }) => message);
    const { expires, fingerprint } = this.#current;
    if (expires > now && expires - now <= EXPIRES_SOON_MS) {
      found.push(`the certificate expires in ${Math.ceil((expires - now) / DAY_MS)} days or less`);
    }
    if (found.length === 0) return;
    this.#warnedAt = clock.monotonic();
    for (const reason of found) {
      const until = new Date(expires).toISOString();
      log.warn("tls.concern", { reason, fingerprint, expires: until });
    }
  }
}
