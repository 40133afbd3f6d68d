import { connect, type Message } from "@beckon/client";
import { indexedDb } from "@beckon/client/storage";

const {
  user = "ann", // in an app: whoever has logged in
  device = "page",
  server = "ws://127.0.0.1:4681",
  backend = "http://127.0.0.1:3001",
  push = "", // what the push service of `beckon dev` calls this device; in an app: a subscription
} = Object.fromEntries(new URLSearchParams(location.search));

const beckon = connect({
  servers: [server],
  device,
  token: async () => (await fetch(`${backend}/beckon-token?user=${user}`)).text(),
  storage: indexedDb(`${user}/${device}`),
  ...(push !== "" && { push: { provider: "dev", token: push } }),
});

/** What the two pages say to each other; `session` tells one call from the next. */
interface Signal {
  readonly session: string;
  readonly description?: RTCSessionDescriptionInit;
  readonly candidate?: RTCIceCandidateInit;
}

interface Call {
  readonly session: string;
  readonly peer: string;
  /** That of the message that rings; the caller learns it when a server has taken the message. */
  id: string | undefined;
  /** Of who calls; undefined: this page calls. */
  readonly offer: RTCSessionDescriptionInit | undefined;
  connection: RTCPeerConnection | undefined;
}

let call: Call | undefined;
/** Candidates that came before what they belong to. */
let early: Signal[] = [];

beckon.on("state", ({ name, server: at }) => (find("badge").textContent = `${name} ${at ?? ""}`));
// A push, opened: shown before anything is connected.
beckon.on("wake", ({ call: id, ended, from }) => {
  if (id !== undefined && call === undefined) show(ended ? "idle" : `${from} is calling`);
});
// In an app: what a service worker hands over, and what its notification opens the page with.
if (location.hash !== "") void beckon.onWake(decodeURIComponent(location.hash.slice(1)));

beckon.on("message", async (message) => {
  const { session, description, candidate } = JSON.parse(message.text()) as Signal;
  const isMine = message.from === user; // a copy of what another device of this user has sent
  if (message.wake === "call" && !isMine) return ring(message, session, description);
  if (session !== call?.session) {
    if (candidate !== undefined && !isMine) early = [...early, { session, candidate }].slice(-64);
    return;
  }
  const { connection } = call;
  if (message.ends !== undefined && (isMine || description === undefined)) return over(); // answered elsewhere, or hung up
  if (description !== undefined && connection !== undefined) await take(connection, description);
  if (candidate === undefined || isMine) return;
  if (connection?.remoteDescription) await connection.addIceCandidate(candidate);
  else early = [...early, { session, candidate }].slice(-64);
});

function ring(message: Message, session: string, offer: Signal["description"]): void {
  if (call !== undefined || Date.now() - message.at > 30_000) return; // busy, or missed
  call = { session, peer: message.from, id: message.id, offer, connection: undefined };
  show(`${message.from} is calling`);
}

find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (call === undefined) void dial(find("to").value);
});

async function dial(peer: string): Promise<void> {
  const session = crypto.randomUUID();
  call = { session, peer, id: undefined, offer: undefined, connection: undefined };
  show(`calling ${peer}`);
  const connection = await open(call);
  await connection.setLocalDescription();
  const options = { wake: "call", preview: `${user} is calling` } as const;
  call.id = (await signal(call, { description: describe(connection) }, options)).id;
}

find("answer").addEventListener("click", () => void answer());

async function answer(): Promise<void> {
  if (call?.offer === undefined || call.connection !== undefined) return;
  const connection = await open(call);
  await take(connection, call.offer);
  await connection.setLocalDescription();
  void signal(call, { description: describe(connection) }, { ends: call.id }); // rings nowhere any more
}

find("end").addEventListener("click", () => {
  if (call?.id === undefined) return;
  const isMissed = call.connection?.connectionState !== "connected";
  void signal(call, {}, { ends: call.id, wake: isMissed ? "message" : "silent" });
  over();
});

async function open(of: Call): Promise<RTCPeerConnection> {
  const connection = new RTCPeerConnection();
  of.connection = connection;
  connection.onicecandidate = ({ candidate }) => {
    if (candidate !== null) void signal(of, { candidate: candidate.toJSON() }, { wake: "none" });
  };
  connection.ontrack = ({ streams }) => (find("remote").srcObject = streams[0] ?? null);
  connection.onconnectionstatechange = () => show(connection.connectionState);
  const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  for (const track of media.getTracks()) connection.addTrack(track, media);
  return connection;
}

async function take(connection: RTCPeerConnection, offered: RTCSessionDescriptionInit) {
  await connection.setRemoteDescription(offered);
  for (const { session, candidate } of early) {
    if (session === call?.session) await connection.addIceCandidate(candidate);
  }
}

function signal({ session, peer }: Call, more: Partial<Signal>, options: object) {
  return beckon.send(peer, JSON.stringify({ session, ...more }), options);
}

const describe = ({ localDescription }: RTCPeerConnection) => localDescription!.toJSON();

function over(): void {
  for (const sender of call?.connection?.getSenders() ?? []) sender.track?.stop();
  call?.connection?.close();
  call = undefined;
  show("idle");
}

function show(status: string): void {
  find("status").textContent = status;
}

function find(id: string): HTMLInputElement & HTMLVideoElement {
  return document.getElementById(id) as HTMLInputElement & HTMLVideoElement;
}
