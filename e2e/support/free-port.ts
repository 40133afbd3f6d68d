/** Below what the system gives to those who do not ask for one: so it stays free while a server that is to have it again is down. */
const FIRST = 12_000;
const LAST = 32_000;

let next = FIRST + Math.floor(Math.random() * (LAST - FIRST));

/** A port of loopback that nobody listens at. */
export function freePort(): number {
  for (;;) {
    next = next < LAST ? next + 1 : FIRST;
    try {
      Bun.listen({ hostname: "127.0.0.1", port: next, socket: { data() {} } }).stop(true);
      return next;
    } catch {
      // Taken.
    }
  }
}
