import { expect, test } from "bun:test";

import { Counters } from "../delivery/counters.ts";
import { createMetrics } from "../lib/metrics.ts";
import { exposeNode } from "./node-metrics.ts";

const MINUTE_MS = 60_000;

test("B4: what a server counted, as it stands at the scrape", async () => {
  const metrics = createMetrics();
  let now = 0;
  const counters = new Counters("eu-1", ["dev"], () => now);
  exposeNode(metrics, {
    name: "eu-1",
    counters,
    circles: { associates: { users: 70, waiting: 6 }, lost: 4, unread: 3 },
    placement: {
      redirects: { hint: 0, attraction: 5 },
      unreached: 2,
      moves: 9,
      declined: 8,
      moved: 7,
    },
    connections: () => 12,
    servers: () => 3,
    draining: () => true,
    replicationLag: () => 1_500,
    open: () => 1,
    unsaved: () => 2,
    bus: () => true,
    store: () => false,
    trusted: () => true,
    certificateExpires: () => 1_800_000_000_000,
    snapshots: () => 2,
  });
  counters.delivered(true);
  counters.delivered(true);
  counters.delivered(false);
  counters.answered("held");
  counters.refused("forbidden");
  counters.pushed("dev", "message", "sent");
  // What devices register names no series of its own.
  for (const provider of ["a", "b"]) counters.pushed(provider, "call", "impossible");
  counters.coalesced += 3;
  counters.spurious++;
  counters.dispatched(8);
  counters.pushAnswered("dev", 300);
  counters.arrived({ since: 4_000, named: "eu-1", underWay: false }, "");
  counters.arrived({ since: 50_000, named: "eu-2", underWay: false }, "eu-1");
  counters.arrived({ since: 90_000, named: "", underWay: true }, "");
  counters.failed("replaced");
  const text = await metrics.render();
  for (const line of [
    'beckon_server_info{server="eu-1"} 1',
    'beckon_deliveries_total{via="live",route="local"} 2',
    'beckon_deliveries_total{via="live",route="remote"} 1',
    'beckon_deliveries_total{via="store",route="local"} 0',
    'beckon_acks_total{status="held"} 1',
    'beckon_refusals_total{code="forbidden"} 1',
    'beckon_connection_errors_total{code="replaced"} 1',
    'beckon_pushes_total{provider="dev",class="message",outcome="sent"} 1',
    'beckon_pushes_total{provider="unknown",class="call",outcome="impossible"} 2',
    "beckon_wakes_coalesced_total 3",
    "beckon_wakes_spurious_total 1",
    'beckon_wakes_connected_total{at="named"} 1',
    'beckon_wakes_connected_total{at="elsewhere"} 1',
    'beckon_wakes_connected_total{at="none"} 1',
    'beckon_wake_dispatch_seconds_bucket{le="0.01"} 1',
    'beckon_push_answer_seconds_count{provider="dev"} 1',
    'beckon_wake_connect_seconds_bucket{le="5"} 1',
    "beckon_held_delivery_seconds_count 0",
    'beckon_redirects_total{why="attraction"} 5',
    "beckon_redirects_unreached_total 2",
    "beckon_moves_total 9",
    "beckon_moves_declined_total 8",
    "beckon_moves_arrived_total 7",
    "beckon_associates_users 70",
    "beckon_tie_changes_waiting 6",
    "beckon_tie_changes_lost_total 4",
    "beckon_circles_unread_total 3",
    "beckon_connections 12",
    "beckon_servers 3",
    "beckon_table_snapshots_total 2",
    "beckon_table_trusted 1",
    "beckon_tls_certificate_expiry_timestamp_seconds 1800000000",
    "beckon_draining 1",
    "beckon_replication_lag_seconds 1.5",
  ]) {
    expect(text).toContain(`${line}\n`);
  }
  expect(metrics.read("beckon_locality_ratio", { window: "5m" })).toBe(2 / 3);
  now += 30 * MINUTE_MS;
  counters.delivered(true);
  expect(metrics.read("beckon_deliveries_total", { via: "live", route: "local" })).toBe(3);
  expect(metrics.read("beckon_locality_ratio", { window: "5m" })).toBe(1);
  expect(metrics.read("beckon_locality_ratio", { window: "1h" })).toBe(3 / 4);
  now += 61 * MINUTE_MS;
  expect(await metrics.render()).not.toContain("beckon_locality_ratio{");
});
