/** A number for each name that is in use, and the name again. What nobody uses any more is forgotten, and its number given anew. */
export class Names {
  readonly #numbers = new Map<string, number>();
  readonly #names: string[] = [];
  readonly #uses: number[] = [];
  readonly #free: number[] = [];

  get size(): number {
    return this.#numbers.size;
  }

  find(name: string): number | undefined {
    return this.#numbers.get(name);
  }

  name(number: number): string {
    return this.#names[number]!;
  }

  /** One use more. */
  take(name: string): number {
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.#free.pop() ?? this.#names.length;
      this.#numbers.set(name, number);
      this.#names[number] = name;
      this.#uses[number] = 0;
    }
    this.#uses[number]!++;
    return number;
  }

  /** One use less. */
  release(number: number): void {
    if (--this.#uses[number]! > 0) return;
    this.#numbers.delete(this.#names[number]!);
    this.#names[number] = "";
    this.#free.push(number);
  }
}
