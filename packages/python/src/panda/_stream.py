"""Subscriptions, and the messages and events that they give."""

from __future__ import annotations

import asyncio
import base64
import weakref
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._errors import PandaError, closed
from ._types import Event

if TYPE_CHECKING:
    from typing import Self

    from ._client import Client

#: The built-in type, where a property has the same name.
Bytes = bytes
T = TypeVar("T")


@dataclass
class Message:
    """A message of a topic. `fields` has all its fields."""

    fields: dict[str, Any]
    stream: Stream | None = field(repr=False)
    _acked: asyncio.Future[None] | None = field(default=None, repr=False, compare=False)

    @property
    def text(self) -> str | None:
        """The content of a text message."""
        return self.fields.get("text")

    @property
    def bytes(self) -> Bytes | None:
        """The content of a byte message."""
        return _decoded(self.fields.get("bytes"))

    @property
    def cbor(self) -> Bytes | None:
        """Any other content: one CBOR item."""
        return _decoded(self.fields.get("cbor"))

    @property
    def id(self) -> str:
        return str(self.fields["id"])

    @property
    def author(self) -> str:
        return str(self.fields["author"])

    @property
    def seq(self) -> int:
        return int(self.fields["seq"])

    @property
    def offset(self) -> int:
        return int(self.fields["offset"])

    @property
    def count(self) -> int | None:
        """How often it was delivered, with a consumer."""
        return self.fields.get("count")

    async def ack(self) -> None:
        """Acknowledges the message. The acknowledgement is on the node's disk when this returns.

        A task that is cancelled meanwhile does not take it back, and may call it again.
        """
        if self._acked is None or _has_failed(self._acked):
            work = self._settle("consumer.ack", {"deliveries": [self._delivery()]})
            self._acked = in_background(work)
        await asyncio.shield(self._acked)

    async def nak(self, delay_ms: int | None = None) -> None:
        """Asks for redelivery."""
        params: dict[str, Any] = {"delivery": self._delivery()}
        if delay_ms is not None:
            params["delay_ms"] = delay_ms
        await self._settle("consumer.nak", params)

    async def term(self, reason: str = "") -> None:
        """Makes the message a dead letter: it cannot be handled."""
        await self._settle("consumer.term", {"delivery": self._delivery(), "reason": reason})

    async def progress(self) -> None:
        """Says that the message is still being handled, which postpones redelivery."""
        await self._settle("consumer.progress", {"deliveries": [self._delivery()]})

    def _delivery(self) -> int:
        delivery = self.fields.get("delivery")
        if delivery is None or self.stream is None:
            raise PandaError("invalid", "it was read without a consumer", "stream(consumer=NAME)")
        return int(delivery)

    async def _settle(self, method: str, params: dict[str, Any]) -> None:
        if self.stream is not None:
            await self.stream._settle(method, params)


def _decoded(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _has_failed(work: asyncio.Future[None]) -> bool:
    return work.done() and (work.cancelled() or work.exception() is not None)


def in_background(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Work that goes on if the task that began it is cancelled. Those who wait for it get its error."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


@dataclass
class Pruned:
    """Messages that were pruned before the consumer had settled them."""

    fields: dict[str, Any]


class Subscription(Generic[T]):
    """What a subscription gives. Iterate over it; close it, or use it with `async with`.

    It ends by itself once neither it nor one of its messages is referenced any more.
    """

    def __init__(self, client: Client, params: dict[str, Any], method: str) -> None:
        self._client = client
        self._params = params
        self._method = method
        self._number: int | None = None
        self._opening: asyncio.Future[Any] | None = None
        self._waiting: deque[T] = deque()
        self._more = asyncio.Event()
        self._ended: PandaError | None = None
        self._is_closed = False
        self._finalizer: weakref.finalize[..., Any] | None = None

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        await self._open()
        while not self._waiting:
            if self._is_closed:
                raise StopAsyncIteration
            if self._ended is not None:
                raise self._ended
            self._more.clear()
            await self._more.wait()
        # Nothing is awaited from here on: a task that is cancelled loses no message.
        return self._taken()

    async def close(self) -> None:
        """Ends the subscription, and an iteration over it. What was not acknowledged is redelivered."""
        if self._is_closed:
            return
        self._is_closed = True
        self._waiting.clear()
        self._more.set()
        if self._opening is not None:
            # A subscription has no number before the node has answered.
            await asyncio.wait([self._opening])
        number = self._number
        if number is None or self._ended is not None or self._client._over is not None:
            return
        if self._finalizer is not None:
            self._finalizer.detach()
        try:
            await self._client.call("subscription.end", {"subscription": number})
        except PandaError as error:
            if error.code not in ("closed", "unknown-subscription"):
                raise

    aclose = close

    async def _open(self) -> None:
        if self._number is not None or self._ended is not None or self._is_closed:
            return
        if self._opening is None:
            self._opening = in_background(self._client._call(self._method, self._params, self))
        opening = self._opening
        try:
            # The node may have opened it already when a task is cancelled here; the next one goes on.
            await asyncio.shield(opening)
        finally:
            if opening.done():
                self._opening = None

    def _begin(self, result: dict[str, Any]) -> None:
        self._number = result["subscription"]
        self._finalizer = weakref.finalize(self, self._client._drop, self._number)
        self._finalizer.atexit = False

    def _taken(self) -> T:
        return self._waiting.popleft()

    def _take(self, method: str, params: dict[str, Any]) -> None:
        if method == "ended":
            self._end(PandaError.of(params["message"], params.get("data", {})))

    def _give(self, what: list[T]) -> None:
        if not self._is_closed:
            self._waiting.extend(what)
            self._more.set()

    def _end(self, error: PandaError) -> None:
        if self._ended is None:
            self._ended = error
        self._more.set()


class Stream(Subscription[Message]):
    """Messages of a topic, or of a consumer."""

    def __init__(
        self, client: Client, params: dict[str, Any], method: str = "messages.subscribe"
    ) -> None:
        super().__init__(client, params, method)
        #: For each queued notification: the messages left of it, and the credit that it returns.
        self._paid: deque[tuple[int, int]] = deque()
        #: Aliases of the topics.
        self.topics: list[str] = []
        #: Messages that were pruned before they were settled.
        self.pruned: list[Pruned] = []

    async def _settle(self, method: str, params: dict[str, Any]) -> None:
        if self._is_closed:
            raise PandaError("closed", "the stream was closed", "acknowledge before you close it")
        await self._client.call(method, {"subscription": self._number, **params})

    def _begin(self, result: dict[str, Any]) -> None:
        super()._begin(result)
        self.topics = result.get("topics", [])

    def _taken(self) -> Message:
        """Grants credit for a notification once all of its messages are taken."""
        left, read = self._paid[0]
        if left > 1:
            self._paid[0] = (left - 1, read)
        else:
            self._paid.popleft()
            self._client._tell("messages.credit", {"subscription": self._number, "bytes": read})
        return super()._taken()

    def _take(self, method: str, params: dict[str, Any]) -> None:
        if method != "messages":
            return super()._take(method, params)
        messages = [Message(fields, self) for fields in params["messages"]]
        if messages and not self._is_closed:
            self._paid.append((len(messages), params["bytes"]))
            self._give(messages)
        self.pruned.extend(Pruned(fields) for fields in params.get("pruned", []))


class Events(Subscription[Event]):
    """Events of the node, from when it is opened on."""

    def _take(self, method: str, params: dict[str, Any]) -> None:
        if method != "event":
            return super()._take(method, params)
        told = Event(params["event"], params.get("topic"), params.get("peer"), params.get("detail"))
        self._give([told])
