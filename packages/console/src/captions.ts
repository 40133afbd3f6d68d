/** What the page says at each step: of what happened, in the servers' and the SDK's own figures. */
import { crossed, lastOf, type Scene, standsAt, type Step, stayed, wakesOf } from "./scene.ts";

export const TITLES: Readonly<Record<Step, string>> = {
  asleep: "Bob is asleep",
  send: "The push names the sender’s server",
  tap: "He wakes where Ann is",
  switch: "Now without it",
  kill: "Kill a server",
  app: "Put it in my app",
};

/** One sentence a line. */
export function caption(scene: Scene): readonly string[] {
  if (!scene.linked)
    return ["The servers do not answer. Is `npm start` still running in its terminal?"];
  if (scene.taken) return ["One page has the phones at a time, and they are on another page now."];
  const { trouble } = scene;
  return [...SAY[scene.step](scene), ...(trouble === undefined ? [] : [`But ${trouble.text}.`])];
}

export function title(scene: Scene): string {
  return scene.taken ? "The phones are on another page" : TITLES[scene.step];
}

const SAY: Readonly<Record<Step, (scene: Scene) => readonly string[]>> = {
  asleep(scene) {
    const last = lastOf(scene, "bob");
    const ann = standsAt(scene, "ann");
    if (last === undefined || ann === undefined)
      return ["The phones are being put in their places …"];
    return [
      `Bob is asleep. He was last on ${last}. Ann is on ${ann}.`,
      "Each phone is the real SDK over its own WebSocket; each lane is a real server.",
      "Ann has typed a message. Send it.",
    ];
  },
  send(scene) {
    const { held, push } = scene.facts;
    if (held === undefined) return ["Ann’s message is on its way …"];
    const first = `Nobody’s phone has it, so ${held.server} stored it (held, ${ms(held.ms)}) and only then said so to Ann.`;
    if (push === undefined) return [first];
    return [
      first,
      `The push to Bob’s phone names ${push.names}: where Ann is, not where Bob was.`,
      "Tap the notification.",
    ];
  },
  tap(scene) {
    const { woke, answer } = scene.facts;
    if (woke === undefined) return ["Bob’s phone is waking …"];
    const first = `Bob woke at ${woke.server}, ${ms(woke.ms)} after the tap, and the message was there.`;
    if (answer === undefined) return [first];
    return [
      first,
      answered(answer),
      "From here on the two are neighbours, until one of them moves.",
    ];
  },
  switch(scene) {
    const { woke, push, answer } = scene.facts;
    if (wakesOf(scene) === "sender" && woke === undefined) {
      return [
        "Everybody else sends a waking phone wherever a load balancer likes.",
        "Turn the switch off, and see the same scene that way.",
      ];
    }
    const lines: string[] = [];
    if (push !== undefined) {
      lines.push(
        wakesOf(scene) === "balanced"
          ? `The push names ${push.names}, the emptiest server. Ann is on ${standsAt(scene, "ann")}.`
          : `The push names ${push.names}, where Ann is.`,
      );
    }
    if (woke !== undefined) lines.push(`Bob woke at ${woke.server}.`);
    if (answer !== undefined) lines.push(answered(answer));
    if (woke !== undefined)
      lines.push(
        `Since the servers started, ${crossed(scene)} deliveries crossed, ${stayed(scene)} stayed.`,
      );
    return lines.length === 0 ? ["Bob has gone to sleep again, and Ann writes to him …"] : lines;
  },
  kill(scene) {
    const { storm } = scene;
    if (storm === undefined) {
      const server = standsAt(scene, "ann") ?? "s1";
      return [
        `Everybody starts to write, and ${server} is killed: sockets reset, no last word to anybody.`,
        "What is on its way waits in the phones’ outboxes, and goes out at the next server.",
      ];
    }
    const counted = `Acknowledged ${storm.acknowledged}, lost ${Math.max(0, storm.acknowledged - storm.handedOver)}.`;
    if (storm.state === "before") return ["Messages are flying …", counted];
    if (storm.backMs === undefined)
      return [`${storm.server} is dead. Its phones look for another …`, counted];
    const back = `${storm.server} is dead. Its phones were back after ${ms(storm.backMs)}.`;
    return storm.state === "running"
      ? [back, counted]
      : [back, counted, "It starts again by itself."];
  },
  app: () => [
    "These lines are a whole app. Run them here, or paste them into yours: the server and the token work.",
    "The new device appears in a lane, under its own name.",
  ],
};

function answered({
  ms: took,
  route,
  stored,
}: {
  ms: number;
  route: string;
  stored: boolean;
}): string {
  if (stored) return `His answer took ${ms(took)}, over the disk.`;
  return route === "local"
    ? `His answer never left the lane: ${ms(took)}, no disk, no hop.`
    : `His answer crossed to the other server: ${ms(took)}, one hop.`;
}

/** Milliseconds as people say them. */
export function ms(value: number): string {
  if (value >= 1_000) return `${(value / 1_000).toFixed(1)} s`;
  return value >= 10 ? `${Math.round(value)} ms` : `${Math.max(0.1, value).toFixed(1)} ms`;
}
