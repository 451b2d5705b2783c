/** The lead among the tabs of a name. */
export interface Leadership {
  /** Gives the lead back. */
  resign(): void;
}

export interface Handlers<M> {
  lead(leadership: Leadership): Promise<void>;
  /** Resolves when another tab has taken the lead. */
  lost(): void;
  hear(message: M): void;
}

/** Milliseconds between signs of life of the leader, and after which a silent one is replaced. */
const BEAT_EVERY = 1_000;
const SILENT = 5_000;

/**
 * Elects one of the tabs that share a name, by a Web Lock, and carries messages between them. A
 * single tab leads at once. A frozen leader is replaced; the epoch in the store keeps it from writing
 * afterwards.
 */
export class Election<M> {
  #channel: BroadcastChannel | undefined;
  #abort = new AbortController();
  #beat: ReturnType<typeof setInterval> | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;
  #leads = false;
  #closed = false;
  #resign: () => void = () => undefined;

  constructor(
    readonly name: string | undefined,
    readonly handlers: Handlers<M>,
  ) {
    if (name === undefined) {
      this.#leads = true;
      // The tab that made the election has the lead first.
      queueMicrotask(() => void handlers.lead({ resign: () => undefined }));
      return;
    }
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }: MessageEvent<M | "beat">) => {
      if (data !== "beat") return handlers.hear(data);
      clearTimeout(this.#silence);
      this.#silence = undefined;
    };
    this.#stand();
  }

  tell(message: M | "beat"): void {
    if (!this.#closed) this.#channel?.postMessage(message);
  }

  /** The leader has something to do: it is replaced unless it gives a sign of life. */
  expect(): void {
    if (this.#leads || this.#closed || this.#silence !== undefined) return;
    this.#silence = setTimeout(() => {
      this.#silence = undefined;
      this.#abort.abort();
      this.#abort = new AbortController();
      this.#stand(true);
    }, SILENT);
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#beat);
    clearTimeout(this.#silence);
    this.#abort.abort();
    this.#resign();
    this.#channel?.close();
  }

  #stand(steal = false): void {
    const options = steal ? { steal } : { signal: this.#abort.signal };
    const held = async (): Promise<void> => {
      if (this.#closed) return;
      this.#leads = true;
      const until = new Promise<void>((resolve) => (this.#resign = resolve));
      await this.handlers.lead({ resign: this.#resign });
      this.tell("beat");
      this.#beat = setInterval(() => this.tell("beat"), BEAT_EVERY);
      await until;
    };
    // Rejects when the wait is cancelled and when the lock is stolen.
    const over = navigator.locks.request(this.name!, options, held).catch(() => undefined);
    void over.then(() => {
      const led = this.#leads;
      if (led) this.handlers.lost();
      this.#leads = false;
      clearInterval(this.#beat);
      if (led && !this.#closed) this.#stand();
    });
  }
}
