/** Ends the load: what is measured after a fault says nothing. */
export function fail(reason: string): never {
  console.error(reason);
  process.exit(1);
}
