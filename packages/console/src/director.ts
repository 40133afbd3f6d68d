/** What happens on the page, and when: clicks in, phones and acts out; what it came to goes into the scene. */
import { createBrowserPhone, OWNER } from "./browser-phone.ts";
import { PEOPLE, type Person } from "./cast.ts";
import { type Crew, createCrew } from "./crew.ts";
import type { Link } from "./link.ts";
import type { Motion } from "./motion.ts";
import type { PhoneEvents } from "./phone.ts";
import { type Change, FIRST_DRAFT, type Scene, type Step, STEPS, standsAt } from "./scene.ts";
import type { Fault, StageEvent } from "./stage.ts";

export interface Director {
  /** What the process behind the page tells. */
  event(event: StageEvent): void;
  send(person: Person, text: string): void;
  tap(): void;
  go(step: Step): void;
  next(): void;
  again(): void;
  switchWakes(): void;
  day(): void;
  kill(server: string): void;
  /** This browser becomes a phone; */
  notify(): void;
  /** and is none any more. */
  deafen(): void;
  fault(fault: Fault): void;
  /** Ends all faults that are on. */
  mend(): void;
}

interface Parts {
  readonly link: Link;
  readonly motion: Motion;
  readonly scene: () => Scene;
  readonly change: (change: Change) => void;
  /** The data of the push whose notification has opened this page. */
  readonly opened: string | undefined;
}

