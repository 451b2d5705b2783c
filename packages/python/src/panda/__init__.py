"""A client for a running p2panda node (docs/protocol/rpc.md)."""

from . import sync
from ._client import Client, DeviceLink, Space, Team, Topic, connect
from ._errors import PandaError
from ._key import Invite, new_key
from ._stream import Events, Message, Pruned, Stream
from ._types import Event, NotKept, Published, Sent, TeamInfo, TeamMember, TopicStatus, Trace

__all__ = [
    "Client",
    "DeviceLink",
    "Event",
    "Events",
    "Invite",
    "Message",
    "NotKept",
    "PandaError",
    "Pruned",
    "Published",
    "Sent",
    "Space",
    "Stream",
    "Team",
    "TeamInfo",
    "TeamMember",
    "Topic",
    "TopicStatus",
    "Trace",
    "connect",
    "new_key",
    "sync",
]
