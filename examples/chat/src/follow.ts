/** Pixels from the end at which a reader still reads the end. */
const NEAR = 40;

/** A list that stays at its end while its reader is there, however its items grow. */
export class Follow {
  #isAtEnd = true;
  #top = 0;
  readonly #growth = new ResizeObserver(() => this.settle());
  readonly #abort = new AbortController();

  constructor(readonly list: HTMLElement) {
    this.#growth.observe(list);
    list.addEventListener("scroll", () => this.#scrolled(), { signal: this.#abort.signal });
    this.settle();
  }

  /** Whether the reader is at the end. */
  get isAtEnd(): boolean {
    return this.#isAtEnd;
  }

  /** Follows an item, which may grow later. */
  watch(item: Element): void {
    this.#growth.observe(item);
  }

  unwatch(item: Element): void {
    this.#growth.unobserve(item);
  }

  /** Goes to the end and follows it. */
  toEnd(): void {
    this.#isAtEnd = true;
    this.settle();
  }

  /** The items have changed. */
  settle(): void {
    if (this.#isAtEnd) this.list.scrollTop = this.list.scrollHeight;
    this.#top = this.list.scrollTop;
  }

  close(): void {
    this.#growth.disconnect();
    this.#abort.abort();
  }

  /** What grows moves the end away without any scrolling: only who scrolls back leaves the end. */
  #scrolled(): void {
    const { scrollHeight, scrollTop, clientHeight } = this.list;
    if (scrollHeight - scrollTop - clientHeight < NEAR) this.#isAtEnd = true;
    else if (scrollTop < this.#top) this.#isAtEnd = false;
    this.#top = scrollTop;
  }
}
