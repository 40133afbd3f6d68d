import type { Bus, BusHandler } from "./bus.ts";

/** Bytes of messages: what this server has said, once each however many hear it, and what it has heard. */
export interface BusTraffic {
  out: number;
  in: number;
}

/** The same bus, with what goes over it counted. */
export function metered(bus: Bus, traffic: BusTraffic): Bus {
  return {
    publish(subject, message) {
      bus.publish(subject, message);
      traffic.out += message.length;
    },
    subscribe: (subject, handler) => bus.subscribe(subject, heard(handler, traffic)),
    async request(subject, message, timeoutMs) {
      traffic.out += message.length;
      const answer = await bus.request(subject, message, timeoutMs);
      traffic.in += answer.length;
      return answer;
    },
    onLink: (listener) => bus.onLink(listener),
    get up() {
      return bus.up;
    },
    close: () => bus.close(),
  };
}

function heard(handler: BusHandler, traffic: BusTraffic): BusHandler {
  return (message, reply) => {
    traffic.in += message.length;
    if (reply === undefined) return handler(message);
    handler(message, (answer) => {
      traffic.out += answer.length;
      reply(answer);
    });
  };
}
