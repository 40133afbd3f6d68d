/** What every push provider has to keep to. */
import { expect } from "bun:test";
import type { PushItem, PushProvider } from "./provider.ts";

export interface ProviderFixture {
  readonly provider: PushProvider;
  /** Tokens that the service knows. */
  readonly known: readonly [string, string];
  /** One that it knows no more. */
  readonly gone: string;
  /** Bodies that came for the token so far. */
  received(token: string): readonly string[];
  /** Resolves when `count` bodies came for the token. */
  arrived(token: string, count: number): Promise<void>;
  close(): Promise<void>;
}

type Test = (name: string, run: () => Promise<void>) => void;

export function providerSuite(test: Test, make: () => Promise<ProviderFixture>): void {
  const withFixture = (run: (fixture: ProviderFixture) => Promise<void>) => async () => {
    const fixture = await make();
    try {
      await run(fixture);
    } finally {
      await fixture.provider.close();
      await fixture.close();
    }
  };
  const body = (n: number): string => JSON.stringify({ beckon: String(n) });
  const item = (token: string, body: string): PushItem => ({
    token,
    body,
    class: "message",
    expires: Date.now() + 60_000,
  });

  test(
    "says one outcome an item, in order, and delivers what it sent",
    withFixture(async ({ provider, known: [a, b], gone, received, arrived }) => {
      const items = [item(a, body(1)), item(gone, body(2)), item(b, body(3)), item(a, body(4))];
      const outcomes = await provider.send(items);
      expect(outcomes.map(({ kind }) => kind)).toEqual(["sent", "gone", "sent", "sent"]);
      await arrived(a, 2);
      await arrived(b, 1);
      expect(received(a)).toEqual([body(1), body(4)]);
      expect(received(b)).toEqual([body(3)]);
    }),
  );

  test(
    "takes an empty batch, and a large one",
    withFixture(async ({ provider, known: [a, b], arrived }) => {
      expect(await provider.send([])).toEqual([]);
      const items = Array.from({ length: 60 }, (_, i) => item(i % 2 === 0 ? a : b, body(i)));
      expect(new Set((await provider.send(items)).map(({ kind }) => kind))).toEqual(
        new Set(["sent"]),
      );
      await arrived(a, 30);
      await arrived(b, 30);
    }),
  );
}
