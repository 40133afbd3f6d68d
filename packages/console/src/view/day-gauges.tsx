import type { VNode } from "preact";

import type { DayRun, DayView } from "../stage.ts";

/** A community's day through both ways: the share of deliveries that stayed on one server. */
export function DayGauges({ day }: { readonly day: DayView }): VNode {
  return (
    <figure class="day" aria-label="A generated community’s day, on four servers">
      <figcaption>
        A generated community’s day, on four servers
        {day.state === "failed" ? <b class="crossed"> failed: {day.problem}</b> : null}
      </figcaption>
      <Gauge label="a load balancer chooses" run={day.balanced} kind="balanced" />
      <Gauge label="the sender’s server" run={day.sender} kind="sender" />
    </figure>
  );
}

function Gauge(props: {
  readonly label: string;
  readonly run: DayRun;
  readonly kind: string;
}): VNode {
  const { label, run, kind } = props;
  const share = run.locality ?? 0;
  return (
    <div class={`gauge ${kind}`}>
      <svg viewBox="0 0 120 70" aria-hidden="true">
        <path class="track" pathLength="100" d="M12 62a48 48 0 0 1 96 0" />
        <path
          class="value"
          pathLength="100"
          d="M12 62a48 48 0 0 1 96 0"
          style={{ strokeDasharray: `${share * 100} 100` }}
        />
      </svg>
      <b>{run.locality === undefined ? "–" : `${Math.round(share * 100)} %`}</b>
      <span>{label}</span>
      <progress max={Math.max(1, run.of)} value={run.done} aria-label={`${label}: messages sent`} />
      <small>
        {run.local + run.remote === 0
          ? `${run.done} of ${run.of} messages`
          : `${run.local} stayed, ${run.remote} crossed, ${run.lost} lost`}
      </small>
    </div>
  );
}
