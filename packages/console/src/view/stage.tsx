import type { VNode } from "preact";

import { PEOPLE, type Person } from "../cast.ts";
import { type Change, nextMove, type Scene, standsAt } from "../scene.ts";
import type { DeviceView, ServerView } from "../stage.ts";
import type { ViewProps } from "./app.tsx";
import { Guests, PhoneCard } from "./phone.tsx";

/** Three lanes, one a server, and the phones that stand in them. */
export function StageView(props: ViewProps & { readonly change: (change: Change) => void }): VNode {
  const { scene, director, change } = props;
  const servers = scene.stage?.servers ?? [];
  const places = place(scene);
  return (
    <section
      class="stage"
      aria-label="Servers and phones"
      style={{ "--lanes": servers.length || 3 }}
    >
      {servers.map((server, lane) => (
        <Lane
          key={server.name}
          server={server}
          lane={lane}
          guests={guests(scene).filter(({ server: at, last }) => (at ?? last) === server.name)}
        />
      ))}
      <Hop scene={scene} />
      {(scene.taken ? [] : PEOPLE).map((person) => (
        <PhoneCard
          key={person}
          scene={scene}
          person={person}
          place={places.get(person)}
          move={nextMove(scene)}
          onDraft={(draft) => change({ type: "phone", person, phone: { draft } })}
          onSend={() => director.send(person, scene.phones[person].draft)}
          onTap={() => director.tap()}
        />
      ))}
      <div id="motion" aria-hidden="true" />
    </section>
  );
}

/** What Ann and Bob say to each other crosses here, when they are on two servers. */
function Hop({ scene }: { readonly scene: Scene }): VNode | null {
  const names = (scene.stage?.servers ?? []).map(({ name }) => name);
  const lanes = (["ann", "bob"] as const).map((one) => names.indexOf(standsAt(scene, one) ?? ""));
  const [first, last] = [Math.min(...lanes), Math.max(...lanes)];
  const isWire = scene.facts.answer?.route === "remote" && first >= 0 && first < last;
  return isWire ? (
    <i class="hop" style={{ "--lane": first, "--hops": last - first }} title="one hop" />
  ) : null;
}

function Lane(props: {
  readonly server: ServerView;
  readonly lane: number;
  readonly guests: readonly DeviceView[];
}): VNode {
  const { server, lane, guests } = props;
  const { name, state, connections, local, remote, held } = server;
  return (
    <article
      class={`lane ${state}`}
      style={{ "--lane": lane }}
      data-lane={lane}
      aria-label={`Server ${name}`}
    >
      <i id={`server-${name}`} class="port" aria-hidden="true" />
      <h2>
        {name}
        <small>{state === "up" ? `${connections} connected` : "killed"}</small>
      </h2>
      <dl>
        <div title="Deliveries that never left this server">
          <dt>stayed</dt>
          <dd>{local}</dd>
        </div>
        <div title="Deliveries here of messages that another server had accepted, and the other way round">
          <dt>crossed</dt>
          <dd class={remote > 0 ? "crossed" : ""}>{remote}</dd>
        </div>
        <div id={`disk-${name}`} title="Messages stored because a phone was away">
          <dt class="disk">held</dt>
          <dd>{held}</dd>
        </div>
      </dl>
      <Guests devices={guests} />
    </article>
  );
}

/** A lane, and the how-manieth phone in it. */
export interface Place {
  readonly lane: number;
  readonly slot: number;
}

/** Phones keep their order within a lane, so that none moves that need not. */
function place(scene: Scene): ReadonlyMap<Person, Place> {
  const names = (scene.stage?.servers ?? []).map(({ name }) => name);
  const places = new Map<Person, Place>();
  if (names.length === 0) return places;
  const filled = names.map(() => 0);
  for (const person of PEOPLE) {
    const lane = Math.max(0, names.indexOf(standsAt(scene, person) ?? ""));
    places.set(person, { lane, slot: filled[lane]!++ });
  }
  return places;
}

/** Devices of others than the demo's people, as long as they are somewhere. */
function guests(scene: Scene): readonly DeviceView[] {
  return (scene.stage?.devices ?? []).filter(
    ({ user, device, last }) =>
      last !== undefined &&
      !PEOPLE.some((person) => user === person && device === `${person}-phone`),
  );
}
