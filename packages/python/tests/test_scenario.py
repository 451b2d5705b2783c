"""The scenario for all clients, and tests of the Python client, against a real process."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any

import panda

ROOT = Path(__file__).resolve().parents[3]
SERVER = shlex.split(
    os.environ.get("PANDA_TEST_SERVER", str(ROOT / "target/debug/examples/serve"))
)
ALICE, ADMIN = "token-of-alice", "token-of-root"
#: Longer than anything takes; reaching it is a failure.
PATIENCE = 60


class Server:
    """A process that serves a directory."""

    def __init__(self, directory: str, *options: str) -> None:
        self.process = subprocess.Popen(
            [*SERVER, directory, *options], stdout=subprocess.PIPE, text=True, env={**os.environ}
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("listening "):
                _, address, self.unix = line.split()
                self.url = f"ws://{address}/rpc"
                return
        raise AssertionError("the server does not listen")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Scenario(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.server: Server | None = None
        self.saved: dict[str, str] = {}
        self.addCleanup(lambda: self.server and self.server.end())

    def start(self) -> Server:
        self.server = Server(self.directory)
        return self.server

    async def keep(self, topic: str) -> str:
        assert self.server is not None
        async with await panda.connect(self.server.url, token=ADMIN) as root:
            alias: str = (await root.call("topic.keep", {"topic": topic, "keep": True}))["alias"]
            return alias

    async def test_scenario_of_every_client(self) -> None:
        scenario = json.loads((ROOT / "vectors/rpc-scenario.json").read_text())
        self.topic: str = scenario["topic"]
        self.client: panda.Client | None = None
        for step in scenario["steps"]:
            with self.subTest(step=step):
                work = getattr(self, f"do_{step['do']}")
                try:
                    await asyncio.wait_for(work(step), PATIENCE)
                except panda.PandaError as error:
                    self.assertEqual(error.code, step.get("error"), error)
                else:
                    self.assertNotIn("error", step, "it was not refused")

    async def do_start(self, _: dict[str, Any]) -> None:
        self.start()

    async def do_keep(self, _: dict[str, Any]) -> None:
        self.topic = await self.keep(self.topic)

    async def do_connect(self, _: dict[str, Any]) -> None:
        assert self.server is not None
        if self.client is not None:
            await self.client.close()
        self.client = await panda.connect(self.server.url, token=ALICE)
        self.addAsyncCleanup(self.client.close)

    def to(self) -> panda.Topic:
        assert self.client is not None
        return self.client.topic(self.topic)

    async def do_publish(self, step: dict[str, Any]) -> None:
        published = await self.to().publish(step["text"], request=step.get("request"))
        if "same" in step:
            self.assertEqual(self.saved[step["same"]], published["id"])
        if "save" in step:
            self.saved[step["save"]] = published["id"]

    async def do_batch(self, step: dict[str, Any]) -> None:
        await self.to().publish_all(step["texts"])

    async def do_stream(self, step: dict[str, Any]) -> None:
        async with self.to().stream(step["consumer"], take_over=True) as stream:
            for place, expected in enumerate(step["expect"]):
                message = await anext(stream)
                self.assertEqual(message.text, expected)
                if place < step["ack"]:
                    await message.ack()

    async def do_call(self, step: dict[str, Any]) -> None:
        assert self.client is not None
        await self.client.call(step["method"], step["params"])

    async def do_kill(self, _: dict[str, Any]) -> None:
        assert self.server is not None and self.client is not None
        self.server.end()
        await self.client.closed()

    async def do_stop(self, _: dict[str, Any]) -> None:
        assert self.server is not None
        async with await panda.connect(self.server.url, token=ADMIN) as root:
            await root.call("node.shutdown")
        self.assertEqual(self.server.process.wait(PATIENCE), 0)

    async def test_unix_socket_has_all_scopes_and_large_streams_flow(self) -> None:
        server = self.start()
        alias = await self.keep("05" * 32)
        async with await panda.connect(server.unix) as client:
            self.assertIn("admin", client.hello["scopes"])
            topic = client.topic(alias)
            # Several times what may be in flight without credit.
            for first in range(0, 1_000, 100):
                await topic.publish_all(f"{number} {'x' * 500}" for number in range(first, first + 100))
            count = 0
            async for message in topic.stream():
                self.assertTrue((message.text or "").startswith(f"{count} "))
                count += 1
                if count == 1_000:
                    break
            await topic.publish(b"\x00\xff")
            await topic.publish({"a": [1, 2.5, None]})
            page = await topic.read(after=message.offset)
            self.assertEqual(page[0].bytes, b"\x00\xff")
            self.assertIsNotNone(page[1].cbor)
            with self.assertRaises(panda.PandaError) as raised:
                await page[0].ack()
            self.assertEqual(raised.exception.code, "invalid")

    async def test_wrong_token_and_no_server(self) -> None:
        server = self.start()
        for address, token, code in [
            (server.url, "wrong", "unauthenticated"),
            ("ws://127.0.0.1:1/rpc", ALICE, "closed"),
            (self.directory + "/nothing", None, "closed"),
        ]:
            with self.assertRaises(panda.PandaError) as raised:
                await panda.connect(address, token=token)
            self.assertEqual(raised.exception.code, code)

    async def test_spaces_are_made_changed_and_read(self) -> None:
        server = self.start()
        member = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        async with await panda.connect(server.url, token=ADMIN) as client:
            space = await client.create_space("crew")
            await space.add(member, "reader")
            await space.set_role(member, "editor")
            roles = {one["member"]: one["role"] for one in await space.members()}
            self.assertEqual(roles, {client.hello["node"]: "owner", member: "editor"})
            self.assertIn("editor", (await space.why(member))["why"])
            invite = await space.invite("reader", uses=2)
            self.assertTrue(invite["ticket"].startswith("panda:"))
            await space.revoke(invite["invite"])
            self.assertTrue((await space.invites())[0]["revoked"])
            await space.publish_all(["one", {"two": 2}])
            texts = []
            async with space.stream("x") as stream:
                while len(texts) < 2:
                    message = await anext(stream)
                    await message.ack()
                    if "change" not in message.fields:
                        texts.append(message.text)
            self.assertEqual(texts, ["one", None])
            await space.remove(member)
            await space.rename("Crew")
            await space.raise_suite(2)
            await space.rotate()
            for days in (30, None):
                await space.rotate_every(days)
                self.assertEqual([one.get("rotation_days") for one in await client.spaces()], [days])
            await space.heal()
            self.assertEqual(await space.lacking(), [])
            listed = [(one["name"], one["role"], one["scheme"], one["suite"]) for one in await client.spaces()]
            self.assertEqual(listed, [("Crew", "owner", "data", 2)])
            refused = [(space.leave(), "invalid"), (space.raise_suite(3), "invalid")]
            for work, code in [*refused, (client.space("05" * 32).publish("no"), "not-found")]:
                with self.assertRaises(panda.PandaError) as raised:
                    await work
                self.assertEqual(raised.exception.code, code)

        def work() -> list[str]:
            with panda.sync.connect(server.unix) as client:
                space = client.create_space("sync")
                space.add(member)
                space.publish("hi")
                space.remove(member)
                follows = client.follow_space("05" * 32, own_key=True)
                self.assertEqual([one["topic"] for one in client.spaces() if "own_key" in one], [follows.name])
                return [space.why(member)["why"], *(one["topic"] for one in client.spaces()), follows.name]

        why, *topics, follows = await asyncio.to_thread(work)
        self.assertIn(member, why)
        self.assertEqual((len(topics), follows in topics), (3, True))

    async def test_devices_are_linked_and_revoked(self) -> None:
        server = self.start()
        async with await panda.connect(server.url, token=ADMIN) as client:
            self.assertEqual(await client.devices(), [])
            link = await client.link_device(contact=True)
            self.assertEqual((len(link.code), link.ticket[:6]), (26, "panda:"))
            await link.refuse()
            failing = [
                (link.digits(), "invalid"),
                (link.confirm("000000"), "invalid"),
                (client.revoke_device(client.hello["node"]), "invalid"),
                (client.accept_device("none"), "invalid-params"),
            ]
            for work, code in failing:
                with self.assertRaises(panda.PandaError) as raised:
                    await work
                self.assertEqual(raised.exception.code, code)

        def work() -> int:
            with panda.sync.connect(server.unix) as client:
                link = client.link_device()
                link.refuse()
                return len(client.devices())

        self.assertEqual(await asyncio.to_thread(work), 0)

    async def test_without_asyncio(self) -> None:
        server = self.start()
        alias = await self.keep("05" * 32)

        def work() -> str | None:
            with panda.sync.connect(server.url, token=ALICE) as client:
                topic = client.topic(alias)
                topic.publish("hi")
                with topic.stream("x") as stream:
                    message = next(stream)
                    message.ack()
                    return message.text

        self.assertEqual(await asyncio.to_thread(work), "hi")


if __name__ == "__main__":
    unittest.main()
