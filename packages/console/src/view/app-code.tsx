import type { VNode } from "preact";
import { useState } from "preact/hooks";

/* oxlint-disable import/default -- the text of the file, so that what is shown is what runs */
// @ts-expect-error -- not the module, as the compiler believes
import text from "../chat.ts" with { type: "text" };
import type { Scene } from "../scene.ts";

/** The lines of an application, with this system's addresses. */
export function AppCode({ scene }: { readonly scene: Scene }): VNode {
  const server = scene.stage?.servers.find(({ state }) => state === "up")?.url ?? "";
  const code = outside(text as string, server);
  return (
    <figure class="code">
      <figcaption>
        <a
          class="button"
          href={`/chat?${new URLSearchParams({ user: "eve", server })}`}
          target="_blank"
        >
          Run it as Eve
        </a>
        <Copy text={code} what="the lines" />
      </figcaption>
      <pre tabIndex={0}>
        <code id="code">{code}</code>
      </pre>
      <p>
        Or in a terminal: <code>npx beckon device eve</code>
      </p>
      <p class="token">
        A token for Eve: <code class="sealed">{scene.token}</code>
        <Copy text={scene.token} what="the token" />
      </p>
    </figure>
  );
}

const SAID_MS = 2_000;

function Copy({ text, what }: { readonly text: string; readonly what: string }): VNode {
  const [said, say] = useState<string>();
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      say("Copied");
    } catch {
      say("Not allowed here");
    }
    setTimeout(() => say(undefined), SAID_MS);
  };
  return (
    <button type="button" class="quiet" aria-label={`Copy ${what}`} onClick={() => void copy()}>
      {said ?? "Copy"}
    </button>
  );
}

/** The file as it is, but for what this page says in its query: so that it holds in another page, too. */
function outside(source: string, server: string): string {
  return source
    .replace(/^const \{ user = .*$/m, `const user = "eve";`)
    .replace("servers: [server]", () => `servers: [${JSON.stringify(server)}]`)
    .replace("`/dev/token", () => `\`${location.origin}/dev/token`);
}
