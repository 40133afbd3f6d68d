/**
 * The server whose wakes are measured, as `beckon.ts`, but that it pushes, and that it knows devices that are asleep: they registered and
 * never connected. `wake-server.ts PUSH SLEEPERS [POSTGRES]`: the port of the push service, devices of each kind, and where the database is.
 */
import { devHttpProvider } from "../../packages/server/src/push/dev-http.ts";
import { openPostgres } from "../../packages/server/src/store/postgres.ts";
import { openSqlite } from "../../packages/server/src/store/sqlite.ts";
import { SLEEPERS } from "./load/task.ts";
import { runMeasured, storePath } from "./measured.ts";

/** Devices that are registered at once. */
const AT_ONCE = 500;

const [push = "", sleepers = "", postgres] = process.argv.slice(2);

const store = postgres === undefined ? await openSqlite(storePath()) : await openPostgres(postgres);

for (const kind of SLEEPERS) {
  for (let first = 0; first < Number(sleepers); first += AT_ONCE) {
    const count = Math.min(AT_ONCE, Number(sleepers) - first);
    await Promise.all(
      Array.from({ length: count }, (_, at) => {
        const user = `${kind}-${first + at}`;
        const key = { id: 1, key: crypto.getRandomValues(new Uint8Array(32)) };
        return store.devices.register(user, "phone", ["ws"], { provider: "dev", token: user, key });
      }),
    );
  }
}

const providers = [devHttpProvider(new URL(`http://127.0.0.1:${push}`), fetch)];
await runMeasured({ store, providers });
