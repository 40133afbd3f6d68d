/** Ties at some place: those of one user are neighbours. */
export interface TiePage {
  /** Number of the other user. */
  readonly peers: Int32Array;
  /** Messages, decayed slowly. */
  readonly long: Float32Array;
  /** Messages, decayed fast. */
  readonly short: Float32Array;
}

/** Where a user's ties are: `page << PAGE_BITS | first`. */
export type Block = number;

const PAGE_BITS = 12;
const PAGE = 1 << PAGE_BITS;
/** Ties that the smallest block takes; each next size takes twice as many. */
const LEAST = 4;

/**
 * Blocks of 4, 8, 16 … ties, 12 bytes a tie, in pages of one size each. Pages are not given back: there are as many as were needed at
 * the busiest time, and blocks that were freed are used first.
 */
export class TieBlocks {
  readonly #pages: TiePage[] = [];
  /** By size class. */
  readonly #free: Block[][] = [];

  /** Ties that a block of this class takes. */
  capacity(size: number): number {
    return LEAST << size;
  }

  get bytes(): number {
    return this.#pages.length * PAGE * 12;
  }

  page(block: Block): TiePage {
    return this.#pages[block >>> PAGE_BITS]!;
  }

  first(block: Block): number {
    return block & (PAGE - 1);
  }

  take(size: number): Block {
    const free = (this.#free[size] ??= []);
    if (free.length === 0) {
      const page = this.#pages.length;
      this.#pages.push({
        peers: new Int32Array(PAGE),
        long: new Float32Array(PAGE),
        short: new Float32Array(PAGE),
      });
      const ties = this.capacity(size);
      for (let at = PAGE - ties; at >= 0; at -= ties) free.push((page << PAGE_BITS) | at);
    }
    return free.pop()!;
  }

  release(size: number, block: Block): void {
    this.#free[size]!.push(block);
  }

  /** The block of the next size with the same ties; the old one is free. */
  grow(size: number, block: Block): Block {
    const larger = this.take(size + 1);
    const [from, to] = [this.page(block), this.page(larger)];
    const [first, at] = [this.first(block), this.first(larger)];
    const end = first + this.capacity(size);
    to.peers.set(from.peers.subarray(first, end), at);
    to.long.set(from.long.subarray(first, end), at);
    to.short.set(from.short.subarray(first, end), at);
    this.release(size, block);
    return larger;
  }
}
