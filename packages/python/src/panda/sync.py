"""The client without asyncio: a separate thread runs the asynchronous client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from . import _client, _stream
from ._client import Content
from ._errors import closed
from ._types import Event, NotKept, Published, Sent, TeamInfo, TopicStatus, Trace

T = TypeVar("T")


class _Loop:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="panda", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        if self.loop.is_closed():
            work.close()
            raise closed("the client was closed")
        running = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return running.result()
        except BaseException:
            # An interrupted call must not take a message that nobody gets.
            running.cancel()
            raise

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
        if self._loop.loop.is_closed():
            return
        self._loop.run(self._client.close())
        self._loop.end()

    def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        return self._loop.run(self._client.call(method, params))

    def topic(self, topic: str) -> Topic:
        return Topic(self._loop, self._client.topic(topic))

    def space(self, topic: str) -> Space:
        return Space(self._loop, self._client.space(topic))

    def events(self) -> Events:
        return Events(self._loop, self._client.events())

    def trace(self, id: str) -> Trace:
        return self._loop.run(self._client.trace(id))

    def teams(self) -> list[TeamInfo]:
        return self._loop.run(self._client.teams())

    def create_team(self, name: str = "") -> Team:
        return Team(self._loop, self._loop.run(self._client.create_team(name)))

    def team(self, team: str) -> Team:
        return Team(self._loop, self._client.team(team))

    def spaces(self) -> list[dict[str, Any]]:
        return self._loop.run(self._client.spaces())

    def create_space(self, name: str = "", **options: Any) -> Space:
        return Space(self._loop, self._loop.run(self._client.create_space(name, **options)))

    def join_space(self, ticket: str, **options: Any) -> Space:
        return Space(self._loop, self._loop.run(self._client.join_space(ticket, **options)))

    def follow_space(self, topic: str, **options: Any) -> Space:
        return Space(self._loop, self._loop.run(self._client.follow_space(topic, **options)))

    def devices(self) -> list[dict[str, Any]]:
        return self._loop.run(self._client.devices())

    def link_device(self, *, contact: bool = False) -> DeviceLink:
        return DeviceLink(self._loop, self._loop.run(self._client.link_device(contact=contact)))

    def accept_device(self, code: str) -> DeviceLink:
        return DeviceLink(self._loop, self._loop.run(self._client.accept_device(code)))

    def revoke_device(self, device: str) -> None:
        self._loop.run(self._client.revoke_device(device))


class Team:
    """As `panda.Team`."""

    def __init__(self, loop: _Loop, team: _client.Team) -> None:
        self._loop = loop
        self._team = team
        self.id = team.id

    def info(self) -> TeamInfo:
        return self._loop.run(self._team.info())

    def add(self, member: str, role: str = "editor") -> None:
        self._loop.run(self._team.add(member, role))

    def remove(self, member: str) -> None:
        self._loop.run(self._team.remove(member))


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

    def publish(self, content: Content, **options: Any) -> Published:
        return self._loop.run(self._topic.publish(content, **options))

    def publish_all(self, contents: Iterable[Content]) -> Sequence[Sent]:
        return self._loop.run(self._topic.publish_all(contents))

    def read(self, after: int = 0, limit: int = 512) -> list[_stream.Message]:
        return self._loop.run(self._topic.read(after, limit))

    def status(self) -> TopicStatus:
        return self._loop.run(self._topic.status())

    def not_kept(self) -> list[NotKept]:
        return self._loop.run(self._topic.not_kept())

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

    def teams(self) -> list[dict[str, Any]]:
        return self._loop.run(self._space.teams())

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

    def raise_suite(self, suite: int) -> None:
        self._loop.run(self._space.raise_suite(suite))

    def rotate(self) -> None:
        self._loop.run(self._space.rotate())

    def rotate_every(self, days: int | None) -> None:
        self._loop.run(self._space.rotate_every(days))

    def heal(self) -> None:
        self._loop.run(self._space.heal())

    def why(self, member: str) -> dict[str, Any]:
        return self._loop.run(self._space.why(member))

    def lacking(self) -> list[str]:
        return self._loop.run(self._space.lacking())


class _Subscription:
    def __init__(self, loop: _Loop, stream: _stream.Subscription[Any]) -> None:
        self._loop = loop
        self._stream = stream

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if not self._loop.loop.is_closed():
            self._loop.run(self._stream.close())

    def _next(self) -> Any:
        try:
            return self._loop.run(self._stream.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None


class Stream(_Subscription):
    """As `panda.Stream`."""

    def __enter__(self) -> Stream:
        return self

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        return Message(self._loop, self._next())


class Events(_Subscription):
    """As `panda.Events`. Those before the block of `with`, or before the first iteration, are not told."""

    def __enter__(self) -> Events:
        self._loop.run(self._stream.__aenter__())
        return self

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event: Event = self._next()
        return event


class Message:
    """As `panda.Message`. `fields` has all its fields."""

    def __init__(self, loop: _Loop, message: _stream.Message) -> None:
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
