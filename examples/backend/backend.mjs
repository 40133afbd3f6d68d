// The backend of an app: it says who the users are, and writes to them as a service.
import { createServer } from "node:http";

import { SignJWT } from "jose";

// By default those of `beckon dev`, which everybody knows.
const {
  PORT = "3001",
  BECKON_ADMIN = "http://127.0.0.1:4691", // the admin API of any server
  BECKON_SECRET = "beckon dev secret, not a secret!", // the servers' auth.secret
  BECKON_API_TOKEN = "beckon-dev-admin-token", // their api.token
} = process.env;

/** With it the devices of the user connect. */
function tokenFor(user) {
  return new SignJWT()
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(user)
    .setExpirationTime("1h") // the SDK asks for another one before that
    .sign(new TextEncoder().encode(BECKON_SECRET));
}

/** Answers { id, status: "delivered" | "held", route }: then it is safe, whether or not the user is there. */
async function send(to, text) {
  const response = await fetch(new URL("/v1/messages", BECKON_ADMIN), {
    method: "POST",
    headers: { authorization: `Bearer ${BECKON_API_TOKEN}`, "content-type": "application/json" },
    body: JSON.stringify({ from: "shop", to, text, preview: text }),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${answer.error.code}: ${answer.error.hint}`);
  return answer;
}

async function answer({ method, url }) {
  const { pathname, searchParams } = new URL(url, "http://localhost");
  const user = searchParams.get("user"); // in an app: whoever has logged in
  if (!user) return [400, "who are you?"];
  if (method === "GET" && pathname === "/beckon-token") return [200, await tokenFor(user)];
  if (method !== "POST" || pathname !== "/orders") return [404, "GET /beckon-token, POST /orders"];
  const { status } = await send(user, "Thank you for your order!");
  return [200, status];
}

const server = createServer((request, response) => {
  const reply = ([status, text]) =>
    response.writeHead(status, { "access-control-allow-origin": "*" }).end(text);
  answer(request).then(reply, (error) => reply([502, error.message]));
});
server.listen(Number(PORT), "127.0.0.1", () => {
  console.log(`backend at http://127.0.0.1:${server.address().port}`);
});
