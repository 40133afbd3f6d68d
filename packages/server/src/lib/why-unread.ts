/** Why a file could not be read, in words for who has named it. */
export function whyUnread(error: unknown): string {
  const { code } = error as { code?: string };
  const reasons: Readonly<Record<string, string>> = {
    ENOENT: "there is no such file",
    EACCES: "may not be read",
    EISDIR: "is a folder",
  };
  return reasons[code ?? ""] ?? `cannot be read (${code ?? "unknown"})`;
}
