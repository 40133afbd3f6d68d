import type { Arbitrary } from "fast-check";

import * as fc from "fast-check";

import type {
  Address,
  Frame,
  Hint,
  Limits,
  PushRegistration,
  ServerAddresses,
  Wake,
} from "../frames.ts";

/** Numbers near each border of the encoding, and all others. */
const uint: Arbitrary<number> = fc.oneof(
  fc.constantFrom(0, 1, 0x7f, 0x80, 0x3fff, 0x4000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff),
  fc.constantFrom(0x1_0000_0000, 2 ** 49 - 1, 2 ** 49, Number.MAX_SAFE_INTEGER),
  fc.nat({ max: 1000 }),
  fc.maxSafeNat(),
);

const text: Arbitrary<string> = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.string({ unit: "binary", minLength: 30, maxLength: 70 }),
  // Around the length where a length needs a second byte, in bytes and not in units.
  fc.nat({ max: 12 }).map((more) => "x".repeat(120 + more)),
  fc.nat({ max: 12 }).map((more) => "é".repeat(58 + more)),
);

const bytes: Arbitrary<Uint8Array> = fc.oneof(
  fc.uint8Array({ maxLength: 32 }),
  fc.uint8Array({ minLength: 90, maxLength: 140 }),
  fc.integer({ min: 16_300, max: 16_400 }).map((size) => new Uint8Array(size).fill(7)),
);

const wake = fc.constantFrom(
  "message" as const,
  "call" as const,
  "silent" as const,
  "none" as const,
);

const address: Arbitrary<Address> = fc.record({
  url: text,
  protocol: text,
  secure: fc.boolean(),
  network: text,
  region: text,
  priority: uint,
});

const server: Arbitrary<ServerAddresses> = fc.record({
  name: text,
  addresses: fc.array(address, { maxLength: 3 }),
});

const servers = fc.array(server, { maxLength: 3 });

const limits: Arbitrary<Limits> = fc.record({
  payload: uint,
  messageBytes: uint,
  messageFrames: uint,
  inFlight: uint,
  window: uint,
  rate: uint,
  burst: uint,
});

const push: Arbitrary<PushRegistration> = fc.record({
  provider: text,
  token: text,
  key: fc.record({ id: uint, key: bytes }),
});

const content = {
  id: bytes,
  to: text,
  n: uint,
  prev: uint,
  payload: bytes,
  wake,
  preview: text,
  ends: fc.uint8Array({ maxLength: 20 }),
};

/** Any frame, by its type. */
export const arbitraryByType: {
  readonly [T in Frame["type"]]: Arbitrary<Extract<Frame, { readonly type: T }>>;
} = {
  send: fc.record({ type: fc.constant("send"), ...content }),
  deliver: fc.record({
    type: fc.constant("deliver"),
    ...content,
    from: text,
    fromDevice: text,
    outbox: uint,
    at: uint,
    held: fc.boolean(),
    redelivered: fc.boolean(),
    server: text,
  }),
  received: fc.record({
    type: fc.constant("received"),
    ranges: fc.array(fc.tuple(uint, uint), { maxLength: 80 }).map((pairs) => pairs.flat()),
  }),
  ack: fc.record({
    type: fc.constant("ack"),
    send: uint,
    count: uint.map((count) => Math.max(1, count)),
    status: fc.constantFrom("delivered", "held"),
    route: fc.constantFrom("local", "remote", "wake"),
    at: uint,
  }),
  ping: fc.record({ type: fc.constant("ping") }),
  pong: fc.record({ type: fc.constant("pong"), time: uint }),
  pull: fc.record({ type: fc.constant("pull") }),
  pulled: fc.record({ type: fc.constant("pulled"), pull: uint }),
  error: fc.record({
    type: fc.constant("error"),
    code: uint,
    message: text,
    send: uint,
    retryAfter: uint,
  }),
  hello: fc
    .record({
      type: fc.constant("hello" as const),
      token: text,
      ticket: bytes,
      device: text,
      durable: fc.boolean(),
      protocols: fc.array(text, { maxLength: 4 }),
      epoch: uint,
      outbox: uint,
      hinted: text,
      intent: text,
      noRedirect: fc.boolean(),
      noCopies: fc.boolean(),
      client: text,
      capabilities: uint,
      background: fc.boolean(),
    })
    .chain((hello) =>
      fc
        .option(push, { nil: undefined })
        .map((given) => (given === undefined ? hello : { ...hello, push: given })),
    ),
  welcome: fc.record({
    type: fc.constant("welcome"),
    connection: text,
    server: text,
    user: text,
    epoch: uint,
    ticket: bytes,
    time: uint,
    heartbeat: uint,
    limits,
    servers,
    held: uint,
    recovered: fc.boolean(),
    capabilities: uint,
  }),
  auth: fc.record({ type: fc.constant("auth"), token: text }),
  state: fc.record({ type: fc.constant("state"), background: fc.boolean() }),
  bye: fc.record({ type: fc.constant("bye") }),
  redirect: fc.record({ type: fc.constant("redirect"), server, reason: text }),
  move: fc.record({ type: fc.constant("move"), server, reason: text }),
  drain: fc.record({ type: fc.constant("drain"), within: uint, servers }),
  quiet: fc.record({ type: fc.constant("quiet"), conversation: text, until: uint }),
  quieted: fc.record({ type: fc.constant("quieted"), count: uint }),
  forget: fc.record({ type: fc.constant("forget") }),
};

export const arbitraryFrame: Arbitrary<Frame> = fc.oneof(
  ...(Object.values(arbitraryByType) as Arbitrary<Frame>[]),
);

export const arbitraryWake: Arbitrary<Wake> = fc.record({ key: uint, nonce: bytes, sealed: bytes });

export const arbitraryHint: Arbitrary<Hint> = fc.record({
  server,
  conversation: text,
  activity: uint,
  wake,
  expires: uint,
  preview: text,
  call: bytes,
  ended: fc.boolean(),
});

/** One field whose number no message of version 1 has, in any wire type that may be skipped. */
export const arbitraryUnknownField: Arbitrary<Uint8Array> = fc
  .tuple(
    fc.oneof(fc.constantFrom(100, 2047, 2048, 2 ** 29 - 1), fc.integer({ min: 32, max: 5000 })),
    fc.constantFrom(0, 1, 2, 5),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    fc.uint8Array({ maxLength: 200 }),
  )
  .map(([number, wire, value, content]) => {
    const tag = varint(BigInt(number) * 8n + BigInt(wire));
    if (wire === 0) return Uint8Array.from([...tag, ...varint(value)]);
    if (wire === 1) return Uint8Array.from([...tag, 1, 2, 3, 4, 5, 6, 7, 8]);
    if (wire === 5) return Uint8Array.from([...tag, 1, 2, 3, 4]);
    return Uint8Array.from([...tag, ...varint(BigInt(content.length)), ...content]);
  });

export function varint(value: bigint): number[] {
  const digits: number[] = [];
  while (value > 0x7fn) {
    digits.push(Number(value & 0x7fn) | 0x80);
    value >>= 7n;
  }
  return [...digits, Number(value)];
}
