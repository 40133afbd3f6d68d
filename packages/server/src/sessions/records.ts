import type { Session } from "./table.ts";

/**
 * A record, in words of 4 bytes:
 *
 * 0  flags, length of the user's id, length of the device's id, set size: a byte each
 * 1  the epoch's lower 32 bits
 * 2  its upper 16, and 16 of the set's version
 * 3… the user's id and the device's: a byte a unit where all units fit (Latin-1, so ASCII), else two
 *
 * A free one keeps its lengths, and has in word 1 the next free one of its size. Behind the last one of a page is 0.
 */
const HEADER_WORDS = 3;
const LIVE = 1;
const DURABLE = 2;
const BACKGROUND = 4;
const MARKED = 8;
const TWO_BYTES = 16;
const FREE = 32;
const MEMBER = 64;
const LENGTHS = 0xffff00;

/** What does not fit is kept as an object: names of 256 units and more, epochs over 48 bits, and the like. */
const NAME_LIMIT = 0xff;
const SET_SIZE_LIMIT = 0xff;
const SET_VERSION_LIMIT = 0xffff;
const EPOCH_LIMIT = 2 ** 48 - 1;

/** A ref is a page's number and a word in it: 8 GiB of records. Past that they are kept as objects. */
const PAGE_BITS = 18;
const PAGE_LIMIT = 2 ** (31 - PAGE_BITS);
const WORD = 2 ** PAGE_BITS - 1;
/** In words. A partition grows by a sixteenth, so that little of it is empty. */
const LEAST_PAGE = 2 ** 12;
const GREATEST_PAGE = 2 ** PAGE_BITS;
const GROWTH = 1 / 16;
const NONE = -1;

interface Page {
  readonly words: Int32Array;
  /** The same memory. */
  readonly bytes: Buffer;
  readonly partition: Partition;
}

/** The records of one server. */
export interface Partition {
  readonly server: string;
  readonly pages: number[];
  /** Of its pages, in words. */
  size: number;
  /** Where the next record goes in the last page, if no free one has its size. */
  next: number;
  /** The first free record, by size in words. */
  readonly free: Map<number, number>;
  /** The mark of records that are confirmed, {@link MARKED} or 0; the others have the other. */
  mark: number;
  /** Whether all records are. */
  isConfirmed: boolean;
}

/** A record that is kept as an object. */
interface Wide {
  session: Session;
  readonly partition: Partition;
  mark: number;
}

/** Sessions outside of the garbage-collected heap, by ref: a number that stays the same while the record is there. */
export class Records {
  readonly #pages: (Page | undefined)[] = [];
  readonly #freePages: number[] = [];
  /** By ref, which is negative. */
  readonly #wide = new Map<number, Wide>();
  #nextWide = -1;
  #bytes = 0;

  /** Memory that is taken, objects not counted. */
  get bytes(): number {
    return this.#bytes;
  }

  add(session: Session, partition: Partition, isConfirmed: boolean): number {
    const mark = isConfirmed ? partition.mark : partition.mark ^ MARKED;
    const { user, device } = session;
    const width = isNarrow(user) && isNarrow(device) ? 1 : 2;
    const isSmall = user.length <= NAME_LIMIT && device.length <= NAME_LIMIT && fits(session);
    const lengths = (user.length << 8) | (device.length << 16) | (width === 1 ? 0 : TWO_BYTES);
    const ref = isSmall ? this.#allocate(sizeOf(lengths), partition) : undefined;
    if (ref === undefined) {
      const wide = this.#nextWide--;
      this.#wide.set(wide, { session, partition, mark });
      return wide;
    }
    const { words, bytes } = this.#page(ref);
    const at = ref & WORD;
    write(words, at, session, lengths | mark);
    const names = (at + HEADER_WORDS) << 2;
    writeName(bytes, names, width, user);
    writeName(bytes, names + user.length * width, width, device);
    return ref;
  }

  /** Another state of the same device in the same partition. False: it needs another record. */
  update(ref: number, session: Session): boolean {
    if (ref < 0) {
      this.#wide.get(ref)!.session = session;
      return true;
    }
    if (!fits(session)) return false;
    const { words } = this.#page(ref);
    const at = ref & WORD;
    write(words, at, session, words[at]! & (LENGTHS | TWO_BYTES | MARKED));
    return true;
  }

