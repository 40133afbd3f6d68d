import { BeckonError, connect } from "@beckon/client";
import { indexedDb } from "@beckon/client/storage";

const {
  user = "eve", // in an app: whoever has logged in
  server = "ws://127.0.0.1:4681", // any one will do: Beckon moves you
  backend = "http://127.0.0.1:3001",
} = Object.fromEntries(new URLSearchParams(location.search));

const beckon = connect({
  servers: [server],
  token: async () => (await fetch(`${backend}/beckon-token?user=${user}`)).text(),
  storage: indexedDb(user), // outbox, lanes, wake key; without it: memory
});
beckon.on("state", ({ name, server, error }) => {
  find("badge").textContent = `${user}: ${name} ${server ?? error?.code ?? ""}`;
});
for (const unsent of await beckon.outbox()) {
  void tick(draw(`to ${unsent.to}: ${unsent.text()}`), unsent.ack); // left from the last run
}

find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const [to, text] = [find("to").value, find("text").value];
  void tick(draw(`to ${to}: ${text}`), beckon.send(to, text, { preview: text }));
  find("text").value = "";
});
find("order").addEventListener("click", () => {
  void fetch(`${backend}/orders?user=${user}`, { method: "POST" }); // the shop writes back
});

// Asking for the next one acknowledges this one.
for await (const message of beckon.messages()) draw(`${message.from}: ${message.text()}`);

async function tick(line: HTMLElement, ack: ReturnType<typeof beckon.send>): Promise<void> {
  try {
    const { status, route } = await ack; // delivered | held, local | remote | wake
    line.append(` (${status}, ${route})`);
  } catch (error) {
    // Only when it will never be sent: being offline just waits.
    line.append(` (${error instanceof BeckonError ? error.hint : String(error)})`);
  }
}

function draw(text: string): HTMLElement {
  const line = document.createElement("li");
  line.textContent = text;
  find("messages").append(line);
  return line;
}

function find(id: string): HTMLInputElement {
  return document.getElementById(id) as HTMLInputElement;
}
