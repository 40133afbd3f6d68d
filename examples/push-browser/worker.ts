import { beckonWorker, type Notice } from "@beckon/client/worker";

// A click opens the page as it was when it registered this worker.
const page = `/${location.search}`;

beckonWorker({
  page,
  show(wake, isPageSeen): Notice | undefined {
    if (isPageSeen) return undefined; // the page shows the message
    if (wake === undefined) return { title: "Something new" };
    const { from, preview, activity } = wake;
    const body = activity > 1 ? `${preview} (and ${activity - 1} more)` : preview;
    // One notification for each conversation.
    return { title: from, options: { body, tag: from, renotify: true } };
  },
});
