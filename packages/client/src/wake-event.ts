import { formatUuid, type Hint, type Millis, type WakeClass } from "@beckon/protocol";

/** What a push says. */
export interface Wake {
  /** "call": somebody calls; "silent": there is nothing to show, but perhaps to take back. */
  readonly class: WakeClass;
  /** The user who has written, or calls. */
  readonly from: string;
  readonly preview: string;
  /** Id of the call that it is about: that of its message; undefined: it is about messages. */
  readonly call: string | undefined;
  /** The call was answered elsewhere, declined or given up: what was shown for it is to be taken back. */
  readonly ended: boolean;
  /** How many messages it stands for. */
  readonly activity: number;
  /** The server's time at which it is over: a call rings until then. */
  readonly expires: Millis;
}

export function toWake({
  wake,
  conversation,
  preview,
  call,
  ended,
  activity,
  expires,
}: Hint): Wake {
  return {
    class: wake,
    from: conversation,
    preview,
    call: call.length === 0 ? undefined : formatUuid(call),
    ended,
    activity,
    expires,
  };
}
