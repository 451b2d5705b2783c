"""Cancelled tasks, lost and closed streams, bad input, and what peers do not keep, against a real process."""

from __future__ import annotations

import asyncio
import gc
import tempfile
import unittest
from collections.abc import Coroutine
from typing import Any

import panda

from test_scenario import ADMIN, ALICE, PATIENCE, Server

TOPIC = "05" * 32
MEMBER = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


class Endings(unittest.IsolatedAsyncioTestCase):
    def serve(self, *options: str) -> Server:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        server = Server(directory.name, *options)
        self.addCleanup(server.end)
        return server

    async def connect(self, server: Server, token: str = ALICE) -> panda.Client:
        client = await panda.connect(server.url, token=token)
        self.addAsyncCleanup(client.close)
        return client

    async def topic(self, server: Server, *texts: str) -> panda.Topic:
        """A topic with messages."""
        async with await panda.connect(server.url, token=ADMIN) as root:
            alias = (await root.call("topic.keep", {"topic": TOPIC, "keep": True}))["alias"]
        topic = (await self.connect(server)).topic(alias)
        if texts:
            await topic.publish_all(texts)
        return topic

    async def refused(self, code: str, work: Coroutine[Any, Any, Any]) -> panda.PandaError:
        with self.assertRaises(panda.PandaError) as raised:
            await asyncio.wait_for(work, PATIENCE)
        self.assertEqual(raised.exception.code, code, raised.exception)
        return raised.exception

    async def cancelled(self, work: Coroutine[Any, Any, Any]) -> None:
        """Begins something, and gives up before there is an answer."""
        task = asyncio.create_task(work)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task

    async def test_a_cancelled_task_loses_no_message(self) -> None:
        topic = await self.topic(self.serve(), "one")
        stream = topic.stream("x")
        # The node opens the consumer for a task that is gone.
        await self.cancelled(stream.__anext__())
        one = await asyncio.wait_for(anext(stream), PATIENCE)
        self.assertEqual((one.text, one.count), ("one", 1))
        await self.cancelled(stream.__anext__())
        await topic.publish("two")
        two = await asyncio.wait_for(anext(stream), PATIENCE)
        self.assertEqual((two.text, two.count), ("two", 1))
        # An acknowledgement that was sent counts, and may be repeated.
        await self.cancelled(one.ack())
        for message in (one, one, two):
            await message.ack()
        lag = await topic.client.call("consumer.show", {"consumer": "x"})
        self.assertEqual(lag["lag_messages"], 0)
        await stream.close()

    async def test_a_stream_that_is_lost_gives_its_consumer_back(self) -> None:
        topic = await self.topic(self.serve(), "one", "two")
        async for message in topic.stream("x"):
            await message.ack()
            break
        await self.refused("consumer-in-use", topic.stream("x").__anext__())
        # A message needs its stream; this was the last one.
        del message
        gc.collect()
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    async with topic.stream("x") as stream:
                        self.assertEqual((await anext(stream)).text, "two")
                    break
                except panda.PandaError as error:
                    self.assertEqual(error.code, "consumer-in-use")

    async def test_a_closed_stream_ends_what_reads_it(self) -> None:
        topic = await self.topic(self.serve(), "one", "two")
        stream = topic.stream("x")
        one = await anext(stream)
        await stream.close()
        await stream.close()
        self.assertEqual([message async for message in stream], [])
        await self.refused("closed", one.ack())
        # Also one that waits for its first message, and one that nobody has opened.
        waiting = topic.stream("x", start="now")
        reading = asyncio.create_task(anext(waiting, None))
        await asyncio.sleep(0)
        await waiting.close()
        self.assertIsNone(await asyncio.wait_for(reading, PATIENCE))
        unopened = topic.stream("x")
        await unopened.close()
        self.assertIsNone(await anext(unopened, None))
        # The consumer is free at once.
        async with topic.stream("x", start="beginning") as again:
            self.assertEqual((await anext(again)).text, "one")
        live = topic.stream()
        await anext(live)
        await topic.client.close()
        await anext(live)
        await self.refused("closed", live.__anext__())
        await live.close()

    async def test_what_cannot_be_sent_is_refused_and_the_client_goes_on(self) -> None:
        topic = await self.topic(self.serve())
        for content, code in [
            ({"a": float("nan")}, "invalid"),
            ({1, 2}, "invalid"),
            ("\ud83d", "invalid"),
            ("x" * 1024 * 1024, "too-large"),
        ]:
            await self.refused(code, topic.publish(content))  # type: ignore[arg-type]
        for settings in ({"take_over": True}, {"ack_wait_ms": 5}):
            with self.assertRaises(panda.PandaError):
                topic.stream(**settings)  # type: ignore[arg-type]
        self.assertEqual((await topic.publish("x" * 1000 * 1000))["seq"], 0)
        # The node does not say which call a frame belongs to that it cannot read.
        params = {"topic": topic.name, "wait_ms": 1000 * PATIENCE}
        waiting = asyncio.create_task(topic.client.call("topic.delivered", params))
        await asyncio.sleep(0)
        await topic.client._transport.send(b"{")
        with self.assertRaises(panda.PandaError) as raised:
            await waiting
        self.assertEqual(raised.exception.code, "unanswered")
        self.assertIn("not JSON", raised.exception.message)
        self.assertEqual((await topic.publish("y"))["seq"], 1)

    async def test_addresses_are_those_of_the_rpc(self) -> None:
        server = self.serve()
        origin = server.url.removeprefix("ws://").removesuffix("/rpc")
        for address in (f"ws://{origin}", f"http://{origin}/rpc"):
            async with await panda.connect(address, token=ALICE) as client:
                self.assertEqual(client.hello["name"], "alice")
        for address, code in [
            ("ftp://127.0.0.1/rpc", "invalid"),
            ("ws://[::1", "invalid"),
            ("ws:///rpc", "invalid"),
            (f"ws://{origin}/healthz", "closed"),
        ]:
            await self.refused(code, panda.connect(address, token=ALICE))

    async def test_what_a_peer_does_not_keep_is_told(self) -> None:
        server = self.serve()
        topic = await self.topic(server)
        async with await panda.connect(server.unix) as local:
            status = await local.call("node.status")
        peer = f"{status['node']}@{status['addrs'][0]}"
        keeper = self.serve("--author-bytes", "1500", "--peer", peer)
        await self.topic(keeper)
        async with topic.client.events() as events:
            wait = {"stored": 1, "timeout_ms": 1000 * PATIENCE}
            first = await topic.publish("a" * 1000, **wait)  # type: ignore[arg-type]
            self.assertEqual((first["waited"], first["not_kept"]), (True, []))
            second = await topic.publish("b" * 1000, **wait)  # type: ignore[arg-type]
            self.assertFalse(second["waited"])
            log = second["not_kept"][0]
            self.assertEqual((log["node"], log["from"], log["quota"]), (first["held_by"][0], 1, "author"))
            self.assertEqual(await topic.not_kept(), [log])
            self.assertEqual((await topic.client.trace(second["id"]))["not_kept"], [log])
            async with asyncio.timeout(PATIENCE):
                async for event in events:
                    if event.name == "not-kept":
                        break
            self.assertEqual((event.topic, event.peer), (topic.name, log["node"]))

    async def test_teams_are_made_changed_and_added(self) -> None:
        server = self.serve()
        client = await self.connect(server, ADMIN)
        team = await client.create_team("night shift")
        await team.add(MEMBER, "reader")
        info = await team.info()
        self.assertEqual((info["name"], info["manages"]), ("night shift", True))
        self.assertIn({"member": MEMBER, "role": "reader"}, info["members"])
        space = await client.create_space("Ward")
        await space.add(team.id, "reader")
        self.assertEqual([one["team"] for one in await space.teams()], [team.id])
        await team.remove(MEMBER)
        await self.refused("not-found", client.team(MEMBER).info())

        def work() -> list[str]:
            with panda.sync.connect(server.unix) as client:
                made = client.create_team("day shift")
                made.add(MEMBER)
                made.remove(MEMBER)
                self.assertEqual(made.info()["name"], "day shift")
                with client.events() as events:
                    events.close()
                    self.assertEqual(list(events), [])
            # Closed once more, and used afterwards.
            client.close()
            with self.assertRaises(panda.PandaError) as raised:
                client.teams()
            return [raised.exception.code]

        self.assertEqual(await asyncio.to_thread(work), ["closed"])


if __name__ == "__main__":
    unittest.main()
