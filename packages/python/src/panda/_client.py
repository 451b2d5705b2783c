"""The asynchronous client."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from ._errors import PandaError, closed, unanswered
from ._key import Invite, prove
from ._stream import Events, Message, Stream, Subscription, in_background
from ._transport import REQUEST_BYTES_MAX, Transport, UnixTransport, WebSocketTransport, url_of
from ._types import NotKept, Published, Sent, TeamInfo, TopicStatus, Trace

RPC_VERSION = 1

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

    `http://` and `https://` addresses, as `panda node run` prints them, mean the WebSocket there.

    A `key` of 32 bytes is listed at the node, or admitted by an `invite`, which is needed once; both need
    the extra `keys`. With `node`, the id of the node, a key is proved to no other one.
    """
    if invite is not None and key is None:
        raise PandaError("invalid", "an invite admits a key", "pass `key`; panda.new_key() makes one")
    code = None if invite is None else Invite.read(invite)
    transport: Transport
    if "://" in address:
        address = url_of(address)
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
        # Without a reference here: a stream that the program has lost ends.
        self._streams: WeakValueDictionary[int, Subscription[Any]] = WeakValueDictionary()
        self._starting: dict[int, Subscription[Any]] = {}
        self._telling: set[asyncio.Future[None]] = set()
        self._over: PandaError | None = None
        self._loop = asyncio.get_running_loop()
        self._reader = asyncio.create_task(self._read())

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection. Messages that were not acknowledged are redelivered."""
        self._end(closed("the connection was closed"))
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
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

    def events(self) -> Events:
        """Events of the node as they happen, such as `not-kept`: a peer keeps nothing new of a log."""
        return Events(self, {}, "events.subscribe")

    async def trace(self, id: str) -> Trace:
        """Where an operation is, and which peers have it."""
        trace: Trace = await self.call("trace", {"id": id})
        return trace

    async def teams(self) -> list[TeamInfo]:
        """The teams that the node knows."""
        teams: list[TeamInfo] = (await self.call("team.list"))["teams"]
        return teams

    async def create_team(self, name: str = "") -> Team:
        """Makes a team that the person of the node manages. `Space.add` makes it a member of a space."""
        made: TeamInfo = await self.call("team.create", {"name": name})
        return Team(self, made["team"])

    def team(self, team: str) -> Team:
        """A team, by its id."""
        return Team(self, team)

    async def spaces(self) -> list[dict[str, Any]]:
        """The spaces of the node: `topic`, `name`, `role`, `scheme`, `suite`, `rotation_days`, `own_key` and `joining` of each."""
        spaces: list[dict[str, Any]] = (await self.call("space.list"))["spaces"]
        return spaces

    async def create_space(
        self,
        name: str = "",
        *,
        no_history: bool = False,
        scheme: str = "data",
        suite: int | None = None,
        own_key: bool = False,
    ) -> Space:
        """Creates a space with the node as its owner. With `no_history`, newcomers read only later messages.

        With the scheme `message`, each message has a separate key, which is erased when it is used. `suite` is the
        least suite of the channels that secrets go through. With `own_key` the node signs in the space with a new
        key that it uses nowhere else.
        """
        params: dict[str, Any] = {"name": name, "no_history": no_history}
        if scheme != "data":
            params["scheme"] = scheme
        if suite is not None:
            params["suite"] = suite
        if own_key:
            params["own_key"] = True
        made = await self.call("space.create", params)
        return Space(self, made["topic"])

    async def join_space(self, ticket: str, *, own_key: bool = False) -> Space:
        """Asks to join the space of an invite. `spaces` says whether the node still waits.

        With `own_key` the node signs in the space with a new key that it uses nowhere else.
        """
        params: dict[str, Any] = {"ticket": ticket}
        if own_key:
            params["own_key"] = True
        joined = await self.call("space.join", params)
        return Space(self, joined["topic"])

    async def follow_space(self, topic: str, *, own_key: bool = False) -> Space:
        """Follows the space in a topic, so that an owner can add the node, or its own key with `own_key`."""
        params: dict[str, Any] = {"topic": topic}
        if own_key:
            params["own_key"] = True
        followed = await self.call("space.join", params)
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

    async def _call(
        self, method: str, params: dict[str, Any], stream: Subscription[Any] | None
    ) -> Any:
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
        await self._transport.send(_encoded(message))

    def _tell(self, method: str, params: dict[str, Any]) -> None:
        """Sends a notification, without waiting for room."""
        if self._over is None:
            telling = in_background(self._send(method, params, None))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)

    def _drop(self, subscription: int) -> None:
        """Ends the subscription of a stream that nobody has any more. Any thread may find that out."""
        try:
            params = {"subscription": subscription}
            self._loop.call_soon_threadsafe(self._tell, "subscription.end", params)
        except RuntimeError:
            # The loop is closed, and with it the connection.
            pass

    async def _read(self) -> None:
        try:
            while True:
                for message in await self._transport.receive():
                    self._take(message)
        except PandaError as error:
            self._end(error)
        except Exception as error:
            # Calls must not wait for answers that nobody reads.
            self._end(closed(f"the node sent what is no message: {error!r}"))

    def _take(self, message: dict[str, Any]) -> None:
        if "method" in message:
            params = message.get("params", {})
            stream = self._streams.get(params.get("subscription"))
            if stream is not None:
                stream._take(message["method"], params)
            return
        number = message.get("id")
        if number is None and "error" in message:
            # The node could not read a frame, and does not say whose: no answer comes to its calls.
            return self._fail(unanswered(_error_of(message)))
        if not isinstance(number, int):
            return
        answer = self._answers.get(number)
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(_error_of(message))
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
        self._fail(error)
        for stream in list(self._streams.values()):
            stream._end(error)

    def _fail(self, error: PandaError) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)


def _error_of(message: dict[str, Any]) -> PandaError:
    error = message["error"]
    return PandaError.of(error["message"], error.get("data", {}))


def _encoded(message: dict[str, Any]) -> bytes:
    try:
        text = json.dumps(message, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise PandaError("invalid", f"it has no form in JSON: {error}") from error
    if len(text) > REQUEST_BYTES_MAX:
        what = f"the request has {len(text)} bytes; {REQUEST_BYTES_MAX} fit"
        raise PandaError("too-large", what, "send content in parts with the method `upload`")
    return text


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
    ) -> Published:
        """Publishes a message. It is on the node's disk when this returns.

        The same message with the same `request` is stored once. `stored` waits for a number of peers, until
        `waited` is true, `timeout_ms` has passed, or so many do not keep it (`not_kept`) that too few are left.
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
        result: Published = await self.client.call(self._publish, params)
        return result

    async def publish_all(self, contents: Iterable[Content]) -> Sequence[Sent]:
        """Publishes all of these messages or none."""
        messages = [{"content": _content(content)} for content in contents]
        params = {"topic": self.name, "messages": messages}
        published: list[Sent] = (await self.client.call("publish.batch", params))["published"]
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
        if consumer is None and (take_over or settings):
            raise PandaError("invalid", "these settings need a consumer", "stream(consumer=NAME)")
        if consumer is not None:
            params["consumer"] = {"name": consumer, "take_over": take_over, **settings}
        if start is not None:
            params["start"] = start
        return Stream(self.client, params, self._subscribe)

    async def status(self) -> TopicStatus:
        """Counts of operations that are stored, wait or were refused, and what peers do not keep."""
        status: TopicStatus = await self.client.call("topic.status", {"topic": self.name})
        return status

    async def not_kept(self) -> list[NotKept]:
        """Logs of which a peer keeps nothing new, because a quota of that peer is used up."""
        return (await self.status())["not_kept"]


