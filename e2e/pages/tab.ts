/** One of several tabs of a chat: sends, and shows what comes. */
import { connect } from "@beckon/client";
import { indexedDb } from "@beckon/client/storage";

export interface ChatTab {
  readonly shown: readonly string[];
  /** Texts that were sent, and what became of them: the message id, or the code of the error. */
  readonly sent: Readonly<Record<string, string>>;
  readonly state: string;
  send(text: string): void;
  close(): Promise<void>;
  forget(): Promise<"forgotten" | "local">;
}

const {
  server = "",
  token = "",
  user = "",
} = Object.fromEntries(new URLSearchParams(location.search));
const beckon = connect({ servers: [server], token: () => token, storage: indexedDb(user) });
const shown: string[] = [];
const sent: Record<string, string> = {};
beckon.on("message", (message) => void shown.push(message.text()));

const chat: ChatTab = {
  shown,
  sent,
  get state() {
    return beckon.state.name;
  },
  send(text) {
    sent[text] = "…";
    beckon.send("bob", text).then(
      ({ id }) => (sent[text] = id),
      (error: Error) => (sent[text] = error.message),
    );
  },
  close: () => beckon.close(),
  forget: () => beckon.forget(),
};
Object.assign(globalThis, { chat });
