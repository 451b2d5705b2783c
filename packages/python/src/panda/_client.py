"""The asynchronous client."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

from ._errors import PandaError, closed
from ._key import Invite, prove
from ._transport import Transport, UnixTransport, WebSocketTransport

RPC_VERSION = 1

#: The built-in type, where a property has the same name.
Bytes = bytes

#: A content that can be published: a text, bytes, or any JSON value.
Content = str | bytes | dict[str, Any] | list[Any] | int | float | bool | None


async def connect(
    address: str,
    *,
    token: str | None = None,
    key: bytes | None = None,
    invite: str | None = None,
    node: str | None = None,
) -> Client:
    """Connects to a node: `ws://HOST:PORT/rpc` with a token or a key, or the path of its Unix socket.

    A `key` of 32 bytes is listed at the node, or admitted by an `invite`, which is needed once; both need
    the extra `keys`. With `node`, the id of the node, a key is proved to no other one.
    """
    if invite is not None and key is None:
        raise PandaError("invalid", "an invite admits a key", "pass `key`; panda.new_key() makes one")
    code = None if invite is None else Invite.read(invite)
    transport: Transport
    if address.startswith(("ws://", "wss://")):
        transport = await WebSocketTransport.open(address)
    else:
        transport = await UnixTransport.open(address)
    client = Client(transport)
    params: dict[str, Any] = {"rpc": RPC_VERSION, "client": "panda-python/0.1.0"}
    if token is not None:
        params["auth"] = {"token": token}
    try:
        if key is not None:
            params["auth"] = await prove(client, address, key, node, code)
        client.hello = await client.call("hello", params)
    except BaseException:
        await client.close()
        raise
    return client


class Client:
    """A connection to a node. Close it, or use it with `async with`."""

    def __init__(self, transport: Transport) -> None:
        #: The node's greeting: its id, and the scopes of this client.
        self.hello: dict[str, Any] = {}
        self._transport = transport
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._streams: dict[int, Stream] = {}
        self._starting: dict[int, Stream] = {}
        self._over: PandaError | None = None
        self._reader = asyncio.create_task(self._read())

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection. Messages that were not acknowledged are redelivered."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        self._end(closed())
        await self._transport.close()

    async def closed(self) -> None:
        """Returns when the connection has ended."""
        await asyncio.wait([self._reader])

    async def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Calls a method by its name. Raises `PandaError`."""
        return await self._call(method, params or {}, None)

    def topic(self, topic: str) -> Topic:
        """A topic of the node, by its alias or its 64 digits."""
        return Topic(self, topic)

    def space(self, topic: str) -> Space:
        """A space of the node, by its topic or the alias of that."""
        return Space(self, topic)

    async def spaces(self) -> list[dict[str, Any]]:
        """The spaces of the node: `topic`, `name`, `role`, `scheme` and `joining` of each."""
        spaces: list[dict[str, Any]] = (await self.call("space.list"))["spaces"]
        return spaces

    async def create_space(self, name: str = "", *, no_history: bool = False, scheme: str = "data") -> Space:
        """Creates a space with the node as its owner. With `no_history`, newcomers read only later messages.

        With the scheme `message`, each message has a separate key, which is erased when it is used.
        """
        params: dict[str, Any] = {"name": name, "no_history": no_history}
        if scheme != "data":
            params["scheme"] = scheme
        made = await self.call("space.create", params)
        return Space(self, made["topic"])

    async def join_space(self, ticket: str) -> Space:
        """Asks to join the space of an invite. `spaces` says whether the node still waits."""
        joined = await self.call("space.join", {"ticket": ticket})
        return Space(self, joined["topic"])

    async def follow_space(self, topic: str) -> Space:
        """Follows the space in a topic, so that an owner can add the node."""
        followed = await self.call("space.join", {"topic": topic})
        return Space(self, followed["topic"])

    async def devices(self) -> list[dict[str, Any]]:
        """The devices of the node's person: `device`, `this`, `state` and `pending` of each."""
        devices: list[dict[str, Any]] = (await self.call("device.list"))["devices"]
        return devices

    async def link_device(self, *, contact: bool = False) -> DeviceLink:
        """Offers a link to another device; with `contact` its ticket says where this node is."""
        begun = await self.call("device.link", {"contact": contact})
        return DeviceLink(self, begun["link"], begun["code"], begun["ticket"])

    async def accept_device(self, code: str) -> DeviceLink:
        """Takes the code, or the ticket, that another device shows."""
        begun = await self.call("device.accept", {"code": code})
        return DeviceLink(self, begun["link"])

    async def revoke_device(self, device: str) -> None:
        """Makes a device none of the person's any more. Spaces follow by themselves."""
        await self.call("device.revoke", {"device": device})

    async def _call(self, method: str, params: dict[str, Any], stream: Stream | None) -> Any:
        if self._over is not None:
            raise self._over
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        if stream is not None:
            self._starting[number] = stream
        try:
            await self._send(method, params, number)
            return await answer
        finally:
            self._answers.pop(number, None)
            self._starting.pop(number, None)

    async def _send(self, method: str, params: dict[str, Any], number: int | None) -> None:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
        if number is not None:
            message["id"] = number
        await self._transport.send(json.dumps(message, ensure_ascii=False))

    async def _read(self) -> None:
        try:
            while True:
                for message in await self._transport.receive():
                    self._take(message)
        except PandaError as error:
            self._end(error)
        except ValueError as error:
            self._end(closed(f"the node sent what is no JSON: {error}"))

    def _take(self, message: dict[str, Any]) -> None:
        if "method" in message:
            params = message.get("params", {})
            stream = self._streams.get(params.get("subscription"))
            if stream is not None:
                stream._take(message["method"], params)
            return
        number = message.get("id")
        if not isinstance(number, int):
            return
        answer = self._answers.get(number)
        if answer is None or answer.done():
            return
        if "error" in message:
            error = message["error"]
            answer.set_exception(PandaError.of(error["message"], error.get("data", {})))
            return
        result: Any = message.get("result")
        stream = self._starting.get(number)
        if stream is not None:
            # Register it before reading the next message, which may belong to the subscription.
            stream._begin(result)
            self._streams[result["subscription"]] = stream
        answer.set_result(result)

    def _end(self, error: PandaError) -> None:
        if self._over is None:
            self._over = error
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
        for stream in self._streams.values():
            stream._end(error)