@dataclass
class Team:
    """A team: a group of people that is one member of several spaces."""

    client: Client
    id: str

    async def info(self) -> TeamInfo:
        """Its members, and its spaces. `PandaError` with the code `not-found` if the node does not know it."""
        for team in await self.client.teams():
            if team["team"] == self.id:
                return team
        raise PandaError("not-found", "the node does not know this team", "Client.teams() has those it knows")

    async def add(self, member: str, role: str = "editor") -> None:
        """Adds a device, person or team; an `owner` manages the team."""
        await self.client.call("team.add", {"team": self.id, "member": member, "role": role})

    async def remove(self, member: str) -> None:
        """Removes a device, person or team."""
        await self.client.call("team.remove", {"team": self.id, "member": member})


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

    async def publish_all(self, contents: Iterable[Content]) -> Sequence[Sent]:
        """Publishes these messages one after the other."""
        return [await self.publish(content) for content in contents]

    async def members(self, at: str | None = None) -> list[dict[str, Any]]:
        """`member`, `role` and `lacking` of each member; with `at`, the members before the message with this id."""
        params = {"topic": self.name} if at is None else {"topic": self.name, "at": at}
        members: list[dict[str, Any]] = (await self.client.call("space.members", params))["members"]
        return members

    async def teams(self) -> list[dict[str, Any]]:
        """Teams that are members: `team`, `name`, `role` and `devices` of each."""
        params = {"topic": self.name}
        members: dict[str, Any] = await self.client.call("space.members", params)
        return list(members.get("teams", []))

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
        """Adds a member: a device, person or team."""
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

    async def raise_suite(self, suite: int) -> None:
        """Raises the least suite of the channels that secrets go through. Nothing lowers it."""
        await self._ask("raise-suite", suite=suite)

    async def rotate(self) -> None:
        """Makes a new secret for later messages."""
        await self._ask("rotate")

    async def rotate_every(self, days: int | None) -> None:
        """Asks the owners to replace the secret when it is so many days old; with `None` to do that no longer."""
        await self._ask("rotate-every", days=days or 0)

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
