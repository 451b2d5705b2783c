"""Keys and invites, against a real process and the vector that all clients share."""

from __future__ import annotations

import json
import tempfile
import unittest

import panda
from panda._key import login_text

from test_scenario import ADMIN, ROOT, Server

VECTOR = json.loads((ROOT / "vectors/rpc-invite.json").read_text())
TOPIC = "05" * 32


class Format(unittest.TestCase):
    def test_invites_and_their_proofs_are_those_of_the_vector(self) -> None:
        invite = panda.Invite.read(f" {VECTOR['invite'].upper().replace('PANDA-ACCESS', 'panda-access')}\n")
        self.assertEqual((invite.node, invite.id), (VECTOR["node"], VECTOR["id"]))
        self.assertEqual(invite.secret.hex(), VECTOR["secret"])
        self.assertNotIn(VECTOR["secret"], repr(invite))
        client, server = (bytes.fromhex(VECTOR[name]) for name in ("client", "server"))
        text = login_text(VECTOR["node"], VECTOR["authority"], client, server, VECTOR["expires"])
        self.assertEqual(text, VECTOR["text"])
        self.assertEqual(invite.proof(text, VECTOR["key"]).hex(), VECTOR["proof"])

    def test_what_is_no_invite_is_refused(self) -> None:
        for wrong in VECTOR["wrong"]:
            with self.subTest(wrong=wrong), self.assertRaises(panda.PandaError) as refused:
                panda.Invite.read(wrong["invite"])
            self.assertEqual(refused.exception.code, "invalid")


class Invited(unittest.IsolatedAsyncioTestCase):
    def serve(self) -> Server:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        server = Server(directory.name, "--unknown-keys", "invite")
        self.addCleanup(server.end)
        return server

    async def refused(self, code: str, url: str, **credential: object) -> None:
        with self.assertRaises(panda.PandaError) as refused:
            await panda.connect(url, **credential)  # type: ignore[arg-type]
        self.assertEqual(refused.exception.code, code)

    async def test_a_key_with_an_invite_is_admitted_and_then_known(self) -> None:
        server = self.serve()
        async with await panda.connect(server.url, token=ADMIN) as root:
            made = await root.call("access.invite", {"topics": [TOPIC]})
        invite, key = made["invite"], panda.new_key()
        await self.refused("unauthenticated", server.url, key=key)
        await self.refused("invalid", server.url, invite=invite)
        await self.refused("invalid", server.url, key=key, invite=invite[:-1])
        async with await panda.connect(server.url, key=key, invite=invite) as client:
            self.assertEqual(client.hello["scopes"], ["read", "relay"])
            await client.call("topic.status", {"topic": TOPIC})
        for credential in ({}, {"invite": invite}):
            async with await panda.connect(server.url, key=key, **credential):
                pass
        # It admits one key, and only at its own node.
        await self.refused("unauthenticated", server.url, key=panda.new_key(), invite=invite)
        other = self.serve()
        await self.refused("other-node", other.url, key=key, invite=invite)
        await self.refused("other-node", server.url, key=key, node="00" * 32)


if __name__ == "__main__":
    unittest.main()
