"""The client without asyncio: a separate thread runs the asynchronous client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, TypeVar

from . import _client
from ._client import Content

T = TypeVar("T")


class _Loop:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="panda", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


def connect(address: str, **credential: Any) -> Client:
    """As `panda.connect`."""
    loop = _Loop()
    try:
        return Client(loop, loop.run(_client.connect(address, **credential)))
    except BaseException:
        loop.end()
        raise


class Client:
    """As `panda.Client`."""

    def __init__(self, loop: _Loop, client: _client.Client) -> None:
        self._loop = loop
        self._client = client
        self.hello = client.hello

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._loop.run(self._client.close())
        self._loop.end()

    def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        return self._loop.run(self._client.call(method, params))

    def topic(self, topic: str) -> Topic:
        return Topic(self._loop, self._client.topic(topic))

    def space(self, topic: str) -> Space:
        return Space(self._loop, self._client.space(topic))

    def spaces(self) -> list[dict[str, Any]]:
        return self._loop.run(self._client.spaces())

    def create_space(self, name: str = "", **options: Any) -> Space:
        return Space(self._loop, self._loop.run(self._client.create_space(name, **options)))

    def join_space(self, ticket: str) -> Space:
        return Space(self._loop, self._loop.run(self._client.join_space(ticket)))

    def follow_space(self, topic: str) -> Space:
        return Space(self._loop, self._loop.run(self._client.follow_space(topic)))

    def devices(self) -> list[dict[str, Any]]:
        return self._loop.run(self._client.devices())

    def link_device(self, *, contact: bool = False) -> DeviceLink:
        return DeviceLink(self._loop, self._loop.run(self._client.link_device(contact=contact)))

    def accept_device(self, code: str) -> DeviceLink:
        return DeviceLink(self._loop, self._loop.run(self._client.accept_device(code)))

    def revoke_device(self, device: str) -> None:
        self._loop.run(self._client.revoke_device(device))


class DeviceLink:
    """As `panda.DeviceLink`."""

    def __init__(self, loop: _Loop, link: _client.DeviceLink) -> None:
        self._loop = loop
        self._link = link
        self.code, self.ticket = link.code, link.ticket

    def digits(self) -> str:
        return self._loop.run(self._link.digits())

    def confirm(self, digits: str) -> str:
        return self._loop.run(self._link.confirm(digits))

    def linked(self) -> str:
        return self._loop.run(self._link.linked())

    def refuse(self) -> None:
        self._loop.run(self._link.refuse())


class Topic:
    """As `panda.Topic`."""

    def __init__(self, loop: _Loop, topic: _client.Topic) -> None:
        self._loop = loop
        self._topic = topic

    def publish(self, content: Content, **options: Any) -> dict[str, Any]:
        return self._loop.run(self._topic.publish(content, **options))

    def publish_all(self, contents: Iterable[Content]) -> list[dict[str, Any]]:
        return self._loop.run(self._topic.publish_all(contents))

    def read(self, after: int = 0, limit: int = 512) -> list[_client.Message]:
        return self._loop.run(self._topic.read(after, limit))

    def status(self) -> dict[str, Any]:
        return self._loop.run(self._topic.status())

    def stream(self, consumer: str | None = None, **options: Any) -> Stream:
        return Stream(self._loop, self._topic.stream(consumer, **options))


class Space(Topic):
    """As `panda.Space`."""

    def __init__(self, loop: _Loop, space: _client.Space) -> None:
        super().__init__(loop, space)
        self._space = space
        self.name = space.name

    def members(self, at: str | None = None) -> list[dict[str, Any]]:
        return self._loop.run(self._space.members(at))

    def invite(self, role: str = "editor", **options: Any) -> dict[str, Any]:
        return self._loop.run(self._space.invite(role, **options))

    def invites(self) -> list[dict[str, Any]]:
        return self._loop.run(self._space.invites())

    def revoke(self, invite: str) -> None:
        self._loop.run(self._space.revoke(invite))

    def add(self, member: str, role: str = "editor") -> None:
        self._loop.run(self._space.add(member, role))

    def set_role(self, member: str, role: str) -> None:
        self._loop.run(self._space.set_role(member, role))

    def remove(self, *members: str) -> None:
        self._loop.run(self._space.remove(*members))

    def leave(self) -> None:
        self._loop.run(self._space.leave())

    def rename(self, name: str) -> None:
        self._loop.run(self._space.rename(name))

    def rotate(self) -> None:
        self._loop.run(self._space.rotate())

    def heal(self) -> None:
        self._loop.run(self._space.heal())

    def why(self, member: str) -> dict[str, Any]:
        return self._loop.run(self._space.why(member))

    def lacking(self) -> list[str]:
        return self._loop.run(self._space.lacking())


class Stream:
    """As `panda.Stream`."""

    def __init__(self, loop: _Loop, stream: _client.Stream) -> None:
        self._loop = loop
        self._stream = stream

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        return Message(self._loop, self._loop.run(self._stream.__anext__()))

    def close(self) -> None:
        self._loop.run(self._stream.close())


class Message:
    """As `panda.Message`. `fields` has all its fields."""

    def __init__(self, loop: _Loop, message: _client.Message) -> None:
        self._loop = loop
        self._message = message
        self.fields = message.fields
        self.text = message.text
        self.bytes = message.bytes
        self.cbor = message.cbor

    def ack(self) -> None:
        self._loop.run(self._message.ack())

    def nak(self, delay_ms: int | None = None) -> None:
        self._loop.run(self._message.nak(delay_ms))

    def term(self, reason: str = "") -> None:
        self._loop.run(self._message.term(reason))

    def progress(self) -> None:
        self._loop.run(self._message.progress())
