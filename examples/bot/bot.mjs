// A bot: a user like any other, on plain Node. What it has not answered when it stops it answers when it starts again.
import { connect } from "@beckon/client";
import { file } from "@beckon/client/file";
import { WebSocket } from "ws"; // Node 20 has none

const {
  SERVERS = "ws://127.0.0.1:4681,ws://127.0.0.1:4682,ws://127.0.0.1:4683",
  BACKEND = "http://127.0.0.1:3001",
  STATE = "bot.beckon",
} = process.env;

const beckon = connect({
  servers: SERVERS.split(","),
  token: async () => {
    const response = await fetch(`${BACKEND}/beckon-token?user=bot`);
    if (!response.ok) throw new Error(await response.text());
    return response.text();
  },
  storage: file(STATE), // outbox, and how far it has read
  webSocket: WebSocket,
});
beckon.on("state", ({ name, server, error }) => console.log(name, server ?? error?.message ?? ""));
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => void beckon.close());

for await (const message of beckon.messages()) {
  // Asking for the next one acknowledges this one: so it is answered first, which is safe at the ACK.
  try {
    const ack = await beckon.send(message.from, `You said: ${message.text()}`);
    console.log(`answered ${message.from}: ${ack.status}, ${ack.route}`);
  } catch (error) {
    if (error.code !== "closed") throw error;
    // It stops before the ACK: the answer is in the file, and is sent by the next one that starts.
  }
}
