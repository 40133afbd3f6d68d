/** Resolves when `waited` has, or after `ms`; leaves no timer that would keep the process. Rejects as `waited` does. */
export async function within(ms: number, waited: Promise<unknown>): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, ms);
  try {
    await Promise.race([waited, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
