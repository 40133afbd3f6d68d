import type { VNode } from "preact";

import type { Push } from "../scene.ts";

const BYTES_SHOWN = 120;

/** The push, as those see it who carry it, and as the phone does. */
export function PushOpened({ push }: { readonly push: Push }): VNode {
  return (
    <figure class="opened">
      <figcaption>The push, opened</figcaption>
      <h3>What the push service sees</h3>
      <code class="sealed">
        {push.sealed.slice(0, BYTES_SHOWN)}… <small>{push.sealed.length} bytes, sealed</small>
      </code>
      <h3>What Bob’s phone reads</h3>
      <code id="reads" class="reads">
        dial {push.names}
      </code>
    </figure>
  );
}
