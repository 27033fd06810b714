"""Both streams of the server: who listens, what they get, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import struct
from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec
from aiohttp import WSMsgType, web

from tests.alpaca_server.faults import CONNECT, STREAM, Fault, Faults

Json = dict[str, object]
Greeting = Callable[["Connection", Json], Awaitable[list[object]]]


@dataclasses.dataclass(kw_only=True)
class Connection:
    """One websocket."""

    socket: web.WebSocketResponse
    request: web.Request
    binary: bool = False
    msgpack: bool = False
    authenticated: bool = False
    channels: dict[str, set[str]] = dataclasses.field(default_factory=dict)
    outbox: asyncio.Queue[tuple[bytes, float]] = dataclasses.field(default_factory=asyncio.Queue)
    muted_until: float = 0.0
    held_back: bytes | None = None

    def encode(self, message: object) -> bytes:
        if not self.msgpack:
            return msgspec.json.encode(message)
        rows = message if isinstance(message, list) else [message]
        return msgspec.msgpack.encode([row | {"t": datetime.fromisoformat(row["t"])} if "t" in row else row for row in rows])

    async def send(self, payload: bytes) -> None:
        if self.binary or self.msgpack:
            await self.socket.send_bytes(payload)
        else:
            await self.socket.send_str(payload.decode(errors="surrogateescape"))

    def abort(self) -> None:
        """End the connection without a word."""
        if self.request.transport is not None:
            self.request.transport.abort()


class Hub:
    """The connections of one stream. ``answer`` says what a message of the client is answered with."""

    def __init__(self, name: str, faults: Faults, answer: Greeting, *, hello: object | None = None, frames: str = "text") -> None:
        self.name, self._faults, self._answer, self._hello, self.frames = name, faults, answer, hello, frames
        self.connections: list[Connection] = []
        self.opened = 0
        self.delay = 0.0
        self.one_connection = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one client until it goes."""
        self.opened += 1
        refused = self._faults.take(self.name, frozenset({"http"}))
        if refused is not None:
            return web.Response(status=refused.status, text=refused.body or "refused", headers=refused.headers)
        frozen = self._faults.take(self.name, frozenset({"freeze"}))
        socket = web.WebSocketResponse(autoping=frozen is None, compress=False, max_msg_size=0)
        await socket.prepare(request)
        packed = "msgpack" in request.headers.get("Content-Type", "")
        connection = Connection(socket=socket, request=request, binary=self.frames == "binary", msgpack=packed)
        connection.muted_until = math.inf if frozen else 0.0
        if self.one_connection and self.connections:
            await connection.send(connection.encode([{"T": "error", "code": 406, "msg": "connection limit exceeded"}]))
            await socket.close()
            return socket
        self.connections.append(connection)
        writer = asyncio.create_task(self._write(connection))
        try:
            if self._hello is not None:
                await connection.send(connection.encode(self._hello))
            await self._read(connection)
        finally:
            self.connections.remove(connection)
            writer.cancel()
        return socket

    async def _read(self, connection: Connection) -> None:
        async for message in connection.socket:
            if message.type not in {WSMsgType.TEXT, WSMsgType.BINARY}:
                continue
            raw = message.data.encode() if isinstance(message.data, str) else message.data
            asked = msgspec.json.decode(raw) if raw[:1] in b"{[" else msgspec.msgpack.decode(raw)
            trouble = self._faults.take(self.name, CONNECT - {"no_listen_answer"}) if not connection.authenticated else None
            if trouble is not None and await self._refuse(connection, trouble):
                continue
            if connection.authenticated and self._faults.take(self.name, frozenset({"no_listen_answer"})) is not None:
                continue
            for answer in await self._answer(connection, asked):
                await connection.send(connection.encode(answer))

    async def _refuse(self, connection: Connection, fault: Fault) -> bool:
        if fault.kind == "no_auth_answer":
            return True
        if fault.kind == "unauthorized":
            await connection.send(
                connection.encode({"stream": "authorization", "data": {"status": "unauthorized", "action": "authenticate"}})
            )
            return True
        if fault.kind == "error":
            await connection.send(connection.encode([{"T": "error", "code": fault.status, "msg": fault.body or "refused"}]))
            await connection.socket.close()
            return True
        return False

    async def _write(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            payload, due = await connection.outbox.get()
            await asyncio.sleep(max(due - loop.time(), 0))
            if not connection.socket.closed:
                await connection.send(payload)

    def publish(self, message: object, *, wants: Callable[[Connection], object | None], spoil: Callable[[object, Fault], object]) -> None:
        """Send to everybody who wants it, through what is armed."""
        listeners = [(connection, mine) for connection in self.connections if connection.authenticated and (mine := wants(connection))]
        if not listeners:
            return
        fault = self._faults.take(self.name, STREAM - {"freeze"})
        for connection, mine in listeners:
            self._send(connection, mine, fault, spoil)

    def _send(self, connection: Connection, message: object, fault: Fault | None, spoil: Callable[[object, Fault], object]) -> None:
        now = asyncio.get_running_loop().time()
        kind = fault.kind if fault else ""
        if kind == "mute" and fault is not None:
            connection.muted_until = now + fault.seconds
        if now < connection.muted_until or kind == "lost":
            return
        if kind == "drop":
            connection.abort()
            return
        if fault is not None and kind in {"unknown_event", "unknown_status", "odd_shape", "bad_element"}:
            message = spoil(message, fault)
        payload = _garbage(connection) if kind == "garbled" else connection.encode(message)
        if kind == "drop_mid_frame":
            self._half(connection, payload)
            return
        due = now + self.delay + (fault.seconds if fault is not None and kind == "delay" else 0.0)
        if kind == "reorder":
            connection.held_back = payload
            asyncio.get_running_loop().call_later(0.3, _let_go, connection)  # at the latest, where nothing follows
            return
        for one in [payload, payload] if kind == "dup" else [payload]:
            connection.outbox.put_nowait((one, due))
        if connection.held_back is not None:
            connection.outbox.put_nowait((connection.held_back, due))
            connection.held_back = None

    @staticmethod
    def _half(connection: Connection, payload: bytes) -> None:
        """The header of a frame and half of it, then nothing."""
        header = struct.pack("!BBH", 0x81, 126, len(payload)) if len(payload) > 125 else struct.pack("!BB", 0x81, len(payload))
        if connection.request.transport is not None:
            connection.request.transport.write(header + payload[: len(payload) // 2])
            connection.request.transport.close()


def _garbage(connection: Connection) -> bytes:
    return b'{"stream":"trade_upd' + (b"\xff\xfe" if connection.binary else b"") + b" not json"


def _let_go(connection: Connection) -> None:
    if connection.held_back is not None:
        connection.outbox.put_nowait((connection.held_back, 0.0))
        connection.held_back = None