def _content(content: Content) -> dict[str, Any]:
    if isinstance(content, str):
        return {"text": content}
    if isinstance(content, bytes | bytearray):
        return {"bytes": base64.b64encode(content).decode()}
    return {"json": content}


@dataclass
class Topic:
    """A topic of a node."""

    client: Client
    name: str

    #: Methods for publishing and subscribing.
    _publish = "publish"
    _subscribe = "messages.subscribe"

    async def publish(
        self,
        content: Content,
        *,
        request: str | None = None,
        log: str | None = None,
        prune: bool = False,
        stored: int | None = None,
        timeout_ms: int = 30_000,
    ) -> dict[str, Any]:
        """Publishes a message. It is on the node's disk when this returns.

        The same message with the same `request` is stored once. `stored` waits for a number of peers.
        """
        message: dict[str, Any] = {"content": _content(content)}
        if request is not None:
            message["request"] = request
        if log is not None:
            message["log"] = log
        if prune:
            message["prune"] = True
        params: dict[str, Any] = {"topic": self.name, "message": message}
        if stored is not None:
            params["wait"] = {"stored": stored, "timeout_ms": timeout_ms}
        result: dict[str, Any] = await self.client.call(self._publish, params)
        return result

    async def publish_all(self, contents: Iterable[Content]) -> list[dict[str, Any]]:
        """Publishes all of these messages or none."""
        messages = [{"content": _content(content)} for content in contents]
        params = {"topic": self.name, "messages": messages}
        published: list[dict[str, Any]] = (await self.client.call("publish.batch", params))["published"]
        return published

    async def read(self, after: int = 0, limit: int = 512) -> list[Message]:
        """A page of messages after an offset."""
        params = {"topic": self.name, "after": after, "limit": limit}
        page = await self.client.call("messages.read", params)
        return [Message(fields, None) for fields in page["messages"]]

    def stream(
        self,
        consumer: str | None = None,
        *,
        start: str | dict[str, Any] | None = None,
        take_over: bool = False,
        header: bool = False,
        **settings: Any,
    ) -> Stream:
        """Messages as they arrive. With a consumer the node remembers which ones were acknowledged.

        `settings` are those of a consumer, such as `ack_wait_ms` or `deliveries_max`.
        """
        params: dict[str, Any] = {"topics": [self.name], "header": header}
        if consumer is not None:
            params["consumer"] = {"name": consumer, "take_over": take_over, **settings}
        if start is not None:
            params["start"] = start
        return Stream(self.client, params, self._subscribe)

    async def status(self) -> dict[str, Any]:
        """Counts of operations that are stored, wait or were refused."""
        status: dict[str, Any] = await self.client.call("topic.status", {"topic": self.name})
        return status


