/** The demo's four phones: where each begins, and how they are put there. */
import { HOMES, PEOPLE, type Person, SLEEPER } from "./cast.ts";
import { createPhone, type Phone, type PhoneEvents, type PhoneParts } from "./phone.ts";

export type Crew = Readonly<Record<Person, Phone>>;

export interface CrewParts {
  /** URLs of the servers, by name, in their order. */
  readonly servers: ReadonlyMap<string, string>;
  readonly token: (user: string) => Promise<string>;
  readonly listen: PhoneParts["listen"];
  events(person: Person): PhoneEvents;
}

/** Puts the phones in their places: resolves when Ann, Cat and Dan are connected, and Bob sleeps. */
export async function createCrew(parts: CrewParts): Promise<Crew> {
  const names = [...parts.servers.keys()];
  const crew = {} as Record<Person, Phone>;
  const placed = PEOPLE.map(
    (person) =>
      new Promise<void>((resolve) => {
        const events = parts.events(person);
        const home = names[HOMES[person] % names.length]!;
        const phone = createPhone({
          user: person,
          // The others it learns at its first connection.
          servers: () => [parts.servers.get(home)!],
          token: () => parts.token(person),
          listen: parts.listen,
          events: {
            ...events,
            state(state, server) {
              events.state(state, server);
              if (state === "connected") resolve();
            },
          },
        });
        crew[person] = phone;
        phone.wake();
      }),
  );
  await Promise.all(placed);
  await crew[SLEEPER].sleep();
  return crew;
}
