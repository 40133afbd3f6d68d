/** Ties, statement by statement. They decay in the database: what is stored is not read to be changed. */
import type { Millis } from "@beckon/protocol";

import type { Call } from "./call.ts";
import { arrayOf } from "./postgres-link.ts";
import type { Row, Statement } from "./postgres-link.ts";
import type { StoredTie, TieChange, TieSums } from "./store.ts";
import { CROWD, FADE_SLICE, FAINT, TIES_PER_USER, circleSize, sidesOfChanges } from "./ties.ts";
import { namedBy } from "./waking.ts";
import type { Pushed } from "./waking.ts";
import { LONG_MS, PRESENT, SHORT_MS } from "./weight.ts";

/** Ties that one statement of `erase` deletes. */
const ERASE_SLICE = 2_000;

/** What is smaller than 2 to the minus this is nothing: a number that is too small for its type is an error of the database. */
const HALVINGS = 200;

function decay(age: string, half: Millis): string {
  return `power(2::float8, -least(greatest(${age}, 0) / ${half}, ${HALVINGS}))`;
}

/** `now`: an expression. */
function weight(now: string): string {
  return `(long * ${decay(`${now} - at`, LONG_MS)} + ${PRESENT} * short * ${decay(`${now} - at`, SHORT_MS)})`;
}

function sum(column: "long" | "short", half: Millis): string {
  return `${column} = known.${column} * ${decay("excluded.at - known.at", half)}
    + excluded.${column} * ${decay("known.at - excluded.at", half)}`;
}

/** Rows are locked in the order of their names, so that two such statements wait for each other in one direction only. */
const STRENGTHEN = `WITH put AS (
    INSERT INTO tie AS known (account, peer, long, short, at)
    SELECT * FROM unnest($1::text[], $2::text[], $3::float8[], $4::float8[], $5::float8[]) AS come (account, peer, long, short, at)
    ORDER BY account COLLATE "C", peer COLLATE "C"
    ON CONFLICT (account, peer) DO UPDATE SET ${sum("long", LONG_MS)}, ${sum("short", SHORT_MS)},
      at = greatest(known.at, excluded.at)
    RETURNING account, xmax = 0 AS is_new
  ) SELECT DISTINCT account FROM put WHERE is_new`;

/** Of what another transaction has locked the next one that adds a tie gets rid. */
const THIN = `DELETE FROM tie WHERE (account, peer) IN (
    SELECT account, peer FROM tie JOIN (
      SELECT account, peer, row_number() OVER (PARTITION BY account ORDER BY ${weight("$2::float8")} DESC, peer) AS place
      FROM tie WHERE account IN (
        SELECT account FROM tie WHERE account = ANY($1::text[]) GROUP BY account HAVING count(*) > ${CROWD}
      )
    ) AS ranked USING (account, peer) WHERE place > ${TIES_PER_USER} FOR UPDATE OF tie SKIP LOCKED
  )`;

/** OFFSET: peer by peer, whatever a planner without statistics thinks. */
const CIRCLE = `SELECT peer, long, short, at, pushed_at::float8, named, calls FROM (
    SELECT peer, long, short, at, ${weight("$2::float8")} AS weight FROM tie WHERE account = $1
    ORDER BY weight DESC, peer LIMIT $3
  ) AS near LEFT JOIN LATERAL (
    SELECT pushed_at, named, calls FROM holder
    WHERE account = peer AND device <> '' AND (pushed_at IS NOT NULL OR calls IS NOT NULL) OFFSET 0
  ) AS woken ON true
  ORDER BY weight DESC, peer`;

const SLICE_END = `SELECT account FROM tie WHERE account > $1 ORDER BY account OFFSET ${FADE_SLICE - 1} LIMIT 1`;

function fadeOf(users: string): string {
  return `DELETE FROM tie WHERE (account, peer) IN (
    SELECT account, peer FROM tie WHERE ${users} AND ${weight("$1::float8")} < ${FAINT} FOR UPDATE SKIP LOCKED
  )`;
}

const ERASE = `WITH gone AS (
    DELETE FROM tie WHERE (account, peer) IN (
      SELECT account, peer FROM tie WHERE account = $1 OR peer = $1 ORDER BY account, peer LIMIT ${ERASE_SLICE} FOR UPDATE
    ) RETURNING 1
  ) SELECT count(*)::integer AS ties FROM gone`;

/** Answers who has a tie more than before. */
export function strengthenTies(changes: readonly TieChange[]): Statement {
  const sides = sidesOfChanges(changes);
  return [
    STRENGTHEN,
    [
      arrayOf(sides.map(({ user }) => user)),
      arrayOf(sides.map(({ peer }) => peer)),
      arrayOf(sides.map(({ long }) => long)),
      arrayOf(sides.map(({ short }) => short)),
      arrayOf(sides.map(({ at }) => at)),
    ],
  ];
}

export function thinTies(users: readonly string[], now: Millis): Statement {
  return [THIN, [arrayOf(users), now]];
}

export function readCircle(user: string, k: number, now: Millis): Statement {
  return [CIRCLE, [user, now, circleSize(k)]];
}

interface Near {
  readonly sums: TieSums;
  readonly pushed: Pushed[];
}

/** A row a device that was pushed to, and one for a peer without; those of one peer follow each other. */
export function circleOf(rows: readonly Row[]): StoredTie[] {
  const circle = new Map<string, Near>();
  for (const row of rows) {
    const { peer, long, short, at, pushed_at: pushedAt, named, calls } = row;
    const tie: Near = circle.get(peer as string) ?? { sums: { long, short, at }, pushed: [] };
    tie.pushed.push({ pushedAt: pushedAt ?? undefined, named: named ?? "" });
    if (calls !== null) tie.pushed.push(...(JSON.parse(calls as string) as Call[]));
    circle.set(peer as string, tie);
  }
  return [...circle].map(([peer, { sums, pushed }]) => {
    const named = namedBy(pushed);
    return { peer, ...sums, ...(named !== undefined && { named }) };
  });
}

/** The user at whom a slice of ties ends; none: there are no more than a slice. */
export function endOfSlice(after: string): Statement {
  return [SLICE_END, [after]];
}

export function fadeTies(after: string, last: string | undefined, now: Millis): Statement {
  return last === undefined
    ? [fadeOf("account > $2"), [now, after]]
    : [fadeOf("account > $2 AND account <= $3"), [now, after, last]];
}

/** Of a slice. Answers how many are gone. */
export function eraseTies(user: string): Statement {
  return [ERASE, [user]];
}