const ANSWER = "Yes! Usual place?";
const ANSWER_AFTER_MS = 900;
/** While a server is killed, each phone writes this often, for so long before and after. */
const STORM_MS = 60;
const STORM_BEFORE_MS = 800;
const STORM_AFTER_MS = 2_600;
/** For the last of it to arrive. */
const STORM_SETTLES_MS = 15_000;
const POLL_MS = 20;
const WAIT_MS = 20_000;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export function createDirector({ link, motion, scene, change, opened }: Parts): Director {
  let crew: Crew | undefined;
  /** Messages of the storm that were handed over, while it lasts. */
  let received: Record<Person, number> | undefined;

  const browser = createBrowserPhone({
    // The last one first: none of the demo's phones begins there.
    servers: () =>
      scene()
        .stage!.servers.map(({ url }) => url)
        .toReversed(),
    applicationServerKey: () => scene().stage!.applicationServerKey,
    token: () => link.token(OWNER),
    events: {
      state: (state, server) =>
        change({ type: "browser", browser: { state, server, problem: undefined } }),
      message(message) {
        const text = `${message.from}: ${message.text()}`;
        const line = { id: message.id, own: false, text, ticks: 2 } as const;
        change({ type: "browser-line", line });
      },
      asking: () => change({ type: "browser", browser: { state: "asking", problem: undefined } }),
      problem: (problem) => change({ type: "browser", browser: { state: undefined, problem } }),
    },
  });
  if (opened !== undefined) browser.open(opened);
  let isFirst = true;

  function phoneEvents(person: Person): PhoneEvents {
    return {
      state(state, server) {
        change({ type: "phone", person, phone: { state, server } });
      },
      message(message) {
        const text = message.text();
        if (received !== undefined && text.startsWith("#")) {
          received[person]++;
          return;
        }
        const line = { id: message.id, own: false, text, ticks: 2 } as const;
        change({ type: "line", person, line });
      },
      pushed(sealed, names) {
        if (person !== "bob") return;
        void (async () => {
          await motion.settled();
          await motion.travel(
            [`server-${scene().facts.held?.server ?? names}`, "phone-bob"],
            "push",
          );
          change({ type: "facts", facts: { push: { sealed, names } } });
          change({ type: "phone", person, phone: { notified: true } });
        })();
      },
      woke(server, ms) {
        change({ type: "facts", facts: { woke: { server, ms } } });
        void link.act({ act: "report", report: { kind: "woke", user: person, server, ms } });
      },
    };
  }

  async function gather(): Promise<void> {
    change({ type: "busy", busy: true });
    received = undefined;
    await dismiss();
    const { servers } = scene().stage!;
    crew = await createCrew({
      servers: new Map(servers.map(({ name, url }) => [name, url])),
      token: (user) => link.token(user),
      listen: (token, handler) => link.listen(token, handler),
      events: phoneEvents,
    });
    await until(() => scene().phones.bob.state === undefined);
    change({ type: "busy", busy: false });
  }

  async function dismiss(): Promise<void> {
    const old = crew;
    crew = undefined;
    if (old !== undefined) await Promise.all(PEOPLE.map((person) => old[person].close()));
  }

  /** Shows it, sends it, and shows what became of it. */
  async function send(person: Person, to: Person, text: string): Promise<void> {
    const phone = crew?.[person];
    if (phone === undefined || text.trim() === "") return;
    change({ type: "phone", person, phone: { draft: "" } });
    change({ type: "line", person, line: { id: undefined, own: true, text, ticks: 0 } });
    const from = standsAt(scene(), person);
    const began = performance.now();
    const ack = await phone.send(to, text);
    const ms = performance.now() - began;
    const isHeld = ack.status === "held";
    change({ type: "acknowledged", person, text, id: ack.id, ticks: isHeld ? 1 : 2 });
    if (person === "bob") {
      change({ type: "facts", facts: { answer: { ms, route: ack.route, stored: isHeld } } });
    }
    const way = [`phone-${person}`, `server-${from}`];
    if (isHeld) {
      void motion.travel([...way, `disk-${ack.server}`], "message");
      return;
    }
    const there = standsAt(scene(), to);
    const hop = there === from ? [] : [`server-${there}`];
    void motion.travel([...way, ...hop, `phone-${to}`], hop.length === 0 ? "message" : "crossing");
  }

  /** Bob opens the application from the notification, gets the message and answers. */
  async function tap(): Promise<void> {
    change({ type: "phone", person: "bob", phone: { notified: false } });
    const before = scene().phones.bob.lines.length;
    crew?.bob.tap();
    await until(() => scene().phones.bob.lines.length > before && scene().facts.woke !== undefined);
    const { held, woke } = scene().facts;
    const accepted = held?.server;
    const at = woke?.server;
    const isHere = accepted === at;
    await motion.travel(
      [`disk-${accepted}`, ...(isHere ? [] : [`server-${at}`]), "phone-bob"],
      isHere ? "message" : "crossing",
    );
    await pause(ANSWER_AFTER_MS);
    await send("bob", "ann", ANSWER);
  }

  /** A script: nothing else glows while it runs. */
  function run(script: () => Promise<void>): void {
    if (scene().busy) return;
    change({ type: "busy", busy: true });
    script()
      .catch((error: unknown) => console.error(error))
      .finally(() => change({ type: "busy", busy: false }));
  }

  function go(step: Step): void {
    if (step === "asleep") {
      again();
      return;
    }
    change({ type: "step", step });
    if (step === "switch") change({ type: "facts", facts: NOTHING });
    if (step === "kill") change({ type: "storm", storm: undefined });
    if (step === "app") void link.token("eve").then((token) => change({ type: "token", token }));
  }

  function again(): void {
    if (scene().busy) return;
    change({ type: "again" });
    void link.act({ act: "wakes", wakes: "sender" }).then(gather);
  }

  /** The scene of the first three steps, from Bob's sleep to his answer, with nobody clicking. */
  async function replayScene(): Promise<void> {
    change({ type: "facts", facts: NOTHING });
    await crew?.bob.sleep();
    await pause(400);
    await send("ann", "bob", FIRST_DRAFT);
    await until(() => scene().phones.bob.notified);
    await pause(900);
    await tap();
  }

  async function killed(server: string): Promise<void> {
    const pairs: readonly (readonly [Person, Person])[] = [
      ["ann", "bob"],
      ["bob", "ann"],
      ["cat", "dan"],
      ["dan", "cat"],
    ];
    const handed = nobody();
    const sent = nobody();
    received = handed;
    let acknowledged = 0;
    let backMs: number | undefined;
    let isDead = false;
    const show = (state: "before" | "running" | "done"): void =>
      change({
        type: "storm",
        storm: {
          server,
          sent: { ...sent },
          received: { ...handed },
          acknowledged,
          handedOver: total(handed),
          backMs,
          state,
        },
      });
    for (const person of PEOPLE) crew?.[person].wake();
    await until(() => PEOPLE.every((person) => scene().phones[person].state === "connected"));
    const victims = PEOPLE.filter((person) => scene().phones[person].server === server);
    const writing = setInterval(() => {
      for (const [from, to] of pairs) {
        const text = `#${++sent[from]}`;
        void crew?.[from].send(to, text).then(
          () => acknowledged++,
          () => undefined,
        );
      }
      show(isDead ? "running" : "before");
    }, STORM_MS);
    try {
      await pause(STORM_BEFORE_MS);
      await link.act({ act: "kill", server });
      isDead = true;
      const began = performance.now();
      await until(() => victims.every((person) => isElsewhere(person, server)));
      backMs = performance.now() - began;
      await pause(Math.max(0, STORM_AFTER_MS - backMs));
    } finally {
      clearInterval(writing);
    }
    const settled = (): boolean => acknowledged === total(sent) && total(handed) >= acknowledged;
    await until(settled, STORM_SETTLES_MS, () => show("running"));
    show("done");
    received = undefined;
  }

  function isElsewhere(person: Person, server: string): boolean {
    const phone = scene().phones[person];
    return phone.state === "connected" && phone.server !== server;
  }

  return {
    event(event) {
      if (event.type === "stage") {
        // The process was away, and has taken the phones back or is another one: what was there before is over.
        if (crew !== undefined) change({ type: "again" });
        // As the first scene says, whatever the page before has left.
        void link.act({ act: "wakes", wakes: "sender" }).then(gather);
        void browser.resume();
        // Whom a notification has brought sees what it was about.
        if (isFirst && opened !== undefined) go("app");
        isFirst = false;
      }
      if (event.type === "phones-taken") void dismiss();
    },
    send(person, text) {
      const isFirst = person === "ann" && scene().step === "asleep";
      if (isFirst) change({ type: "step", step: "send" });
      void send(person, person === "ann" ? "bob" : "ann", text);
    },
    tap() {
      if (scene().step === "send") change({ type: "step", step: "tap" });
      run(tap);
    },
    go,
    next() {
      const following = STEPS[STEPS.indexOf(scene().step) + 1];
      if (following !== undefined) go(following);
    },
    again,
    switchWakes() {
      run(async () => {
        const wakes = scene().stage?.wakes === "sender" ? "balanced" : "sender";
        await link.act({ act: "wakes", wakes });
        await until(() => scene().stage?.wakes === wakes);
        await replayScene();
      });
    },
    day: () => void link.act({ act: "day" }),
    kill: (server) => run(() => killed(server)),
    notify: () => void browser.start(),
    deafen: () => void browser.stop(),
    fault(fault) {
      const on = !(scene().stage?.faults.includes(fault) ?? false);
      void link.act({ act: "fault", fault, on });
    },
    mend() {
      for (const fault of scene().stage?.faults ?? []) {
        void link.act({ act: "fault", fault, on: false });
      }
    },
  };
}

const nobody = (): Record<Person, number> => ({ ann: 0, bob: 0, cat: 0, dan: 0 });

const total = (counts: Readonly<Record<Person, number>>): number =>
  PEOPLE.reduce((sum, person) => sum + counts[person], 0);

/** As facts: takes back what was known. */
const NOTHING = { held: undefined, push: undefined, woke: undefined, answer: undefined } as object;

async function until(
  condition: () => boolean,
  forMs: number = WAIT_MS,
  meanwhile?: () => void,
): Promise<void> {
  const deadline = performance.now() + forMs;
  while (!condition()) {
    if (performance.now() > deadline) return;
    meanwhile?.();
    await pause(POLL_MS);
  }
}
