import type { Beckon } from "@beckon/client";
import AsyncStorage from "@react-native-async-storage/async-storage";
import firebaseMessaging from "@react-native-firebase/messaging";
import { getRandomValues } from "expo-crypto";
import { useEffect, useState } from "react";
import { AppState, FlatList, Platform, Text, TextInput } from "react-native";

import { connectPhone, followPushes, registration } from "./beckon";

const BACKEND = "https://app.example.com";
const USER = "ann"; // in an app: whoever has logged in
const messaging = firebaseMessaging();

/** One client for the process: a push may start it in the background, without the app's screen. */
let client: Promise<Beckon> | undefined;
const beckon = (): Promise<Beckon> => (client ??= start());

async function start(): Promise<Beckon> {
  await messaging.requestPermission();
  const made = connectPhone({
    user: USER,
    servers: ["wss://a.chat.example.com", "wss://b.chat.example.com"],
    token: async () => (await fetch(`${BACKEND}/beckon-token?user=${USER}`)).text(),
    values: AsyncStorage,
    random: (bytes) => void getRandomValues(bytes),
    push: await registration(Platform.OS, messaging),
  });
  followPushes(made, messaging);
  const tell = (state: string): void => made.background(state !== "active");
  AppState.addEventListener("change", tell);
  tell(AppState.currentState);
  return made;
}

// Android: the app is not on the screen. It has some seconds, and connects to the sender's server.
messaging.setBackgroundMessageHandler(
  async (message) => void (await (await beckon()).onWake(message)),
);

export default function App() {
  const [lines, setLines] = useState<string[]>([]);
  const add = (line: string): void => setLines((before) => [...before, line]);
  useEffect(() => {
    let end = (): void => {};
    void beckon().then((made) => {
      end = made.on("message", (message) => add(`${message.from}: ${message.text()}`));
    });
    return () => end();
  }, []);
  const send = async (text: string): Promise<void> => {
    const { status } = await (await beckon()).send("bob", text, { preview: text });
    add(`to bob: ${text} (${status})`);
  };
  return (
    <>
      <FlatList data={lines} renderItem={({ item }) => <Text>{item}</Text>} />
      <TextInput onSubmitEditing={({ nativeEvent }) => void send(nativeEvent.text)} />
    </>
  );
}
