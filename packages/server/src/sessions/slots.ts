/** Greater than every hash. */
const EMPTY = 0x7fff_ffff;
const HASH_BITS = 31;
const FIRST_HOMES = 64;
const FIRST_SPARE = 32;
/** Of a segment's homes: how many are taken when it is built, and how many at most and at least before it is built anew. */
const BUILT = 0.82;
const FULL = 0.92;
const SPARSE = 0.4;
/** Entries in a segment: what is moved at once is bounded by it. */
const SEGMENT_LIMIT = 49_152;
/** At most 2^14 segments; past that they grow instead. */
const MAX_DEPTH = 14;

/** Entries of hashes with the same first bits. */
interface Segment {
  /** How many bits. */
  readonly depth: number;
  /** Pairs of a hash and a number, by hash; the last pair is always {@link EMPTY}. */
  readonly slots: Int32Array;
  readonly homes: number;
  /** Slots behind the last home, for what its run pushes there. */
  readonly spare: number;
  count: number;
}

/**
 * Numbers by hash, several of one hash too, in the order in which they came; 8 bytes a slot. Open addressing with linear probing, each run
 * sorted by hash: a search ends at the first greater one, and a segment is built anew by one pass in order. The directory doubles
 * as segments split (extendible hashing), so no insertion moves more than one segment.
 */
export class Slots {
  #directory: Segment[] = [build(new Int32Array(0), 0, FIRST_SPARE)];
  /** Of the directory: 2^depth segments, the deepest once, the others several times. */
  #depth = 0;
  readonly #segmentLimit: number;

  constructor(segmentLimit: number = SEGMENT_LIMIT) {
    this.#segmentLimit = segmentLimit;
  }

  /** Memory that is taken. */
  get bytes(): number {
    let bytes = 4 * this.#directory.length;
    for (const segment of new Set(this.#directory)) bytes += segment.slots.byteLength;
    return bytes;
  }

  /** Writes the numbers of a hash into `found`, and answers how many there are. */
  find(hash: number, found: number[]): number {
    const segment = this.#directory[hash >>> (HASH_BITS - this.#depth)]!;
    const { slots } = segment;
    let at = homeOf(segment, hash) << 1;
    while (slots[at]! < hash) at += 2;
    let count = 0;
    for (; slots[at] === hash; at += 2) found[count++] = slots[at + 1]!;
    return count;
  }

  insert(hash: number, value: number): void {
    let segment = this.#segmentOf(hash);
    if (segment.count >= this.#segmentLimit && segment.depth < MAX_DEPTH) {
      this.#split(hash);
      segment = this.#segmentOf(hash);
    }
    if (segment.count >= FULL * segment.homes) segment = this.#rebuild(hash, segment.spare);
    while (!insertInto(segment, hash, value)) segment = this.#rebuild(hash, 2 * segment.spare);
  }

  replace(hash: number, before: number, value: number): void {
    const { slots } = this.#segmentOf(hash);
    slots[this.#indexOf(hash, before) + 1] = value;
  }

  delete(hash: number, value: number): void {
    const segment = this.#segmentOf(hash);
    const { slots } = segment;
    let hole = this.#indexOf(hash, value);
    for (let at = hole + 2; slots[at] !== EMPTY; at += 2) {
      if (homeOf(segment, slots[at]!) << 1 === at) break;
      slots[hole] = slots[at]!;
      slots[hole + 1] = slots[at + 1]!;
      hole = at;
    }
    slots[hole] = EMPTY;
    segment.count--;
    if (segment.count < SPARSE * segment.homes && segment.homes > FIRST_HOMES) {
      this.#rebuild(hash, FIRST_SPARE);
    }
  }

  #indexOf(hash: number, value: number): number {
    const segment = this.#segmentOf(hash);
    const { slots } = segment;
    let at = homeOf(segment, hash) << 1;
    while (slots[at]! < hash) at += 2;
    for (; slots[at] === hash; at += 2) if (slots[at + 1] === value) return at;
    throw new RangeError("no such entry");
  }

  #segmentOf(hash: number): Segment {
    return this.#directory[hash >>> (HASH_BITS - this.#depth)]!;
  }

  #rebuild(hash: number, spare: number): Segment {
    const segment = this.#segmentOf(hash);
    const next = build(entriesOf(segment), segment.depth, spare);
    this.#put(hash, next);
    return next;
  }

  #split(hash: number): void {
    const segment = this.#segmentOf(hash);
    const depth = segment.depth + 1;
    if (depth > this.#depth) {
      this.#directory = this.#directory.flatMap((one) => [one, one]);
      this.#depth++;
    }
    const entries = entriesOf(segment);
    const bit = 1 << (HASH_BITS - depth);
    let middle = 0;
    while (middle < entries.length && (entries[middle]! & bit) === 0) middle += 2;
    this.#put(hash & ~bit, build(entries.subarray(0, middle), depth, FIRST_SPARE));
    this.#put(hash | bit, build(entries.subarray(middle), depth, FIRST_SPARE));
  }

  /** Puts a segment where the first bits of the hash lead. */
  #put(hash: number, segment: Segment): void {
    const count = 2 ** (this.#depth - segment.depth);
    const first = (hash >>> (HASH_BITS - segment.depth)) * count;
    this.#directory.fill(segment, first, first + count);
  }
}

/** Where a hash would be if it were alone; grows with the hash. */
function homeOf({ depth, homes }: Segment, hash: number): number {
  return Math.floor((((hash << depth) & EMPTY) * homes) / 2 ** HASH_BITS);
}

/** False: the run reaches the end. */
function insertInto(segment: Segment, hash: number, value: number): boolean {
  const { slots } = segment;
  let at = homeOf(segment, hash) << 1;
  while (slots[at]! <= hash && slots[at] !== EMPTY) at += 2;
  let end = at;
  while (slots[end] !== EMPTY) end += 2;
  if (end === slots.length - 2) return false;
  slots.copyWithin(at + 2, at, end);
  slots[at] = hash;
  slots[at + 1] = value;
  segment.count++;
  return true;
}

function entriesOf({ slots, count }: Segment): Int32Array {
  const entries = new Int32Array(2 * count);
  let to = 0;
  for (let at = 0; at < slots.length; at += 2) {
    if (slots[at] === EMPTY) continue;
    entries[to++] = slots[at]!;
    entries[to++] = slots[at + 1]!;
  }
  return entries;
}

function build(entries: Int32Array, depth: number, spare: number): Segment {
  const count = entries.length / 2;
  const homes = Math.max(FIRST_HOMES, Math.ceil(count / BUILT));
  const slots = new Int32Array(2 * (homes + spare));
  const segment = { depth, slots, homes, spare, count };
  slots.fill(EMPTY);
  let next = 0;
  for (let i = 0; i < entries.length; i += 2) {
    const at = Math.max(next, homeOf(segment, entries[i]!) << 1);
    if (at >= slots.length - 2) return build(entries, depth, 2 * spare);
    slots[at] = entries[i]!;
    slots[at + 1] = entries[i + 1]!;
    next = at + 2;
  }
  return segment;
}
