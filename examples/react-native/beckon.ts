/** Beckon on a phone: the SDK with what React Native's engine has not. Nothing here is of React Native itself. */
import { type Beckon, connect, type PushOptions, type SealCrypto } from "@beckon/client";
import { gcm } from "@noble/ciphers/aes.js";

import { storageOver, type Values } from "./storage.ts";

/** Opens wakes without WebCrypto, in JavaScript. */
export const nobleCrypto: SealCrypto = {
  open: async (key, nonce, sealed, device) => gcm(key, nonce, device).decrypt(sealed),
};

/** What of react-native-quick-crypto is used: what Node calls so. */
type CreateDecipher = (
  algorithm: "aes-256-gcm",
  key: Uint8Array,
  nonce: Uint8Array,
) => {
  setAAD(data: Uint8Array): unknown;
  setAuthTag(tag: Uint8Array): unknown;
  update(data: Uint8Array): Uint8Array;
  final(): Uint8Array;
};

/** The same in native code: `quickCrypto(QuickCrypto.createDecipheriv)`. */
export function quickCrypto(createDecipher: CreateDecipher): SealCrypto {
  return {
    async open(key, nonce, sealed, device) {
      const tag = sealed.length - 16;
      const decipher = createDecipher("aes-256-gcm", key, nonce);
      decipher.setAAD(device);
      decipher.setAuthTag(sealed.subarray(tag));
      const opened = decipher.update(sealed.subarray(0, tag));
      // Throws for what was not sealed with these.
      decipher.final();
      return Uint8Array.from(opened);
    },
  };
}

/** What of @react-native-firebase/messaging is used. */
export interface Messaging {
  getToken(): Promise<string>;
  getAPNSToken(): Promise<string | null>;
  getInitialNotification(): Promise<object | null>;
  onMessage(take: (message: object) => void): () => void;
  onNotificationOpenedApp(take: (message: object) => void): () => void;
}

/** How this phone is pushed to. Undefined: the system gave no token, as where people want no notifications. */
export async function registration(
  os: string,
  messaging: Messaging,
): Promise<PushOptions | undefined> {
  if (os !== "ios") return { provider: "fcm", token: await messaging.getToken() };
  const token = await messaging.getAPNSToken();
  return token === null ? undefined : { provider: "apns", token };
}

export interface Phone {
  readonly user: string;
  readonly servers: readonly string[];
  readonly token: () => Promise<string>;
  readonly values: Values;
  /** Fills the bytes: `getRandomValues` of expo-crypto, react-native-get-random-values or react-native-quick-crypto. */
  readonly random: (bytes: Uint8Array) => void;
  readonly push: PushOptions | undefined;
  readonly crypto?: SealCrypto;
}

export function connectPhone(phone: Phone): Beckon {
  const { user, servers, token, values, random, push, crypto = nobleCrypto } = phone;
  return connect({
    servers,
    token,
    storage: storageOver(values, user),
    random,
    crypto,
    ...(push !== undefined && { push }),
  });
}

/** Hands over what comes while the app runs, and the notification that has started it. The answer ends the listening. */
export function followPushes(beckon: Beckon, messaging: Messaging): () => void {
  const take = (message: object | null): void => void beckon.onWake(message);
  void messaging.getInitialNotification().then(take);
  const ends = [messaging.onMessage(take), messaging.onNotificationOpenedApp(take)];
  return () => {
    for (const end of ends) end();
  };
}
