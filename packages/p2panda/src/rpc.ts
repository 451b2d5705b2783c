import { abortable, checkSignal, closed, PandaError } from "./errors.js";

export const RPC_VERSION = 1;
export const SUBPROTOCOL = "panda.v1";
export const CLIENT = "p2panda-js/0.1.0";
/** The most bytes of a frame that a node accepts. */
export const REQUEST_BYTES_MAX = 1024 * 1024;
const FRAME_MESSAGES_MAX = 256;

/** The part of a WebSocket that is used; the platform and the package `ws` have it. */
export interface Socket {
  readonly protocol: string;
  readonly bufferedAmount: number;
  send(text: string): void;
  close(): void;
  addEventListener(
    kind: string,
    listener: (event: { data?: unknown; code?: number }) => void,
  ): void;
}
export type SocketConstructor = new (url: string, protocols: string[]) => Socket;

export type Params = Record<string, unknown>;
export interface Hello {
  rpc: number;
  node: string;
  version: string;
  name: string | null;
  scopes: string[];
}
export interface Note {
  method: string;
  params: Params & { subscription: number };
}

interface Waiting {
  resolve(result: unknown): void;
  reject(error: PandaError): void;
  /** For a subscription: receives its notifications from the answer on. */
  listen: ((note: Note) => void) | undefined;
}

/** A connection to a node that speaks the RPC. */
export class Rpc {
  hello: Hello = { rpc: 0, node: "", version: "", name: null, scopes: [] };
  /** Resolves when the connection has ended. */
  readonly closed: Promise<PandaError>;
  #number = 0;
  #over: PandaError | undefined;
  #ended: (error: PandaError) => void = () => undefined;
  #waiting = new Map<number, Waiting>();
  #listeners = new Map<number, (note: Note) => void>();
  #queue: string[] = [];

