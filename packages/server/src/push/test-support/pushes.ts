/** What the tests of the providers push, and what they hear of it. */
import { createLog, type Log } from "../../lib/log.ts";
import type { WakeIntent } from "../../store/store.ts";
import { composeWake } from "../compose.ts";
import type { PushItem, PushOutcome, PushProvider } from "../provider.ts";
import { sealWithNodeCrypto } from "../seal.ts";

/** A log that begins anew in `lines`. */
export function logInto(lines: string[]): Log {
  lines.length = 0;
  return createLog({
    level: "debug",
    format: "json",
    sink: (line) => void lines.push(line),
    now: () => 0,
  });
}

export const itemFor = (token: string, more: Partial<PushItem> = {}): PushItem => ({
  token,
  body: '{"beckon":"AAAA"}',
  class: "message",
  expires: Date.now() + 60_000,
  ...more,
});

export async function sendOne(to: PushProvider, one: PushItem): Promise<PushOutcome> {
  const [outcome] = await to.send([one]);
  return outcome!;
}

/** From Ann to Bob, in words that would be found again in what leaves. */
export const intentFor = (
  provider: string,
  token: string,
  more: Partial<WakeIntent> = {},
): WakeIntent => ({
  user: "bob-the-recipient",
  device: "bobs-phone",
  class: "message",
  call: "",
  ended: false,
  conversation: "ann-the-sender",
  server: "eu-1",
  preview: "Are you there?",
  activity: 3,
  generation: 1,
  attempts: 0,
  expires: Date.now() + 60_000,
  protocols: ["ws"],
  push: { provider, token, key: { id: 7, key: new Uint8Array(32) } },
  ...more,
});

/** As servers seal it; from `eu-1`, whose address would be found again, too. */
export function composeSealed(intent: WakeIntent, largest?: number): Promise<PushItem> {
  const address = { url: "wss://eu-1.chat.example.com", protocol: "ws", secure: true };
  const addresses = [{ ...address, network: "", region: "", priority: 0 }];
  return composeWake(intent, { name: "eu-1", addresses }, sealWithNodeCrypto, largest);
}
