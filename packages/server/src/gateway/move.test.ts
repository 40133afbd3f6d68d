import { expect, spyOn, test } from "bun:test";

import type { ServerAddresses } from "@beckon/protocol";

import type { Node } from "../node.ts";
import { pair } from "../test-support/bed.ts";
import { Connection } from "./connection.ts";

const THERE: ServerAddresses = { name: "s2", addresses: [] };

/** All connections that the server accepts from now on. */
function connectionsOf({ gateway }: Node): Connection[] {
  const all: Connection[] = [];
  const accept = gateway.accept.bind(gateway);
  spyOn(gateway, "accept").mockImplementation((socket) => {
    const handler = accept(socket);
    if (handler instanceof Connection) all.push(handler);
    return handler;
  });
  return all;
}

test("B2: MOVE names the server and why, and the device is served on [P-8.4]", async () => {
  const { bed, s1, s2 } = await pair();
  const [connections, bob] = [connectionsOf(s1), await bed.device(s2, "bob")];
  const ann = await bed.device(s1, "ann");
  connections[0]!.move(THERE, "associates");
  await bed.clock.advance(10);
  expect(ann.of("move")).toEqual([{ type: "move", server: THERE, reason: "associates" }]);
  ann.send("bob");
  bob.send("ann");
  await bed.clock.advance(10);
  expect([ann.of("deliver").length, bob.of("deliver").length]).toEqual([1, 1]);
});

test("one that was not welcomed yet is not told", async () => {
  const { bed, s1 } = await pair();
  const connections = connectionsOf(s1);
  const ann = bed.hello(s1, "ann");
  connections[0]!.move(THERE, "");
  await bed.clock.advance(100);
  expect(ann.frames.map(({ type }) => type)).not.toContain("move");
  expect(ann.of("welcome")).toHaveLength(1);
});

test.each([
  [
    "L5: after MOVE a BYE is no goodbye: the device has its time to come back before it is pushed to [P-8.8]",
    true,
  ],
  ["L5: else it is one", false],
])("%s", async (_, isMoved) => {
  const { bed, s1, s2 } = await pair();
  const [connections, bob] = [connectionsOf(s1), await bed.device(s2, "bob")];
  const ann = await bed.device(s1, "ann");
  if (isMoved) connections[0]!.move(THERE, "associates");
  ann.write({ type: "bye" });
  await bed.clock.advance(20);
  bob.send("ann");
  await bed.clock.advance(3_000);
  expect(bob.of("ack")).toMatchObject([{ status: "held" }]);
  expect(bed.named).toEqual(isMoved ? [] : ["s2"]);
  // It did not come back.
  await bed.clock.advance(5_000);
  expect(bed.named).toEqual(["s2"]);
});
