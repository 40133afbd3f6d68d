/** All that the page shows, and how it changes: one value, and one pure function of what happened. */
import { PEOPLE, type Person } from "./cast.ts";
import type { StageEvent, Stage, WakePolicy } from "./stage.ts";

/** The six steps, in order. */
export const STEPS = ["asleep", "send", "tap", "switch", "kill", "app"] as const;
export type Step = (typeof STEPS)[number];

export interface Line {
  readonly id: string | undefined;
  readonly own: boolean;
  readonly text: string;
  /** 0: on its way; 1: safe; 2: the recipient's device has it. */
  readonly ticks: 0 | 1 | 2;
}

export interface PhoneScene {
  /** What the SDK says; undefined: the phone sleeps. */
  readonly state: "connecting" | "connected" | "waiting" | "closed" | undefined;
  readonly server: string | undefined;
  /** A push lies on the lock screen. */
  readonly notified: boolean;
  readonly lines: readonly Line[];
  readonly draft: string;
}

/** This browser, which can be a phone itself. */
export interface BrowserScene {
  /** What the SDK says; undefined: it is none; "asking": its push service has not answered yet. */
  readonly state: PhoneScene["state"] | "asking";
  readonly server: string | undefined;
  readonly lines: readonly Line[];
  /** Why it can be none. */
  readonly problem: string | undefined;
}

/** A push, as the push service sees it and as the phone reads it. */
export interface Push {
  readonly sealed: string;
  readonly names: string;
}

/** What happened to the message of the scene and to its answer. */
export interface Facts {
  readonly held?: { readonly server: string; readonly ms: number };
  readonly push?: Push;
  readonly woke?: { readonly server: string; readonly ms: number };
  readonly answer?: { readonly ms: number; readonly route: string; readonly stored: boolean };
}

/** A server was killed while messages were flying. */
export interface Storm {
  readonly server: string;
  /** Messages that each has sent, and been handed. */
  readonly sent: Readonly<Record<Person, number>>;
  readonly received: Readonly<Record<Person, number>>;
  /** Messages that were acknowledged to their senders, and those that were handed over. */
  readonly acknowledged: number;
  readonly handedOver: number;
  /** From the kill until the last of its phones was connected elsewhere. */
  readonly backMs: number | undefined;
  readonly state: "before" | "running" | "done";
}

export interface Trouble {
  readonly server: string;
  readonly text: string;
}

export interface Scene {
  /** Whether the process behind the page answers. */
  readonly linked: boolean;
  /** Another page has the phones. */
  readonly taken: boolean;
  readonly stage: Stage | undefined;
  readonly phones: Readonly<Record<Person, PhoneScene>>;
  readonly browser: BrowserScene;
  readonly step: Step;
  /** A script is running: what it does next is not for a click. */
  readonly busy: boolean;
  readonly facts: Facts;
  readonly storm: Storm | undefined;
  readonly trouble: Trouble | undefined;
  /** Of the fifth phone. */
  readonly token: string;
}

export type Change =
  | { readonly type: "event"; readonly event: StageEvent }
  | { readonly type: "linked"; readonly linked: boolean }
  | { readonly type: "phone"; readonly person: Person; readonly phone: Partial<PhoneScene> }
  | { readonly type: "browser"; readonly browser: Partial<Omit<BrowserScene, "lines">> }
  | { readonly type: "browser-line"; readonly line: Line }
  | { readonly type: "line"; readonly person: Person; readonly line: Line }
  /** The line of `person` that had no id has one now, or has more ticks. */
  | {
      readonly type: "acknowledged";
      readonly person: Person;
      readonly text: string;
      readonly id: string;
      readonly ticks: 1 | 2;
    }
  | { readonly type: "facts"; readonly facts: Facts }
  | { readonly type: "step"; readonly step: Step }
  | { readonly type: "busy"; readonly busy: boolean }
  | { readonly type: "storm"; readonly storm: Storm | undefined }
  | { readonly type: "token"; readonly token: string }
  | { readonly type: "again" };

/** Lines that a phone keeps; it shows fewer. */
const LINES = 20;
/** Devices that are shown: the demo's and some more. */
const DEVICES = 32;

const SLEEPING: PhoneScene = {
  state: undefined,
  server: undefined,
  notified: false,
  lines: [],
  draft: "",
};

const NO_PHONE: BrowserScene = {
  state: undefined,
  server: undefined,
  lines: [],
  problem: undefined,
};

export const FIRST_DRAFT = "Lunch at one?";

function phones(): Record<Person, PhoneScene> {
  const all = { ann: SLEEPING, bob: SLEEPING, cat: SLEEPING, dan: SLEEPING };
  return { ...all, ann: { ...SLEEPING, draft: FIRST_DRAFT } };
}

export function firstScene(): Scene {
  return {
    linked: false,
    taken: false,
    stage: undefined,
    phones: phones(),
    browser: NO_PHONE,
    step: "asleep",
    busy: true,
    facts: {},
    storm: undefined,
    trouble: undefined,
    token: "",
  };
}

