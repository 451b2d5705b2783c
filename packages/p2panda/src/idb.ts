import { PandaError } from "./errors.js";
import {
  compare,
  TABLES,
  type Key,
  type RangeOptions,
  type Reader,
  type Store,
  type Table,
  type Writer,
} from "./store.js";

/** Version of the tables. A page with an older package closes when a newer one opens. */
const VERSION = 4;

/** A store in IndexedDB. */
export class IdbStore implements Store {
  onTaken: ((isWiped: boolean) => void) | undefined;

  private constructor(
    readonly name: string,
    readonly database: IDBDatabase,
  ) {
    database.onversionchange = ({ newVersion }) => {
      database.close();
      this.onTaken?.(newVersion === null);
    };
  }

  static async open(name: string): Promise<IdbStore> {
    try {
      // Some browsers refuse at once.
      const request = indexedDB.open(name, VERSION);
      request.onupgradeneeded = () => {
        for (const table of TABLES) {
          if (!request.result.objectStoreNames.contains(table))
            request.result.createObjectStore(table);
        }
      };
      return new IdbStore(name, await done(request));
    } catch (error) {
      throw refused(error);
    }
  }

  read<T>(work: (reader: Reader) => Promise<T>): Promise<T> {
    return this.#run("readonly", work);
  }

  write<T>(
    work: (writer: Writer) => Promise<T>,
    durability: IDBTransactionDurability = "strict",
  ): Promise<T> {
    return this.#run("readwrite", work, durability);
  }

  close(): void {
    this.onTaken = undefined;
    this.database.close();
  }

  async wipe(): Promise<void> {
    this.close();
    await done(indexedDB.deleteDatabase(this.name)).catch((error: unknown) => {
      throw refused(error);
    });
  }

  async #run<T>(
    mode: IDBTransactionMode,
    work: (writer: Writer) => Promise<T>,
    durability: IDBTransactionDurability = "default",
  ): Promise<T> {
    try {
      const transaction = this.database.transaction(TABLES, mode, { durability });
      const committed = new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve();
        transaction.onabort = () =>
          reject(transaction.error ?? new DOMException("", "AbortError"));
      });
      // The caller that awaits the result gets the error.
      committed.catch(() => undefined);
      let result: T;
      try {
        result = await work(writer(transaction));
      } catch (error) {
        if (mode === "readwrite") abort(transaction);
        throw error;
      }
      // Otherwise it waits until every answer has been delivered.
      if (mode === "readwrite") commit(transaction);
      await committed;
      return result;
    } catch (error) {
      throw refused(error);
    }
  }
}

function writer(transaction: IDBTransaction): Writer {
  const table = (name: Table): IDBObjectStore => transaction.objectStore(name);
  return {
    get: (name, key) => done(table(name).get(key as IDBValidKey)),
    async range<T>(name: Table, from: Key, to: Key, options: RangeOptions = {}): Promise<T[]> {
      // IndexedDB refuses an empty range.
      if (compare(from, to) > 0) return [];
      // Arrays sort after texts, so this bound is above every key that begins with `to`.
      const keys = IDBKeyRange.bound(from, [...to, []]);
      if (options.backwards !== true) return done(table(name).getAll(keys, options.limit));
      const found: T[] = [];
      const request = table(name).openCursor(keys, "prev");
      const limit = options.limit ?? Infinity;
      return new Promise((resolve, reject) => {
        request.onerror = () => reject(request.error);
        request.onsuccess = () => {
          const cursor = request.result;
          if (cursor === null) return resolve(found);
          found.push(cursor.value as T);
          if (found.length >= limit) resolve(found);
          else cursor.continue();
        };
      });
    },
    put: (name, key, value) => void table(name).put(value, key as IDBValidKey),
    delete: (name, key) => void table(name).delete(key as IDBValidKey),
  };
}

function commit(transaction: IDBTransaction): void {
  try {
    transaction.commit();
  } catch {
    // It commits by itself, or has ended already.
  }
}

function abort(transaction: IDBTransaction): void {
  try {
    transaction.abort();
  } catch {
    // The transaction has ended already.
  }
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function refused(error: unknown): unknown {
  if (!(error instanceof DOMException)) return error;
  switch (error.name) {
    case "QuotaExceededError":
      return new PandaError("storage-full", "the browser gives no more storage", {
        hint: "free some, or let the browser keep this site's data",
      });
    case "VersionError":
      return new PandaError("newer-version", "a newer version of this page has been here", {
        hint: "reload the page",
      });
    case "InvalidStateError":
      return new PandaError("closed", "the storage was closed");
    default:
      return new PandaError(
        "storage",
        `the browser's storage refuses: ${error.message || error.name}`,
      );
  }
}
