import { expect, test } from "bun:test";
import { didYouMean } from "./nearest.ts";

const known = ["listen", "limits", "name", "address", "auth"];

test.each([
  ["lsiten", "listen"],
  ["lisen", "listen"],
  ["limit", "limits"],
  ["adress", "address"],
  ["atuh", "auth"],
])("%s: did you mean %s?", (word, meant) => {
  expect(didYouMean(word, known)).toBe(`; did you mean ${meant}?`);
});

test("says nothing where nothing is near", () => {
  expect(didYouMean("banana", known)).toBe("");
  expect(didYouMean("x", [])).toBe("");
  expect(didYouMean("foo", ["log"])).toBe("");
  expect(didYouMean("POSTGRES_PASSWORD", ["ADDRESS_0_REGION", "AUTH_PUBLIC_KEY_FILE"])).toBe("");
  expect(didYouMean("tokens_secret", ["cluster_key"])).toBe("");
});