export function next(scene: Scene, change: Change): Scene {
  switch (change.type) {
    case "event":
      return told(scene, change.event);
    case "linked":
      return { ...scene, linked: change.linked };
    case "phone":
      return withPhone(scene, change.person, (phone) => ({ ...phone, ...change.phone }));
    case "browser":
      return { ...scene, browser: { ...scene.browser, ...change.browser } };
    case "browser-line": {
      const lines = [...scene.browser.lines, change.line].slice(-LINES);
      return { ...scene, browser: { ...scene.browser, lines } };
    }
    case "line":
      return withPhone(scene, change.person, (phone) => ({
        ...phone,
        lines: [...phone.lines, change.line].slice(-LINES),
      }));
    case "acknowledged":
      return withPhone(scene, change.person, (phone) => ({
        ...phone,
        lines: acknowledge(phone.lines, change.text, change.id, change.ticks),
      }));
    case "facts":
      return { ...scene, facts: { ...scene.facts, ...change.facts } };
    case "step":
      return { ...scene, step: change.step };
    case "busy":
      return { ...scene, busy: change.busy };
    case "storm":
      return { ...scene, storm: change.storm };
    case "token":
      return { ...scene, token: change.token };
    default:
      // "again"
      return {
        ...firstScene(),
        linked: scene.linked,
        stage: scene.stage,
        token: scene.token,
        browser: scene.browser,
      };
  }
}

function withPhone(scene: Scene, person: Person, to: (phone: PhoneScene) => PhoneScene): Scene {
  return { ...scene, phones: { ...scene.phones, [person]: to(scene.phones[person]) } };
}

/** The oldest line of that text that is not known by an id yet. */
function acknowledge(
  lines: readonly Line[],
  text: string,
  id: string,
  ticks: 1 | 2,
): readonly Line[] {
  const at = lines.findIndex((line) => line.own && line.id === undefined && line.text === text);
  return lines.map((line, i) => (i === at ? { ...line, id, ticks } : line));
}

function told(scene: Scene, event: StageEvent): Scene {
  if (event.type === "stage") {
    const { type: _, ...stage } = event;
    return { ...scene, stage, linked: true, taken: false };
  }
  if (event.type === "phones-taken") return { ...scene, taken: true };
  const { stage } = scene;
  if (stage === undefined) return scene;
  switch (event.type) {
    case "servers":
      return { ...scene, stage: { ...stage, servers: event.servers } };
    case "device": {
      const { type: _, ...device } = event;
      const others = stage.devices.filter(
        (other) => other.device !== device.device || other.user !== device.user,
      );
      return { ...scene, stage: { ...stage, devices: [...others, device].slice(-DEVICES) } };
    }
    case "held":
      if (event.from !== "ann" || event.to !== "bob") return scene;
      return { ...scene, facts: { ...scene.facts, held: { server: event.server, ms: event.ms } } };
    case "pushed":
      return scene;
    case "delivered":
      return delivered(scene, event.from, event.id);
    case "wakes":
      return { ...scene, stage: { ...stage, wakes: event.wakes } };
    case "faults":
      return {
        ...scene,
        stage: { ...stage, faults: event.faults },
        trouble: event.faults.length === 0 ? undefined : scene.trouble,
      };
    case "trouble":
      return { ...scene, trouble: { server: event.server, text: event.text } };
    case "recovered":
      return scene.trouble?.server === event.server ? { ...scene, trouble: undefined } : scene;
    default: {
      const { type: _, ...day } = event;
      return { ...scene, stage: { ...stage, day } };
    }
  }
}

/** The recipient's device has it: two ticks. */
function delivered(scene: Scene, from: string, id: string): Scene {
  const person = PEOPLE.find((one) => one === from);
  if (person === undefined) return scene;
  return withPhone(scene, person, (phone) => ({
    ...phone,
    lines: phone.lines.map((line) => (line.id === id ? { ...line, ticks: 2 } : line)),
  }));
}

/** Where a phone stands: at its server, or where it was last. */
export function standsAt(scene: Scene, person: Person): string | undefined {
  const phone = scene.phones[person];
  return phone.server ?? lastOf(scene, person);
}

/** By the servers' table: where the person's phone was connected last. */
export function lastOf(scene: Scene, person: Person): string | undefined {
  return scene.stage?.devices.find(
    ({ user, device }) => user === person && device === `${person}-phone`,
  )?.last;
}

/** Deliveries that have crossed servers, by the servers' own counters. */
export function crossed(scene: Scene): number {
  return sum(scene, ({ remote }) => remote);
}

export function stayed(scene: Scene): number {
  return sum(scene, ({ local }) => local);
}

function sum(scene: Scene, of: (server: Stage["servers"][number]) => number): number {
  return (scene.stage?.servers ?? []).reduce((total, server) => total + of(server), 0);
}

export function wakesOf(scene: Scene): WakePolicy {
  return scene.stage?.wakes ?? "sender";
}

/** What is to be clicked next; all else can be clicked, and does not glow. */
export type Move = "send" | "tap" | "next" | "switch" | "day" | "kill" | undefined;

export function nextMove(scene: Scene): Move {
  if (scene.busy || !scene.linked || scene.taken) return undefined;
  switch (scene.step) {
    case "asleep":
      return "send";
    case "send":
      return scene.phones.bob.notified ? "tap" : undefined;
    case "tap":
      return scene.facts.answer === undefined ? undefined : "next";
    case "switch": {
      if (wakesOf(scene) === "sender" && scene.facts.woke === undefined) return "switch";
      const day = scene.stage?.day?.state;
      if (day === "running") return undefined;
      return day === undefined ? "day" : "next";
    }
    case "kill":
      if (scene.storm?.state === "done") return "next";
      return scene.storm === undefined ? "kill" : undefined;
    default:
      return undefined;
  }
}