  remove(ref: number): void {
    if (ref < 0) {
      this.#wide.delete(ref);
      return;
    }
    const { words, partition } = this.#page(ref);
    const at = ref & WORD;
    const size = sizeOf(words[at]!);
    words[at] = (words[at]! & (LENGTHS | TWO_BYTES)) | FREE;
    words[at + 1] = partition.free.get(size) ?? NONE;
    partition.free.set(size, ref);
  }

  /** Whether it is of this user, and of this device if one is given. */
  isOf(ref: number, user: string, device?: string): boolean {
    if (ref < 0) {
      const { session } = this.#wide.get(ref)!;
      return session.user === user && (device === undefined || session.device === device);
    }
    const { words, bytes } = this.#pages[ref >>> PAGE_BITS]!;
    const head = words[ref & WORD]!;
    const width = (head & TWO_BYTES) === 0 ? 1 : 2;
    const names = ((ref & WORD) + HEADER_WORDS) << 2;
    if (((head >>> 8) & 0xff) !== user.length || !isAt(bytes, names, width, user)) return false;
    if (device === undefined) return true;
    if (((head >>> 16) & 0xff) !== device.length) return false;
    return isAt(bytes, names + user.length * width, width, device);
  }

  /** `user`: what {@link isOf} was true for; without it a string is made. */
  read(ref: number, user?: string): Session {
    if (ref < 0) return this.#wide.get(ref)!.session;
    const { words, bytes, partition } = this.#pages[ref >>> PAGE_BITS]!;
    const at = ref & WORD;
    const head = words[at]!;
    const high = words[at + 2]!;
    const width = (head & TWO_BYTES) === 0 ? 1 : 2;
    const names = (at + HEADER_WORDS) << 2;
    const devices = names + ((head >>> 8) & 0xff) * width;
    const end = devices + ((head >>> 16) & 0xff) * width;
    const encoding = width === 1 ? "latin1" : "utf16le";
    return {
      user: user ?? bytes.toString(encoding, names, devices),
      device: bytes.toString(encoding, devices, end),
      server: partition.server,
      epoch: (high & 0xffff) * 2 ** 32 + (words[at + 1]! >>> 0),
      durable: (head & DURABLE) !== 0,
      background: (head & BACKGROUND) !== 0,
      setVersion: high >>> 16,
      setSize: head >>> 24,
      member: (head & MEMBER) !== 0,
    };
  }

  partitionOf(ref: number): Partition {
    return ref < 0 ? this.#wide.get(ref)!.partition : this.#page(ref).partition;
  }

  isConfirmed(ref: number): boolean {
    return this.#markOf(ref) === this.partitionOf(ref).mark;
  }

  confirm(ref: number): void {
    this.#setMark(ref, this.partitionOf(ref).mark);
  }

  /** From now on no record of the partition is confirmed. */
  doubt(partition: Partition): void {
    if (partition.isConfirmed) partition.mark ^= MARKED;
    else for (const ref of this.refsOf(partition)) this.#setMark(ref, partition.mark ^ MARKED);
    partition.isConfirmed = false;
  }

  /** Records that come while it runs may be among them. */
  *refsOf(partition: Partition): Generator<number, void> {
    for (const number of partition.pages) {
      const { words } = this.#pages[number]!;
      for (let at = 0; ;) {
        const isLast = number === partition.pages.at(-1);
        if (at >= (isLast ? partition.next : words.length)) break;
        if (words[at] === 0) break;
        if ((words[at]! & LIVE) !== 0) yield (number << PAGE_BITS) | at;
        at += sizeOf(words[at]!);
      }
    }
    for (const [ref, wide] of this.#wide) if (wide.partition === partition) yield ref;
  }

  /** Gives back the memory of a partition that has no records any more. */
  release(partition: Partition): void {
    for (const number of partition.pages) {
      this.#bytes -= this.#pages[number]!.bytes.length;
      this.#pages[number] = undefined;
      this.#freePages.push(number);
    }
    partition.pages.length = 0;
    partition.size = 0;
    partition.free.clear();
  }

  #page(ref: number): Page {
    return this.#pages[ref >>> PAGE_BITS]!;
  }

