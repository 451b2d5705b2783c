"""A client for a running p2panda node (docs/protocol/rpc.md)."""

from . import sync
from ._client import Client, DeviceLink, Message, Pruned, Space, Stream, Topic, connect
from ._errors import PandaError
from ._key import Invite, new_key

__all__ = ["Client", "DeviceLink", "Invite", "Message", "PandaError", "Pruned", "Space", "Stream", "Topic", "connect", "new_key", "sync"]
