/** What a browser without storage for this page keeps until the page is closed. */
const meanwhile = new Map<string, string>();

/** Whether the browser refuses to store anything for this page. */
export function refusesStorage(): boolean {
  try {
    localStorage.getItem("");
    return false;
  } catch {
    return true;
  }
}

/** A small setting of the page. */
export function kept(key: string): string | undefined {
  try {
    return localStorage.getItem(key) ?? meanwhile.get(key);
  } catch {
    return meanwhile.get(key);
  }
}

export function keep(key: string, value: string): void {
  meanwhile.set(key, value);
  try {
    localStorage.setItem(key, value);
  } catch {
    // The page says that nothing is kept.
  }
}

export function forget(key: string): void {
  meanwhile.delete(key);
  try {
    localStorage.removeItem(key);
  } catch {
    // There is nothing to remove.
  }
}