  #markOf(ref: number): number {
    return ref < 0 ? this.#wide.get(ref)!.mark : this.#page(ref).words[ref & WORD]! & MARKED;
  }

  #setMark(ref: number, mark: number): void {
    if (ref < 0) {
      this.#wide.get(ref)!.mark = mark;
      return;
    }
    const { words } = this.#page(ref);
    words[ref & WORD] = (words[ref & WORD]! & ~MARKED) | mark;
  }

  /** Undefined: there is no room for another page. */
  #allocate(size: number, partition: Partition): number | undefined {
    const free = partition.free.get(size) ?? NONE;
    if (free !== NONE) {
      partition.free.set(size, this.#page(free).words[(free & WORD) + 1]!);
      return free;
    }
    const last = partition.pages.at(-1);
    if (last === undefined || partition.next + size > this.#pages[last]!.words.length) {
      if (!this.#addPage(partition)) return undefined;
    }
    const at = partition.next;
    partition.next += size;
    return (partition.pages.at(-1)! << PAGE_BITS) | at;
  }

  #addPage(partition: Partition): boolean {
    const number = this.#freePages.pop() ?? this.#pages.length;
    if (number >= PAGE_LIMIT) return false;
    const grown = Math.ceil(partition.size * GROWTH);
    const size = Math.min(Math.max(grown, LEAST_PAGE), GREATEST_PAGE);
    const words = new Int32Array(size);
    this.#pages[number] = { words, bytes: Buffer.from(words.buffer), partition };
    this.#bytes += words.byteLength;
    partition.pages.push(number);
    partition.size += size;
    partition.next = 0;
    return true;
  }
}

export function makePartition(server: string): Partition {
  return { server, pages: [], size: 0, next: 0, free: new Map(), mark: 0, isConfirmed: true };
}

/** In words, by word 0. */
function sizeOf(head: number): number {
  const units = ((head >>> 8) & 0xff) + ((head >>> 16) & 0xff);
  return HEADER_WORDS + (((head & TWO_BYTES) === 0 ? units + 3 : 2 * units + 3) >> 2);
}

function fits({ epoch, setVersion, setSize }: Session): boolean {
  return (
    isBetween(epoch, EPOCH_LIMIT) &&
    isBetween(setVersion, SET_VERSION_LIMIT) &&
    isBetween(setSize, SET_SIZE_LIMIT)
  );
}

function isBetween(value: number, limit: number): boolean {
  return value >= 0 && value <= limit && Number.isInteger(value);
}

function isNarrow(name: string): boolean {
  for (let i = 0; i < name.length; i++) if (name.charCodeAt(i) > 0xff) return false;
  return true;
}

/** The header; `kept`: what of word 0 does not hang on the state of the session. */
function write(words: Int32Array, at: number, session: Session, kept: number): void {
  const { epoch, durable, background, setVersion, setSize, member } = session;
  const flags = (durable ? DURABLE : 0) | (background ? BACKGROUND : 0) | (member ? MEMBER : 0);
  words[at] = kept | LIVE | flags | (setSize << 24);
  words[at + 1] = epoch | 0;
  words[at + 2] = Math.floor(epoch / 2 ** 32) | (setVersion << 16);
}

function writeName(bytes: Buffer, at: number, width: number, name: string): void {
  for (let i = 0, to = at; i < name.length; i++, to += width) {
    const unit = name.charCodeAt(i);
    bytes[to] = unit;
    if (width === 2) bytes[to + 1] = unit >> 8;
  }
}

function isAt(bytes: Buffer, at: number, width: number, name: string): boolean {
  const { length } = name;
  if (width === 1) {
    for (let i = 0; i < length; i++) if (bytes[at + i] !== name.charCodeAt(i)) return false;
    return true;
  }
  for (let i = 0, from = at; i < length; i++, from += 2) {
    if ((bytes[from]! | (bytes[from + 1]! << 8)) !== name.charCodeAt(i)) return false;
  }
  return true;
}
