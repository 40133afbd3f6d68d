import type { Session } from "../sessions/table.ts";

export interface Plan {
  /** Whom to try live. */
  readonly live: readonly Session[];
  /** How many durable devices the user has, without the excepted one. */
  readonly setSize: number;
  /** Every durable device is among `live`, and known to be one: nobody is owed it who is not connected. */
  readonly complete: boolean;
}

const NOBODY: Plan = { live: [], setSize: 0, complete: false };

/**
 * Where a message for a user goes (M3, M5, M6, M7). Pure: from the table's sessions of the user alone. `except` is the sending
 * device, when the message is a copy for the sender's other devices. `trusted` is the table's word that what it says of
 * others holds; without it the store is asked as well.
 */
export function plan(
  sessions: readonly Session[],
  except: string | undefined,
  trusted: boolean,
): Plan {
  if (sessions.length === 0) return NOBODY;
  const newest = newestSet(sessions);
  let setSize = newest.setSize;
  let live = sessions;
  if (except !== undefined) {
    live = sessions.filter(({ device }) => device !== except);
    if (sessions.some((one) => one.device === except && isMember(one, newest))) setSize--;
  }
  let members = 0;
  for (const session of live) if (isMember(session, newest)) members++;
  return { live, setSize, complete: trusted && members === setSize };
}

/** Whether a device that is connected is all that its user has: there is nobody to copy to. */
export function isOnly(sessions: readonly Session[], device: string): boolean {
  const [session] = sessions;
  if (session === undefined || sessions.length > 1 || session.device !== device) return false;
  return session.setSize === (session.member ? 1 : 0);
}

function isMember({ member, setVersion }: Session, newest: Session): boolean {
  return member && setVersion === newest.setVersion;
}

function newestSet(sessions: readonly Session[]): Session {
  let newest = sessions[0]!;
  for (const session of sessions) if (session.setVersion > newest.setVersion) newest = session;
  return newest;
}
