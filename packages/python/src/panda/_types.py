"""Answers of the node that have a type. All are dictionaries, with the names of docs/protocol/openrpc.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

#: A log of which a peer keeps nothing new from the sequence number `from` on, because a `quota` of that
#: peer is used up: `author`, `topic`, `all` or `other`. `named`: it is a log with a name.
NotKept = TypedDict(
    "NotKept", {"node": str, "author": str, "named": bool, "from": int, "quota": str}
)


class Sent(TypedDict):
    """A message of `publish_all`."""

    id: str
    seq: int


class Published(Sent):
    """A message that is on the node's disk, and which peers have it."""

    #: Peers whose transport has acknowledged it.
    sent_to: list[str]
    #: Peers that report having stored it.
    held_by: list[str]
    #: Whether as many peers have stored it as `publish` was told to wait for.
    waited: bool
    #: Peers that do not keep it. If too few others are left, `publish` waits no longer.
    not_kept: list[NotKept]


class TopicStatus(TypedDict):
    """Counts of a topic. The answer has more fields."""

    topic: str
    logs: int
    operations: int
    bytes: int
    first: int | None
    last: int | None
    waiting: int
    rejected: dict[str, int]
    forks: int
    blocked: int
    own_log_closed: bool
    consumers: list[str]
    #: Logs of which a peer keeps nothing new.
    not_kept: list[NotKept]


class Trace(TypedDict):
    """Where an operation is. The answer has more fields."""

    id: str
    topic: str
    author: str | None
    seq: int | None
    #: `refused`, `early`, `waiting`, `wants-body`, `no-message`, `ordered`, `in-feed` or `stored`.
    state: str
    reason: str | None
    offset: int | None
    consumers: dict[str, bool]
    sent_to: list[str]
    stored_by: list[str]
    #: Peers that do not keep it.
    not_kept: list[NotKept]


class TeamMember(TypedDict, total=False):
    """A direct member of a team: a device, or with `group` a person or team."""

    member: str
    group: bool
    role: str


class TeamInfo(TypedDict, total=False):
    """A team, as far as the node knows. Without a name the node does not know it."""

    team: str
    name: str
    #: Whether the node may change it.
    manages: bool
    members: list[TeamMember]
    #: Aliases of the spaces that it is in, and those that have not been told of its changes yet.
    spaces: list[str]
    pending: list[str]


@dataclass(frozen=True)
class Event:
    """Something that happened at the node, such as `peer-found`, `rejected` or `not-kept`."""

    name: str
    #: Alias of the topic concerned.
    topic: str | None = None
    #: Node or author concerned.
    peer: str | None = None
    #: For people.
    detail: str | None = None