  private constructor(readonly socket: Socket) {
    this.closed = new Promise((resolve) => (this.#ended = resolve));
    socket.addEventListener("message", (event) => this.#receive(event.data));
    socket.addEventListener("close", (event) => this.#end(closedWith(event.code)));
    socket.addEventListener("error", () => this.#end(closed()));
  }

  /** Opens a connection to a node. Without a path, the URL is that of its RPC. */
  static async open(
    url: string,
    constructor?: SocketConstructor,
    signal?: AbortSignal,
  ): Promise<Rpc> {
    checkSignal(signal);
    const Made = constructor ?? (globalThis.WebSocket as unknown as SocketConstructor | undefined);
    if (Made === undefined) {
      throw new PandaError("no-websocket", "there is no WebSocket here", {
        hint: "pass a constructor as the option `WebSocket`",
      });
    }
    const address = addressOf(url);
    if (address.pathname === "/") address.pathname = "/rpc";
    let socket: Socket;
    try {
      socket = new Made(address.href, [SUBPROTOCOL]);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new PandaError("no-websocket", `the WebSocket cannot be made: ${why}`, {
        hint: "the option `WebSocket` is a class; a page that came by https takes wss: only",
      });
    }
    const rpc = new Rpc(socket);
    const opened = new Promise<void>((resolve) =>
      socket.addEventListener("open", () => resolve()),
    );
    try {
      const failed = await abortable(Promise.race([opened, rpc.closed]), signal);
      if (failed !== undefined) throw failed;
    } catch (error) {
      rpc.close();
      throw error;
    }
    if (socket.protocol !== SUBPROTOCOL) {
      socket.close();
      throw new PandaError("version", `${url} does not speak ${SUBPROTOCOL}`);
    }
    return rpc;
  }

  get isOver(): boolean {
    return this.#over !== undefined;
  }

  close(): void {
    this.#end(closed("the connection was closed"));
    this.socket.close();
  }

  /** Calls a method by its name. */
  async call<T = unknown>(
    method: string,
    params: Params = {},
    signal?: AbortSignal,
  ): Promise<T> {
    checkSignal(signal);
    return (await abortable(this.#ask(method, params), signal)) as T;
  }

  /** Calls a method that opens a subscription, and receives its notifications. */
  async subscribe(
    method: string,
    params: Params,
    listen: (note: Note) => void,
    signal?: AbortSignal,
  ): Promise<number> {
    checkSignal(signal);
    const asked = this.#ask(method, params, listen) as Promise<{ subscription: number }>;
    try {
      return (await abortable(asked, signal)).subscription;
    } catch (error) {
      // One that is aborted is not left open at the node.
      void asked.then(
        ({ subscription }) => this.end(subscription),
        () => undefined,
      );
      throw error;
    }
  }

  /** Ends a subscription, without waiting for the node. */
  end(subscription: number): void {
    this.forget(subscription);
    this.tell("subscription.end", { subscription });
  }

  forget(subscription: number): void {
    this.#listeners.delete(subscription);
  }

  /** Sends a notification. */
  tell(method: string, params: Params): void {
    if (this.#over === undefined) this.#send(encoded({ jsonrpc: "2.0", method, params }));
  }

  #ask(method: string, params: Params, listen?: (note: Note) => void): Promise<unknown> {
    if (this.#over !== undefined) return Promise.reject(this.#over);
    const id = (this.#number += 1);
    return new Promise((resolve, reject) => {
      const text = encoded({ jsonrpc: "2.0", id, method, params });
      this.#waiting.set(id, { resolve, reject, listen });
      this.#send(text);
    });
  }

  /** Sends the messages of one turn in as few frames as possible. */
  #send(text: string): void {
    if (this.#queue.length === 0) queueMicrotask(() => this.#flush());
    this.#queue.push(text);
  }

  #flush(): void {
    let frame: string[] = [];
    let size = 0;
    const send = (): void => {
      if (frame.length > 0 && this.#over === undefined) this.socket.send(`[${frame.join(",")}]`);
      frame = [];
      size = 0;
    };
    for (const text of this.#queue.splice(0)) {
      // A UTF-16 unit takes up to three bytes.
      const bytes = 3 * text.length;
      if (frame.length === FRAME_MESSAGES_MAX || size + bytes > REQUEST_BYTES_MAX) send();
      frame.push(text);
      size += bytes;
    }
    send();
  }

  #receive(data: unknown): void {
    let messages: unknown;
    try {
      messages = JSON.parse(String(data));
    } catch {
      this.#end(closed("the node sent what is no JSON"));
      this.socket.close();
      return;
    }
    for (const message of Array.isArray(messages) ? messages : [messages]) this.#take(message);
  }

  #take(message: { id?: unknown; method?: string; params?: Note["params"] } & Answer): void {
    if (typeof message !== "object" || message === null) return;
    if (typeof message.method === "string") {
      const params = message.params;
      if (params !== undefined) {
        this.#listeners.get(params.subscription)?.({ method: message.method, params });
      }
      return;
    }
    if (message.id === null && message.error !== undefined) {
      // The node could not read a frame, and does not say whose: no answer comes to its calls.
      return this.#fail(unanswered(errorOf(message.error)));
    }
    const waiting = typeof message.id === "number" ? this.#waiting.get(message.id) : undefined;
    if (waiting === undefined) return;
    this.#waiting.delete(message.id as number);
    if (message.error !== undefined) {
      waiting.reject(errorOf(message.error));
      return;
    }
    const subscription = (message.result as { subscription?: number } | undefined)?.subscription;
    if (waiting.listen !== undefined && subscription !== undefined) {
      this.#listeners.set(subscription, waiting.listen);
    }
    waiting.resolve(message.result);
  }

  #end(error: PandaError): void {
    if (this.#over !== undefined) return;
    this.#over = error;
    this.#fail(error);
    this.#ended(error);
  }

  #fail(error: PandaError): void {
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }
}

/** The URL of the WebSocket of a node. Nodes print it with `http`. */
export function addressOf(url: string): URL {
  try {
    const address = new URL(url.replace(/^http/, "ws"));
    // A WebSocket takes none.
    address.hash = "";
    if (address.protocol === "ws:" || address.protocol === "wss:") return address;
  } catch {
    // Reported below.
  }
  throw new PandaError("invalid", `${String(url)} is not the address of a node`, {
    hint: "ws://HOST:PORT/rpc",
  });
}

function encoded(message: object): string {
  let text: string;
  try {
    text = JSON.stringify(message);
  } catch (error) {
    throw new PandaError("invalid", `it has no form in JSON: ${String(error)}`);
  }
  // With the brackets of an array. A UTF-16 unit takes up to three bytes.
  const isLong = 3 * text.length + 2 > REQUEST_BYTES_MAX;
  const bytes = isLong ? new TextEncoder().encode(text).length + 2 : 0;
  if (bytes > REQUEST_BYTES_MAX) {
    const said = `the request has ${bytes} bytes; ${REQUEST_BYTES_MAX} fit`;
    throw new PandaError("too-large", said, { hint: "`upload` takes content in parts" });
  }
  return text;
}

interface Answer {
  result?: unknown;
  error?: RpcErrorFields;
}
interface RpcErrorFields {
  message?: string;
  data?: {
    code?: string;
    hint?: string;
    expected?: { seq: number; backlink?: string };
    reason?: string;
  };
}

/** Why a subscription ended. */
export function endedWith({ params }: Note): PandaError {
  return errorOf(params as RpcErrorFields);
}

/** An error of the RPC. */
export function errorOf({ message, data }: RpcErrorFields): PandaError {
  const details = { hint: data?.hint, expected: data?.expected, reason: data?.reason };
  return new PandaError(data?.code ?? "other", message ?? "the node refused it", details);
}

/** The error of calls to which no answer comes, because the node refused a frame. */
function unanswered({ message }: PandaError): PandaError {
  const what = `it is unknown whether the node carried this out; it refused a frame: ${message}`;
  return new PandaError("unanswered", what, { hint: "publish again with the same `request`" });
}

function closedWith(code: number | undefined): PandaError {
  const why: Record<number, string> = {
    1001: "the node ends",
    1002: "the node says that a frame was against the protocol",
    1008: "the node got no credential in time",
    1009: "the node says that a frame was too large",
  };
  return closed(code === undefined ? undefined : why[code]);
}
