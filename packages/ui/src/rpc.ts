// The RPC of a node over one WebSocket (docs/protocol/rpc.md).

export class RpcError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly hint: string,
  ) {
    super(message);
  }
}

type Params = Record<string, unknown>;
type Waiting = { resolve: (result: never) => void; reject: (error: Error) => void };
export type Note = (method: string, params: Params) => void;
export type Credential = { token: string } | { ticket: string };

/** A connection after `hello`. */
export class Connection {
  private last = 0;
  private readonly waiting = new Map<number, Waiting>();
  private readonly outgoing: string[] = [];

  private constructor(
    private readonly socket: WebSocket,
    private readonly note: Note,
    ended: (error: RpcError) => void,
  ) {
    socket.addEventListener("message", (event) => this.receive(String(event.data)));
    socket.addEventListener("close", (event) => {
      const lost = new RpcError("closed", event.reason || "The node closed the connection.", "");
      for (const { reject } of this.waiting.values()) reject(lost);
      this.waiting.clear();
      ended(lost);
    });
  }

  static async open(
    credential: Credential,
    note: Note,
    ended: (error: RpcError) => void,
  ): Promise<Connection> {
    const url = new URL("/rpc", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url, "panda.v1");
    await new Promise<void>((resolve, reject) => {
      const failed = () => reject(new RpcError("closed", "The node does not answer.", "Is it running?"));
      socket.addEventListener("open", () => resolve(), { once: true });
      socket.addEventListener("error", failed, { once: true });
    });
    const connection = new Connection(socket, note, ended);
    try {
      await connection.call("hello", { rpc: 1, client: "panda-ui", auth: credential });
    } catch (error) {
      socket.close();
      throw error;
    }
    return connection;
  }

  call<T>(method: string, params: Params = {}): Promise<T> {
    if (this.socket.readyState !== WebSocket.OPEN) {
      return Promise.reject(new RpcError("closed", "The connection is closed.", ""));
    }
    this.last += 1;
    const id = this.last;
    // Requests of one turn share a frame, up to its limits.
    if (this.outgoing.length === 0) queueMicrotask(() => this.flush());
    this.outgoing.push(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    return new Promise<T>((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  close(): void {
    this.socket.close();
  }

  private flush(): void {
    while (this.outgoing.length > 0) {
      this.socket.send(`[${this.outgoing.splice(0, 256).join(",")}]`);
    }
  }

  /** The node refused a frame and does not say which: no answer comes to its calls. */
  private fail(why: string): void {
    const what = `It is unknown whether the node did this; it refused a frame: ${why}`;
    const error = new RpcError("unanswered", what, "Load the page again.");
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }

  private receive(text: string): void {
    const frame: unknown = JSON.parse(text);
    for (const message of Array.isArray(frame) ? frame : [frame]) {
      if (typeof message.method === "string") {
        this.note(message.method, message.params ?? {});
        continue;
      }
      if (message.id === null && message.error) {
        this.fail(message.error.message);
        continue;
      }
      const waiting = this.waiting.get(message.id);
      this.waiting.delete(message.id);
      if (message.error) {
        const { message: said, data } = message.error;
        waiting?.reject(new RpcError(data?.code ?? "internal", said, data?.hint ?? ""));
      } else {
        waiting?.resolve(message.result as never);
      }
    }
  }
}
