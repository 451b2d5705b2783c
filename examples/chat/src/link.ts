/** The person as which this page writes: two names are two people. */
export const PROFILE: string = new URL(location.href).searchParams.get("profile") ?? "chat";

/** Address of the node that a page at this address talks to: the one that it names, or else its server. */
export function nodeOf(page: URL): string {
  const named = page.searchParams.get("node");
  return named ?? `${page.protocol === "https:" ? "wss" : "ws"}://${page.host}/rpc`;
}

/** The ticket in the part of an address after `#`; undefined if that is malformed. */
export function ticketOf(hash: string): string | undefined {
  try {
    return decodeURIComponent(hash.replace(/^#/, ""));
  } catch {
    return undefined;
  }
}

/** The link to share: for the same node, and for any person. */
export function shared(page: URL): string {
  const link = new URL(page);
  link.searchParams.delete("profile");
  return link.href;
}

/** Where a pasted link leads: into a room of this page's node, to another node, or to another server. */
export type Target = { ticket: string } | { page: string } | { elsewhere: string };

/** Reads a link, also one within a text, or a ticket alone. */
export function targetOf(typed: string, page: URL): Target {
  const text = typed.trim();
  const hash = text.slice(text.indexOf("#") + 1);
  const link = linkIn(text);
  if (link === undefined || nodeOf(link) === nodeOf(page)) return { ticket: hash };
  if (link.origin !== page.origin || link.pathname !== page.pathname) return { elsewhere: link.host };
  const profile = page.searchParams.get("profile");
  if (profile !== null) link.searchParams.set("profile", profile);
  return { page: link.href };
}

function linkIn(text: string): URL | undefined {
  const found = /https?:\/\/\S+/.exec(text)?.[0];
  return found !== undefined && URL.canParse(found) ? new URL(found) : undefined;
}
