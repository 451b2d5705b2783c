"""Proof of a key and of an invite (docs/protocol/rpc.md#4). It needs the extra `keys`."""

from __future__ import annotations

import base64
import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ._errors import PandaError

if TYPE_CHECKING:
    from ._client import Client

SCHEME = "panda-access:"
VERSION = 1
CHECKSUM = "p2panda rpc invite checksum v1"
#: Bytes of version, node, id, secret and checksum.
SIZES = (1, 32, 8, 32, 4)
#: Seconds for which a proof is valid; a node accepts up to 60.
PROOF_SECONDS = 50


def _extra(name: str) -> PandaError:
    return PandaError("invalid", f"the package {name} is missing", "pip install 'panda[keys]'")


def new_key() -> bytes:
    """A new key: 32 bytes to keep secret."""
    return os.urandom(32)


@dataclass(frozen=True)
class Invite:
    """An invite to a node, as `panda node invite` prints it."""

    node: str
    id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Invite(node={self.node!r}, id={self.id!r})"

    @classmethod
    def read(cls, text: str) -> Invite:
        """Reads an invite. Raises `PandaError` with the code `invalid`."""
        try:
            from blake3 import blake3
        except ImportError as error:
            raise _extra("blake3") from error
        text = text.strip()
        if not text.startswith(SCHEME):
            raise PandaError("invalid", f"an invite to a node begins with `{SCHEME}`")
        damaged = PandaError(
            "invalid", "a character of the invite is wrong or missing", "copy it again"
        )
        digits = text.removeprefix(SCHEME)
        if len(digits) > 2 * sum(SIZES) or not re.fullmatch("[A-Za-z2-7]+", digits):
            raise damaged
        digits = digits.upper()
        try:
            raw = base64.b32decode(digits + "=" * (-len(digits) % 8))
        except ValueError as error:
            raise damaged from error
        front, checksum = raw[:-4], raw[-4:]
        expected = blake3(front, derive_key_context=CHECKSUM).digest(4)
        is_canonical = base64.b32encode(raw).decode().rstrip("=") == digits
        if not front or checksum != expected or not is_canonical:
            raise damaged
        if front[0] != VERSION:
            raise PandaError(
                "invalid", f"the invite has version {front[0]}", "use a newer version of panda"
            )
        if len(raw) != sum(SIZES):
            raise damaged
        return cls(front[1:33].hex(), front[33:41].hex(), front[41:])

    def proof(self, text: str, key: str) -> bytes:
        """Keyed BLAKE3 of what a key signs, followed by the key."""
        from blake3 import blake3

        return blake3(f"{text}key: {key}\n".encode(), key=self.secret).digest()


def login_text(node: str, authority: str, client: bytes, server: bytes, expires: int) -> str:
    """What a client signs. It begins with a letter, which no header of an operation does."""
    return (
        f"p2panda rpc login 1\nnode: {node}\nauthority: {authority}\n"
        f"client: {client.hex()}\nserver: {server.hex()}\nexpires: {expires}\n"
    )


async def prove(
    client: Client, url: str, seed: bytes, node: str | None, invite: Invite | None
) -> dict[str, Any]:
    """The `auth` of `hello` with a key."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise _extra("cryptography") from error
    if len(seed) != 32:
        raise PandaError("invalid", "a key has 32 bytes", "panda.new_key() makes one")
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key().public_bytes_raw().hex()
    challenge = await client.call("auth.challenge")
    for meant in (node, invite and invite.node):
        if meant is not None and meant != challenge["node"]:
            raise PandaError("other-node", f"this is the node {challenge['node']}, not {meant}")
    server, nonce = base64.b64decode(challenge["nonce"]), os.urandom(32)
    if len(server) != 32:
        raise PandaError("closed", "the challenge of the node is none")
    # The node's clock, since ours may be wrong: its nonce makes the proof valid once at any time.
    expires = int(challenge.get("now") or time.time()) + PROOF_SECONDS
    text = login_text(challenge["node"], urlsplit(url).netloc, nonce, server, expires)
    proof: dict[str, Any] = {
        "key": public,
        "nonce": base64.b64encode(nonce).decode(),
        "expires": expires,
        "signature": base64.b64encode(key.sign(text.encode())).decode(),
    }
    if invite is not None:
        shown = base64.b64encode(invite.proof(text, public)).decode()
        proof["invite"] = {"id": invite.id, "proof": shown}
    return {"key": proof}
