/** The demo's people, and where each phone begins. */
export const PEOPLE = ["ann", "bob", "cat", "dan"] as const;
export type Person = (typeof PEOPLE)[number];

/** Number of the server. The third is empty, and so where a load balancer would send whoever wakes. */
export const HOMES: Readonly<Record<Person, number>> = { ann: 0, bob: 1, cat: 1, dan: 1 };

/** Goes to sleep at home, before anything else happens. */
export const SLEEPER: Person = "bob";
