import { expect, test } from "bun:test";

import { PRICES, ruleOf } from "./rule.ts";

test("the gain for cost follows the prices: what is dearer beside a hop has to bring more", () => {
  const { moveGain, redirectGain } = ruleOf("cost");
  const dear = ruleOf("cost", 1.1, { ...PRICES, move: PRICES.move * 2 });
  expect(dear).toMatchObject({ moveGain: moveGain * 2, redirectGain });
  const far = ruleOf("cost", 1.1, { ...PRICES, hop: PRICES.hop * 10 });
  expect(far.moveGain).toBeCloseTo(moveGain / 10, 6);
  expect(ruleOf("locality").moveGain).toBeLessThan(moveGain);
  expect(ruleOf(7)).toMatchObject({ moveGain: 7 });
});
