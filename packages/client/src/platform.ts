/** What the runtime tells of the network and of the page, where it tells anything. */
export interface PlatformHandler {
  /** The network is back, or the page is seen again: what was thought of the connection may be wrong. */
  stirred(): void;
  hidden(hidden: boolean): void;
}

interface Target {
  addEventListener?(type: string, listener: () => void): void;
  removeEventListener?(type: string, listener: () => void): void;
}

interface Globals extends Target {
  readonly document?: Target & { readonly visibilityState?: string };
}

/** The answer ends the listening. */
export function listen(handler: PlatformHandler): () => void {
  const globals = globalThis as unknown as Globals;
  const { document } = globals;
  const online = (): void => handler.stirred();
  const seen = (): void => {
    const isHidden = document?.visibilityState === "hidden";
    handler.hidden(isHidden);
    if (!isHidden) handler.stirred();
  };
  globals.addEventListener?.("online", online);
  document?.addEventListener?.("visibilitychange", seen);
  if (document?.visibilityState === "hidden") handler.hidden(true);
  return () => {
    globals.removeEventListener?.("online", online);
    document?.removeEventListener?.("visibilitychange", seen);
  };
}