@dataclass
class DeviceLink:
    """A link with another device. Compare the digits on both, then confirm on the one that shows the code."""

    def __init__(self, client: Client, link: str, code: str = "", ticket: str = "") -> None:
        self.client, self.link, self.code, self.ticket = client, link, code, ticket

    async def digits(self) -> str:
        """The six digits, once the other device is there."""
        digits: str = (await self._other_than("waiting"))["digits"]
        return digits

    async def confirm(self, digits: str) -> str:
        """Says what the other device shows, and waits until it is linked: its node id."""
        await self.client.call("device.confirm", {"link": self.link, "digits": digits})
        return await self.linked()

    async def linked(self) -> str:
        """Waits until the link is confirmed, and the new device knows it: its node id."""
        at = await self._other_than("compare")
        if at["state"] == "confirmed":
            at = await self._other_than("confirmed")
        device: str = at["device"]
        return device

    async def refuse(self) -> None:
        """Ends the link; the other device is told."""
        await self.client.call("device.refuse", {"link": self.link})

    async def _other_than(self, state: str) -> dict[str, Any]:
        while True:
            params = {"link": self.link, "after": state, "wait_ms": 30_000}
            at: dict[str, Any] = await self.client.call("device.wait", params)
            if at["state"] == "ended":
                raise PandaError("invalid", at["error"], "begin another link")
            if at["state"] != state:
                return at


class Space(Topic):
    """An encrypted space. It works like a topic, but only members can read its messages."""

    _publish = "space.publish"
    _subscribe = "space.subscribe"

    async def publish_all(self, contents: Iterable[Content]) -> list[dict[str, Any]]:
        """Publishes these messages one after the other."""
        return [await self.publish(content) for content in contents]

    async def members(self, at: str | None = None) -> list[dict[str, Any]]:
        """`member`, `role` and `lacking` of each member; with `at`, the members before the message with this id."""
        params = {"topic": self.name} if at is None else {"topic": self.name, "at": at}
        members: list[dict[str, Any]] = (await self.client.call("space.members", params))["members"]
        return members

    async def invite(
        self, role: str = "editor", *, uses: int = 1, expires_seconds: int | None = None, contact: bool = True
    ) -> dict[str, Any]:
        """Makes an invite: a `ticket` for newcomers, and the `invite` for revoking it."""
        params: dict[str, Any] = {"topic": self.name, "role": role, "uses": uses, "contact": contact}
        if expires_seconds is not None:
            params["expires_seconds"] = expires_seconds
        made: dict[str, Any] = await self.client.call("space.invite", params)
        return made

    async def invites(self) -> list[dict[str, Any]]:
        """The invites, and who joined by them."""
        invites: list[dict[str, Any]] = (await self._ask("invites"))["invites"]
        return invites

    async def revoke(self, invite: str) -> None:
        """Revokes an invite. Members who joined by it stay."""
        await self._ask("revoke", invite=invite)

    async def add(self, member: str, role: str = "editor") -> None:
        """Adds a member."""
        await self._ask("add", member=member, role=role)

    async def set_role(self, member: str, role: str) -> None:
        """Gives a member another role."""
        await self._ask("role", member=member, role=role)

    async def remove(self, *members: str) -> None:
        """Removes members, with one new secret."""
        await self._ask("remove", members=list(members))

    async def leave(self) -> None:
        """Ends the membership of the node. The last owner cannot leave."""
        await self._ask("leave")

    async def rename(self, name: str) -> None:
        """Renames the space."""
        await self._ask("rename", name=name)

    async def rotate(self) -> None:
        """Makes a new secret for later messages."""
        await self._ask("rotate")

    async def heal(self) -> None:
        """Hands secrets to members who lack them and can be reached."""
        await self._ask("heal")

    async def why(self, member: str) -> dict[str, Any]:
        """Why a key is a member or not; `why` is a sentence."""
        why: dict[str, Any] = await self._ask("why", member=member)
        return why

    async def lacking(self) -> list[str]:
        """Members that lack secrets."""
        members: list[str] = (await self._ask("lacking"))["members"]
        return members

    async def _ask(self, what: str, **params: Any) -> Any:
        return await self.client.call(f"space.{what}", {"topic": self.name, **params})


