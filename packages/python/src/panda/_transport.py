"""Transports: a Unix socket or a WebSocket."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Protocol
from urllib.parse import urlsplit

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect

from ._errors import PandaError, closed

SUBPROTOCOL = "panda.v1"
SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
#: The most bytes of a request, without the brackets of an array.
REQUEST_BYTES_MAX = 1024 * 1024 - 2
#: The most bytes of a line or frame from the server; one message may be as large as an operation.
FRAME_BYTES_MAX = 64 * 1024 * 1024


def url_of(address: str) -> str:
    """The URL of a WebSocket. Without a path it is that of the RPC."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in SCHEMES:
        hint = "ws://HOST:PORT/rpc, or the path of a Unix socket"
        raise PandaError("invalid", f"{address} is no address of a node", hint)
    path = "/rpc" if parts.path in ("", "/") else parts.path
    return parts._replace(scheme=SCHEMES[parts.scheme], path=path).geturl()


class Transport(Protocol):
    async def send(self, message: bytes) -> None: ...

    async def receive(self) -> list[dict[str, Any]]: ...

    async def close(self) -> None: ...


class UnixTransport:
    """A Unix socket: one message per line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, path: str) -> UnixTransport:
        try:
            streams = await asyncio.open_unix_connection(path, limit=FRAME_BYTES_MAX)
        except OSError as error:
            raise closed(f"{path}: {error}") from error
        return cls(*streams)

    async def send(self, message: bytes) -> None:
        try:
            self._writer.write(message + b"\n")
            await self._writer.drain()
        except OSError as error:
            raise closed() from error

    async def receive(self) -> list[dict[str, Any]]:
        try:
            line = await self._reader.readline()
        except (OSError, ValueError) as error:
            raise closed() from error
        if not line.endswith(b"\n"):
            raise closed()
        return [json.loads(line)]

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass


def _refused(url: str, error: websockets.InvalidStatus) -> PandaError:
    """The node says why it opens no WebSocket; another server does not."""
    try:
        said = json.loads(error.response.body or b"")["error"]
        return PandaError.of(str(said["message"]), said["data"])
    except (ValueError, LookupError, TypeError):
        return PandaError("closed", f"{url}: {error}", "the path of a node's RPC is /rpc")


class WebSocketTransport:
    """A WebSocket: one text message holds an array of messages."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    @classmethod
    async def open(cls, url: str) -> WebSocketTransport:
        try:
            socket = await websocket_connect(
                url,
                subprotocols=[websockets.Subprotocol(SUBPROTOCOL)],
                compression=None,
                max_size=FRAME_BYTES_MAX,
            )
        except websockets.InvalidStatus as error:
            raise _refused(url, error) from error
        except (OSError, ValueError, websockets.WebSocketException) as error:
            raise closed(f"{url}: {error}") from error
        if socket.subprotocol != SUBPROTOCOL:
            await socket.close()
            raise PandaError("version", f"{url} does not speak {SUBPROTOCOL}")
        return cls(socket)

    async def send(self, message: bytes) -> None:
        try:
            await self._socket.send(f"[{message.decode()}]")
        except websockets.ConnectionClosed as error:
            raise closed() from error

    async def receive(self) -> list[dict[str, Any]]:
        try:
            frame: list[dict[str, Any]] = json.loads(await self._socket.recv())
        except websockets.ConnectionClosed as error:
            raise closed() from error
        return frame

    async def close(self) -> None:
        await self._socket.close()
