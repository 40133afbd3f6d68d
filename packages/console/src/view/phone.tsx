import type { VNode } from "preact";

import type { Person } from "../cast.ts";
import type { Line, Move, Scene } from "../scene.ts";
import { lastOf } from "../scene.ts";
import type { DeviceView } from "../stage.ts";
import type { Place } from "./stage.tsx";

/** Lines that there is room for. */
const SHOWN = 4;

interface PhoneProps {
  readonly scene: Scene;
  readonly person: Person;
  readonly place: Place | undefined;
  readonly move: Move;
  readonly onDraft: (draft: string) => void;
  readonly onSend: () => void;
  readonly onTap: () => void;
}

export function PhoneCard(props: PhoneProps): VNode | null {
  const { scene, person, place, move } = props;
  if (place === undefined) return null;
  const phone = scene.phones[person];
  const isAsleep = phone.state === undefined;
  return (
    <div
      id={`phone-${person}`}
      class={`phone ${isAsleep ? "asleep" : phone.state}`}
      data-lane={place.lane}
      style={{ "--lane": place.lane, "--slot": place.slot }}
      role="group"
      aria-label={`${NAMES[person]}’s phone`}
    >
      <p class="who">
        <b>{NAMES[person]}</b>
        <small>
          {isAsleep ? `asleep${wasOn(lastOf(scene, person))}` : where(phone.state, phone.server)}
        </small>
      </p>
      {isAsleep ? (
        <LockScreen {...props} isNotified={phone.notified} />
      ) : (
        <Talk {...props} lines={phone.lines} />
      )}
      {!isAsleep && !flies(scene) && (person === "ann" || person === "bob") ? (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            props.onSend();
          }}
        >
          <input
            value={phone.draft}
            aria-label={`${NAMES[person]} writes`}
            placeholder="Write"
            maxLength={200}
            onInput={({ currentTarget }) => props.onDraft(currentTarget.value)}
          />
          <button
            type="submit"
            class={person === "ann" && move === "send" ? "glow" : ""}
            disabled={phone.draft.trim() === "" || (scene.busy && scene.step === "asleep")}
            aria-label={`Send ${NAMES[person]}’s message`}
          >
            Send
          </button>
        </form>
      ) : null}
    </div>
  );
}

/** Everybody writes while a server is killed. */
const flies = ({ step, storm }: Scene): boolean => step === "kill" && storm !== undefined;

/** What was said; while a server is being killed, how much. */
function Talk(props: PhoneProps & { readonly lines: readonly Line[] }): VNode {
  const { scene, person } = props;
  if (!flies(scene) || scene.storm === undefined) return <Chat {...props} />;
  const { sent, received } = scene.storm;
  return (
    <p class="flurry">
      <b>{sent[person]}</b> sent
      <b>{received[person]}</b> received
    </p>
  );
}

function LockScreen({
  person,
  move,
  onTap,
  isNotified,
}: PhoneProps & { readonly isNotified: boolean }): VNode {
  return (
    <div class="lock">
      {isNotified ? (
        <button
          type="button"
          class={`notification ${move === "tap" ? "glow" : ""}`}
          onClick={onTap}
        >
          <b>Ann</b> wrote to you
          <small>Tap to open</small>
        </button>
      ) : (
        <span class="moon" aria-hidden="true">
          {person === "bob" ? "☾" : ""}
        </span>
      )}
    </div>
  );
}

function Chat({ lines, person }: PhoneProps & { readonly lines: readonly Line[] }): VNode {
  return (
    <ol class="chat" aria-label={`${NAMES[person]}’s messages`} aria-live="polite">
      {lines.length === 0 ? <li class="quiet-yet">no messages yet</li> : null}
      {lines.slice(-SHOWN).map((line, i) => (
        <li key={line.id ?? i} class={line.own ? "own" : "other"}>
          {line.text}
          {line.own ? (
            <span
              class={`ticks t${line.ticks}`}
              title={TICKS[line.ticks]}
              aria-label={TICKS[line.ticks]}
            >
              {["…", "✓", "✓✓"][line.ticks]}
            </span>
          ) : null}
        </li>
      ))}
    </ol>
  );
}

/** Chips that there is room for in a lane. */
const CHIPS = 4;

/** Devices that are no phones of the page's: `beckon device`, or an application. */
export function Guests({ devices }: { readonly devices: readonly DeviceView[] }): VNode | null {
  if (devices.length === 0) return null;
  const here = devices.filter(({ server }) => server !== undefined);
  const all = [...here, ...devices.filter(({ server }) => server === undefined)];
  return (
    <ul class="guests" aria-label="Devices that run elsewhere">
      {all.slice(0, CHIPS).map(({ user, device, server }) => (
        <li
          key={`${user} ${device}`}
          role="group"
          aria-label={`${user}’s device`}
          class={server === undefined ? "away" : ""}
          title={`${user}, device ${device}: ${server === undefined ? "away" : `on ${server}`}`}
        >
          {user}
          {server === undefined ? <small> away</small> : null}
        </li>
      ))}
      {all.length > CHIPS ? <li class="away">+{all.length - CHIPS}</li> : null}
    </ul>
  );
}

const NAMES: Readonly<Record<Person, string>> = { ann: "Ann", bob: "Bob", cat: "Cat", dan: "Dan" };
const TICKS = ["on its way", "safe", "delivered"] as const;

const wasOn = (last: string | undefined): string => (last === undefined ? "" : `, was on ${last}`);

function where(state: string | undefined, server: string | undefined): string {
  if (state === "connected") return `on ${server}`;
  return state === "waiting" ? "looking for a server" : `${state} …`;
}
