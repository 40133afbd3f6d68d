/** What somebody who has just typed `npm start` needs: where to look, what to type, where the code is, who is where. */
import type { Stage as StageView } from "@beckon/console/stage";

import type { Paint } from "./paint.ts";
import type { Taken } from "./ports.ts";

export interface BannerParts {
  readonly url: string;
  readonly view: StageView;
  /** Of the demo's phones. */
  readonly users: readonly string[];
  readonly taken: readonly Taken[];
  readonly paint: Paint;
}

const USUAL_PORT = "4680";

export function banner({ url, view, users, taken, paint }: BannerParts): string {
  const dev = new URL(url).port === USUAL_PORT ? "" : ` --dev ${url}`;
  const lines = [
    "",
    `Beckon: ${view.servers.length} servers on this machine`,
    "",
    ...(taken.length === 0 ? [] : [passedOver(taken), ""]),
    `  look   ${paint.bold(url)}`,
    `  type   npx beckon device eve${dev}   (a fifth phone, in another terminal)`,
    "  read   docs/architecture.md, packages/server/src/delivery/delivery.ts",
    "",
    ...view.servers.map(({ name, url, admin }) => {
      const here = view.devices.filter(({ server }) => server === name).map(({ user }) => user);
      return `  ${paint.server(name)}     ${url}  admin ${admin}  ${here.toSorted().join(", ") || "nobody"}`;
    }),
    ...view.devices
      .filter(({ user, server }) => server === undefined && users.includes(user))
      .map(
        ({ user, last }) => `  ${user} is asleep, and was last on ${paint.server(last ?? "none")}`,
      ),
    "",
    "Ctrl-C ends it. What happens:",
    "",
  ];
  return `${lines.join("\n")}\n`;
}

function passedOver(taken: readonly Taken[]): string {
  const ports = taken.map(({ wanted, got }) => `${got} instead of ${wanted}`);
  return `  Another program has ports that were wanted here: ${ports.join(", ")}.`;
}