@dataclass
class Message:
    """A message of a topic. `fields` has all its fields."""

    fields: dict[str, Any]
    stream: Stream | None = field(repr=False)

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
        """Acknowledges the message. The acknowledgement is on the node's disk when this returns."""
        await self._settle("consumer.ack", {"deliveries": [self._delivery()]})

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


@dataclass
class Pruned:
    """Messages that were pruned before the consumer had settled them."""

    fields: dict[str, Any]


class Stream:
    """Messages of a subscription. Iterate over it; close it, or use it with `async with`."""

    def __init__(
        self, client: Client, params: dict[str, Any], method: str = "messages.subscribe"
    ) -> None:
        self._client = client
        self._params = params
        self._method = method
        self._number: int | None = None
        self._waiting: deque[Message] = deque()
        #: For each queued notification: the messages left of it, and the credit that it returns.
        self._paid: deque[tuple[int, int]] = deque()
        self._more = asyncio.Event()
        self._ended: PandaError | None = None
        #: Aliases of the topics.
        self.topics: list[str] = []
        #: Messages that were pruned before they were settled.
        self.pruned: list[Pruned] = []

    async def __aenter__(self) -> Stream:
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        await self._open()
        while not self._waiting:
            if self._ended is not None:
                raise self._ended
            self._more.clear()
            await self._more.wait()
        message = self._waiting.popleft()
        await self._give()
        return message

    async def close(self) -> None:
        """Ends the subscription. Messages that were not acknowledged are redelivered."""
        if self._number is None or self._client._over is not None:
            return
        number, self._number = self._number, None
        self._client._streams.pop(number, None)
        self._end(closed("the stream was closed"))
        await self._client.call("subscription.end", {"subscription": number})

    async def _open(self) -> None:
        if self._number is None and self._ended is None:
            await self._client._call(self._method, self._params, self)

    async def _settle(self, method: str, params: dict[str, Any]) -> None:
        await self._client.call(method, {"subscription": self._number, **params})

    async def _give(self) -> None:
        """Grants credit for a notification once all of its messages are taken."""
        left, read = self._paid[0]
        if left > 1:
            self._paid[0] = (left - 1, read)
            return
        self._paid.popleft()
        if self._number is not None and self._client._over is None:
            params = {"subscription": self._number, "bytes": read}
            await self._client._send("messages.credit", params, None)

    def _begin(self, result: dict[str, Any]) -> None:
        self._number = result["subscription"]
        self.topics = result.get("topics", [])

    def _take(self, method: str, params: dict[str, Any]) -> None:
        if method == "ended":
            self._end(PandaError.of(params["message"], params.get("data", {})))
        elif method == "messages":
            messages = [Message(fields, self) for fields in params["messages"]]
            if messages:
                self._waiting.extend(messages)
                self._paid.append((len(messages), params["bytes"]))
            self.pruned.extend(Pruned(fields) for fields in params.get("pruned", []))
            self._more.set()

    def _end(self, error: PandaError) -> None:
        if self._ended is None:
            self._ended = error
        self._more.set()
