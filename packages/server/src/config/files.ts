import { readFile } from "node:fs/promises";
import { resolve } from "node:path";

import { whyUnread } from "../lib/why-unread.ts";
import type { GivenSecret } from "./engines.ts";
import type { Problem } from "./problem.ts";
import type { Settings } from "./settings.ts";

/** Files that the configuration names. Collects problems, so that all are told at once. */
export class Files {
  readonly problems: Problem[] = [];
  readonly #settings: Settings<unknown>;
  readonly #folder: string;

  constructor(settings: Settings<unknown>, folder: string) {
    this.#settings = settings;
    this.#folder = folder;
  }

  problem(key: string, message: string): void {
    this.problems.push(this.#settings.problem(key, message));
  }

  isFromFile(key: string): boolean {
    return this.#settings.isFromFile(key);
  }

  path(key: string, path: string): string {
    return this.#settings.isFromFile(key) ? resolve(this.#folder, path) : path;
  }

  async read(key: string, path: string): Promise<string | undefined> {
    try {
      return await readFile(this.path(key, path), "utf8");
    } catch (error) {
      this.problem(key, `${path}: ${whyUnread(error)}`);
      return undefined;
    }
  }

  /** Undefined: there is none, or none that is good. The end of a file's last line is no part of it. */
  async secret(key: string, given: GivenSecret, least: number): Promise<string | undefined> {
    const fileKey = `${key}_file`;
    let { text, file } = given;
    if (text !== undefined && file !== undefined) {
      const isTextFromFile = this.isFromFile(key);
      if (isTextFromFile === this.isFromFile(fileKey)) {
        this.problem(fileKey, `must not be there beside ${key}`);
        return undefined;
      }
      // A variable wins over the file, whichever of the two keys it is.
      if (isTextFromFile) text = undefined;
      else file = undefined;
    }
    const secret =
      file === undefined ? text : (await this.read(fileKey, file))?.replace(/\r?\n$/, "");
    if (secret === undefined) return undefined;
    if (Buffer.byteLength(secret) >= least) return secret;
    this.problem(file === undefined ? key : fileKey, `must have ${least} bytes or more`);
    return undefined;
  }
}
