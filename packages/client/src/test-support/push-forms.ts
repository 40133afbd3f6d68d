/** How platforms and their libraries hand over a push that carries `wake` under "beckon". */
type Form = readonly [name: string, wrap: (wake: string) => unknown];

const APS = { alert: { title: "A new message" }, "mutable-content": 1, sound: "default" };
const FCM = { from: "1098765", "google.message_id": "0:17", "google.ttl": 2_419_200 };

/** `PushNotificationIOS` keeps what is not of `aps` in a field of its own, behind `getData()`. */
class PushNotificationIos {
  readonly _alert = APS.alert;
  readonly _remoteNotificationCompleteCallbackCalled = false;
  readonly _data: Readonly<Record<string, unknown>>;

  constructor(data: Readonly<Record<string, unknown>>) {
    this._data = data;
  }

  getData(): Readonly<Record<string, unknown>> {
    return this._data;
  }
}

/** Older `RemoteMessage`s of React Native Firebase show their data by a getter. */
class OldRemoteMessage {
  readonly _messageId = "0:17";
  readonly _data: Readonly<Record<string, string>>;

  constructor(data: Readonly<Record<string, string>>) {
    this._data = data;
  }

  get data(): Readonly<Record<string, string>> {
    return this._data;
  }
}

/** As an Expo response has it: the trigger is what differs by platform. */
const expo = (trigger: object): object => ({
  actionIdentifier: "expo.modules.notifications.actions.DEFAULT",
  notification: {
    date: 1_750_000_000,
    request: {
      identifier: "0:17",
      content: { title: "A new message", body: null, data: null, sound: "default" },
      trigger: { type: "push", ...trigger },
    },
  },
});

export const PUSH_FORMS: readonly Form[] = [
  ["Web Push: the text", (beckon) => JSON.stringify({ beckon })],
  ["Web Push: its JSON", (beckon) => ({ beckon })],
  ["a MessageEvent's data, as an object", (beckon) => ({ data: { beckon } })],
  ["text under data", (beckon) => ({ data: JSON.stringify({ beckon }) })],
  ["APNs: userInfo", (beckon) => ({ aps: APS, beckon })],
  ["APNs: a request, bridged", (beckon) => ({ request: { content: { userInfo: { beckon } } } })],
  [
    "APNs: PushNotificationIOS",
    (beckon) => new PushNotificationIos({ beckon, notificationId: "1" }),
  ],
  ["APNs: its getData()", (beckon) => new PushNotificationIos({ beckon }).getData()],
  [
    "APNs: react-native-notifications",
    (beckon) => ({ identifier: "1", payload: { aps: APS, beckon } }),
  ],
  ["APNs: react-native-voip-push-notification", (beckon) => ({ aps: {}, beckon, uuid: "1" })],
  [
    "FCM: RemoteMessage",
    (beckon) => ({ messageId: "0:17", sentTime: 1, ttl: 60, data: { beckon } }),
  ],
  ["FCM: an old RemoteMessage", (beckon) => new OldRemoteMessage({ beckon })],
  ["FCM: the extras of an Intent", (beckon) => ({ ...FCM, beckon })],
  [
    "FCM: react-native-push-notification",
    (beckon) => ({ foreground: false, userInteraction: true, data: { ...FCM, beckon } }),
  ],
  [
    "notifee: an event",
    (beckon) => ({
      type: 1,
      detail: { notification: { id: "1", data: { beckon } }, pressAction: {} },
    }),
  ],
  ["Expo on iOS: a notification", (beckon) => expoNotification({ payload: { aps: APS, beckon } })],
  ["Expo on iOS: a response", (beckon) => expo({ payload: { aps: APS, beckon } })],
  [
    "Expo on Android: a response",
    (beckon) => expo({ remoteMessage: { ...FCM, notification: null, data: { beckon } } }),
  ],
  [
    "Expo: content.data, with the same as text beside it",
    (beckon) => ({
      request: {
        content: { dataString: JSON.stringify({ beckon }), data: { beckon } },
        trigger: null,
      },
    }),
  ],
  ["Expo: a background task", (beckon) => ({ data: { notification: { data: { beckon } } } })],
  [
    "Capacitor: received",
    (beckon) => ({ id: "1", title: "A new message", data: { aps: APS, beckon } }),
  ],
  [
    "Capacitor: an action",
    (beckon) => ({ actionId: "tap", notification: { id: "1", data: { ...FCM, beckon } } }),
  ],
  [
    "Cordova",
    (beckon) => ({ message: "A new message", additionalData: { foreground: true, beckon } }),
  ],
  ["OneSignal on iOS", (beckon) => ({ additionalData: { beckon }, rawPayload: { aps: APS } })],
  [
    "OneSignal on Android: text in text",
    (beckon) => ({
      notification: {
        rawPayload: JSON.stringify({ custom: JSON.stringify({ i: "1", a: { beckon } }), ...FCM }),
      },
    }),
  ],
];

function expoNotification(trigger: object): object {
  return (expo(trigger) as { readonly notification: object }).notification;
}
