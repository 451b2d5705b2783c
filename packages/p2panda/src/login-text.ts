import { toHex } from "./bytes.js";

/**
 * What a client signs to prove its key (docs/protocol/rpc.md#4). It is built here and begins with a
 * letter, which no header of an operation does.
 */
export function loginText(
  node: string,
  authority: string,
  client: Uint8Array,
  server: Uint8Array,
  expires: number,
): string {
  return (
    `p2panda rpc login 1\nnode: ${node}\nauthority: ${authority}\n` +
    `client: ${toHex(client)}\nserver: ${toHex(server)}\nexpires: ${expires}\n`
  );
}
