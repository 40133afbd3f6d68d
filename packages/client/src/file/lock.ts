/**
 * A lock among processes that the system frees when its owner is gone, however it went. Neither Node nor Bun can lock a file;
 * but a socket in the file system accepts connections exactly as long as the process lives that listens on it, and a process
 * id could be another's by now, or that of another container.
 *
 * Each owner has a folder with such a socket, `<path>.lock-<number>`; the highest number is the owner. A folder comes into being by
 * being renamed, with its socket listening already, and that fails where the number is taken. Lower ones are removed by
 * a higher owner, the highest never: so a number that was once taken is lower than another, or taken.
 */
import { mkdtemp, open, readdir, rename, rm, stat } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { basename, dirname, join } from "node:path";

export interface Lock {
  release(): Promise<void>;
}

/** Between two looks at a lock whose owner is about to come or to go. */
const RETRY_MS = 20;
/** Who waits is told by a connection; more of them are turned away, and look again. */
const WAITING = 64;
/** A folder that is not renamed by then was left by a process that is gone. */
const ABANDONED_MS = 60_000;
/** Bytes of a socket's path that every system takes. */
const SOCKET_PATH = 100;
/** What comes after the storage's own path. */
const SUFFIX = ".lock-new-123456/s".length;
const SOCKET = "s";

/** Waits until nobody has it; rejects when `signal` says so. */
export async function acquire(path: string, signal: AbortSignal): Promise<Lock> {
  const folder = await shortened(path);
  const prefix = `${basename(path)}.lock-`;
  const at = (number: number): string => join(folder.path, `${prefix}${number}`);
  try {
    for (;;) {
      signal.throwIfAborted();
      const last = await highest(dirname(path), prefix);
      if (last > 0 && (await waited(join(at(last), SOCKET), signal))) continue;
      const candidate = await listen(await mkdtemp(join(folder.path, `${prefix}new-`)));
      const isTaken = await taken(candidate.folder, at(last + 1));
      // Where a higher one came meanwhile, the number was free because its owner is gone.
      if (isTaken && (await highest(dirname(path), prefix)) === last + 1) {
        await tidy(dirname(path), prefix, last + 1);
        return { release: () => candidate.end() };
      }
      await candidate.end();
      await rm(isTaken ? at(last + 1) : candidate.folder, { recursive: true, force: true });
    }
  } finally {
    await folder.close();
  }
}

/** True when there was an owner, and there is none any more, or may be none; false: there was none. */
function waited(path: string, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    let failure: NodeJS.ErrnoException | undefined;
    const abort = (): void => void socket.destroy();
    signal.addEventListener("abort", abort);
    socket.on("error", (error) => {
      failure = error;
    });
    socket.on("close", () => {
      signal.removeEventListener("abort", abort);
      const code = failure?.code;
      if (code === "ECONNREFUSED" || code === "ENOENT") resolve(false);
      else if (code === undefined || code === "ECONNRESET" || code === "EAGAIN" || signal.aborted)
        setTimeout(resolve, RETRY_MS, true);
      else reject(failure!);
    });
    socket.resume();
  });
}

interface Candidate {
  readonly folder: string;
  end(): Promise<void>;
}

async function listen(folder: string): Promise<Candidate> {
  const waiting = new Set<Socket>();
  const server: Server = createServer((socket) => {
    waiting.add(socket);
    socket.unref();
    socket.on("error", () => {});
    socket.on("close", () => waiting.delete(socket));
    socket.resume();
  });
  server.maxConnections = WAITING;
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(join(folder, SOCKET), resolve);
    });
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  // A storage keeps no process alive.
  server.unref();
  return {
    folder,
    end: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of waiting) socket.destroy();
      }),
  };
}

/** Whether the folder has the name now; it has not, where another one has it. */
async function taken(folder: string, name: string): Promise<boolean> {
  try {
    await rename(folder, name);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // ENOENT: it was thought abandoned.
    if (code === "ENOTEMPTY" || code === "EEXIST" || code === "ENOENT") return false;
    throw error;
  }
}

async function numbers(folder: string, prefix: string): Promise<Map<string, number>> {
  const names = (await readdir(folder)).filter((name) => name.startsWith(prefix));
  return new Map(names.map((name) => [join(folder, name), Number(name.slice(prefix.length))]));
}

/** 0: there is none. */
async function highest(folder: string, prefix: string): Promise<number> {
  return Math.max(0, ...[...(await numbers(folder, prefix)).values()].filter(Number.isInteger));
}

async function tidy(folder: string, prefix: string, own: number): Promise<void> {
  for (const [path, number] of await numbers(folder, prefix)) {
    const isOld = Number.isInteger(number) ? number < own : await isAbandoned(path);
    if (isOld) await rm(path, { recursive: true, force: true });
  }
}

async function isAbandoned(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found !== undefined && Date.now() - found.mtimeMs > ABANDONED_MS;
}

/** A name of the folder under which a socket's path is short enough. */
async function shortened(path: string): Promise<{ readonly path: string; close(): Promise<void> }> {
  const folder = dirname(path);
  const isShort = Buffer.byteLength(path) + SUFFIX <= SOCKET_PATH;
  if (isShort || process.platform !== "linux") return { path: folder, close: async () => {} };
  const handle = await open(folder, "r");
  return { path: `/proc/self/fd/${handle.fd}`, close: () => handle.close() };
}
