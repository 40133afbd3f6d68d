/** How this very program is started again: as one executable it is its own runtime. */
export function ownCommand(): string[] {
  const isExecutable = Bun.main.startsWith("/$bunfs/") || Bun.main.includes("~BUN");
  return isExecutable ? [process.execPath] : [process.execPath, Bun.main];
}
