/**
 * The order of commits. A row's number begins with that of its transaction, and a transaction's number is given when it starts to
 * write; so one with a lesser number may commit after one with a greater. Whatever is less than the oldest transaction that is
 * open (the snapshot's xmin) is final; the next read begins there.
 */
import { unavailable } from "./postgres-link.ts";
import type { Pool } from "./postgres-pool.ts";
import { ROWS_PER_TRANSACTION } from "./postgres-schema.ts";
import type { StorePosition, TailEntry } from "./store.ts";

const CHUNK = 2_000;

/** Positions inside unfinished readings that are remembered. */
const MAX_PAGES = 64;

const READ = `
  SELECT x.final, h.seq::float8, h.account, h.device
  FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::float8 AS final) AS x
  LEFT JOIN LATERAL (
    SELECT seq, account, device FROM held WHERE seq > $1::bigint ORDER BY seq LIMIT ${CHUNK}
  ) AS h ON true`;

export class TailReader {
  readonly #pool: Pool;
  readonly #base: number;
  /** By where a page ended, what was final when its first page was read: from there the reading after the last page begins. */
  readonly #pages = new Map<StorePosition, StorePosition>();

  /** `base`: of the numbering. */
  constructor(pool: Pool, base: number) {
    this.#pool = pool;
    this.#base = base;
  }

  async read(
    since: StorePosition,
    limit: number,
  ): Promise<{ devices: TailEntry[]; now: StorePosition }> {
    try {
      return await this.#pool.with(async (link) => {
        const found = new Map<string, TailEntry>();
        let final = this.#pages.get(since) ?? Infinity;
        for (let from = Math.min(since, Number.MAX_SAFE_INTEGER); ;) {
          const rows = await link.one(READ, [from]);
          const oldest = this.#base + (rows[0]!["final"] as number);
          final = Math.min(final, oldest * ROWS_PER_TRANSACTION - 1);
          const told = rows.filter(({ seq }) => seq !== null);
          for (const { seq, account, device } of told) {
            const name = `${account}\0${device}`;
            if (found.has(name)) continue;
            if (found.size === limit) {
              this.#remember(seq - 1, final);
              return { devices: [...found.values()], now: seq - 1 };
            }
            found.set(name, { user: account as string, device: device as string });
            from = seq as number;
          }
          if (told.length > 0) from = told.at(-1)!["seq"] as number;
          if (told.length < CHUNK) return { devices: [...found.values()], now: final };
        }
      });
    } catch (error) {
      throw unavailable(error);
    }
  }

  #remember(page: StorePosition, final: StorePosition): void {
    this.#pages.delete(page);
    this.#pages.set(page, final);
    if (this.#pages.size <= MAX_PAGES) return;
    const [oldest] = this.#pages.keys();
    this.#pages.delete(oldest!);
  }
}
