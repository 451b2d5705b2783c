import type { FromWorker, ToWorker, WorkerOptions } from "./backend.js";
import { inThread, type Backend } from "./backend.js";
import { Engine } from "./engine.js";
import { PandaError } from "./errors.js";
import { IdbStore } from "./idb.js";
import { checkPlatform } from "./key.js";
import { MemoryStore } from "./store.js";

const scope = self as unknown as {
  postMessage(message: FromWorker): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  addEventListener(kind: string, listener: () => void): void;
};
let backend: Backend | undefined;

async function start({
  url,
  name,
  storage,
  token,
  node,
  invite,
  key,
  passphrase,
}: WorkerOptions): Promise<void> {
  try {
    checkPlatform();
    const store =
      storage === "memory" ? new MemoryStore() : await IdbStore.open(`p2panda ${name}`);
    const shared = storage === "memory" ? undefined : `p2panda ${name}`;
    const engine = await Engine.start(store, { url, token, node, invite, key, passphrase }, shared);
    engine.listen((event) => scope.postMessage({ kind: "event", event }));
    backend = inThread(engine);
    scope.addEventListener("online", () => engine.wake());
    scope.postMessage({ kind: "started" });
  } catch (error) {
    scope.postMessage({ kind: "started", error: PandaError.plain(error) });
  }
}

scope.onmessage = ({ data }) => {
  if (data.kind === "start") {
    void start(data.options);
    return;
  }
  const { number, method, args } = data;
  backend?.call(method, ...args).then(
    (result) => scope.postMessage({ kind: "result", number, result }),
    (error: unknown) =>
      scope.postMessage({ kind: "result", number, error: PandaError.plain(error) }),
  );
};
