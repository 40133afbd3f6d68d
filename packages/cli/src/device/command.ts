/** What somebody has typed. */
export type Command =
  | { readonly kind: "send"; readonly to: string; readonly text: string }
  | { readonly kind: "sleep" | "wake" | "where" | "help" | "nothing" }
  | { readonly kind: "quit" }
  | { readonly kind: "wrong"; readonly why: string };

const KINDS = ["sleep", "wake", "where", "help", "quit"] as const;

/** `last`: to whom the message before was; undefined: there was none. */
export function readCommand(line: string, last: string | undefined): Command {
  const text = line.trim();
  if (text === "") return { kind: "nothing" };
  if (text.startsWith("/")) {
    const kind = KINDS.find((name) => text === `/${name}`);
    return kind === undefined
      ? {
          kind: "wrong",
          why: `${text} is not known; there are ${KINDS.map((k) => `/${k}`).join(" ")}`,
        }
      : { kind };
  }
  if (/^[^\s:]*:$/.test(text)) return { kind: "wrong", why: "what? Write it after the colon" };
  // A name has no space; "see: this" after the first message is one more text to the same user.
  const [, to, said] = /^([^\s:]{1,128}):\s+(.+)$/s.exec(text) ?? [];
  if (to !== undefined && said !== undefined) return { kind: "send", to, text: said };
  if (last !== undefined) return { kind: "send", to: last, text };
  return { kind: "wrong", why: "to whom? Write a name and a colon first, as in bob: hello" };
}

export const HELP = `bob: hello   sends to bob; later lines without a name go to the same user
/sleep       closes the application; pushes are still heard
/wake        opens it, with the push if there is one
/where       where this device is
/quit        ends`;
