import { BeckonError, connect } from "@beckon/client";
import { indexedDb } from "@beckon/client/storage";

const { user = "eve", server = "" } = Object.fromEntries(new URLSearchParams(location.search));
const beckon = connect({
  servers: [server], // any one will do: Beckon moves you
  token: async () => (await fetch(`/dev/token?user=${user}`)).text(), // in an app: from its backend
  storage: indexedDb(user), // outbox, inbox and keys survive a crash of the page
});
document.body.innerHTML = `<h1>Chat <output id="badge"></output></h1><ol id="messages"></ol>
  <form id="form"><label>To <input id="to" value="ann" required></label>
  <label>Text <input id="text" required autofocus></label><button>Send</button></form>`;
beckon.on("state", ({ name, server }) => {
  find("badge").textContent = `${user}, ${name} ${server ?? ""}`;
});

find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  void send(find<HTMLInputElement>("to").value, find<HTMLInputElement>("text").value);
  find<HTMLInputElement>("text").value = "";
});

async function send(to: string, text: string): Promise<void> {
  const line = draw(`to ${to}: ${text}`);
  try {
    const { status, route, server } = await beckon.send(to, text, { preview: text });
    line.append(` (${status}, ${route}, ${server})`); // delivered | held, local | remote | wake
  } catch (error) {
    // Only when it will never be sent: being offline just waits.
    line.append(` (${error instanceof BeckonError ? error.hint : String(error)})`);
  }
}

// Asking for the next one acknowledges this one.
for await (const message of beckon.messages()) draw(`${message.from}: ${message.text()}`);

function draw(text: string): HTMLElement {
  const line = document.createElement("li");
  line.textContent = text;
  find("messages").append(line);
  return line;
}

function find<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}
