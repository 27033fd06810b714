"""What Alpaca's order stream says (``/stream``, trade_updates): JSON in text or binary frames, one message a frame or a list of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from hedgefund_core.trading.observed import Channel, OrderSighting, UnknownUpdate
from live_executor.brokers.alpaca import wire
from live_executor.brokers.alpaca.endpoints import Endpoints
from live_executor.ports import UNREADABLE, Clock
from live_executor.streams import Link, StreamEndedError, StreamRefusedError, unreadable

Said = OrderSighting | UnknownUpdate
_CHANNEL = "trade_updates"
ANSWER_SECONDS = 3.0
REFUSED_CODES, ENDED_CODES = frozenset({"401", "402", "406", "409"}), frozenset({"404", "407", "500"})


class _Message(msgspec.Struct, kw_only=True):
    """The envelope of every message; some servers say errors as the data stream does."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")
    code: int | str | None = None
    msg: str | None = None


class _Control(msgspec.Struct, kw_only=True):
    """``data`` of an answer to what we asked."""

    status: str | None = None
    action: str | None = None
    streams: list[str] | None = None
    error: str | None = None
    message: str | None = None


class OrderConversation:
    """Authenticate, listen, read."""

    def __init__(self, endpoints: Endpoints, clock: Clock, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._endpoints, self._clock, self._answer_seconds = endpoints, clock, answer_seconds
        self._message, self._rows = msgspec.json.Decoder(_Message), msgspec.json.Decoder(list[msgspec.Raw])
        self._update = msgspec.json.Decoder(wire.WireUpdate)
        self._control = msgspec.json.Decoder(_Control)

    async def greet(self, link: Link) -> Sequence[Said]:
        """Two questions, two answers; an order's update may come between. Some servers leave the second unanswered."""
        keys = {"key_id": self._endpoints.api_key, "secret_key": self._endpoints.secret_key}
        early: list[Said] = []
        await self._ask(link, {"action": "authenticate", "data": keys}, "authorization", early)
        try:
            async with asyncio.timeout(self._answer_seconds):
                await self._ask(link, {"action": "listen", "data": {"streams": [_CHANNEL]}}, "listening", early)
        except TimeoutError:
            early.append(unreadable("no answer to the wish to listen to orders: queries say what the stream may not", "", self._clock))
        return early

    async def _ask(self, link: Link, question: dict[str, object], answered_by: str, early: list[Said]) -> None:
        await link.send(msgspec.json.encode(question).decode())
        answered = False
        while not answered:
            for part in self._parts(await link.receive()):
                message = self._read_envelope(part)
                if message is not None and message.stream == answered_by:
                    self._check(message, answered_by)
                    answered = True
                else:
                    early += self._read_one(part)

    def _check(self, message: _Message, answered_by: str) -> None:
        try:
            control = self._control.decode(message.data)
        except UNREADABLE as error:
            raise StreamEndedError(f"unreadable answer on the stream {answered_by}: {error}") from error
        if "unauthorized" in {control.status, control.error} or control.status == "failed":
            raise StreamRefusedError("the order stream refuses the credentials: check ALPACA_API_KEY and ALPACA_SECRET_KEY")
        if answered_by == "listening" and _CHANNEL not in (control.streams or []):
            raise StreamEndedError(f"the server does not offer {_CHANNEL}: {control.error or control.message or 'no reason'}")

    def read(self, frame: bytes) -> Sequence[Said]:
        """Orders' updates; anything else is said not to be understood."""
        if frame[:1] != b"[":
            return self._read_one(frame)
        return [said for part in self._parts(frame) for said in self._read_one(part)]

    def _parts(self, frame: bytes) -> list[bytes]:
        """The messages of a frame: one, or a list of them as on the data stream."""
        try:
            rows = self._rows.decode(frame) if frame[:1] == b"[" else []
        except UNREADABLE:
            rows = []
        return [bytes(row) for row in rows] or [frame]

    def _read_one(self, frame: bytes) -> Sequence[Said]:
        message = self._read_envelope(frame)
        if message is None:
            return [unreadable("a frame that is no message", frame, self._clock)]
        if message.stream != _CHANNEL:
            return self._read_other(message, frame)
        try:
            update = self._update.decode(message.data)
            now = self._clock.now()
            return [wire.order_sighting(update.order, channel=Channel.STREAM, now=now, update=update)]
        except (*UNREADABLE, wire.Unreadable) as error:
            return [unreadable(f"an order's update: {error}", frame, self._clock)]

    def _read_other(self, message: _Message, frame: bytes) -> Sequence[Said]:
        words = f"order stream: {message.code} {message.msg or ''}"
        if str(message.code) in REFUSED_CODES:
            raise StreamRefusedError(words)
        if str(message.code) in ENDED_CODES:
            raise StreamEndedError(words)
        if message.stream in {"authorization", "listening"}:
            self._check(message, message.stream)
            return []
        return [unreadable(f"the stream {message.stream!r}", frame, self._clock)]

    def _read_envelope(self, frame: bytes) -> _Message | None:
        try:
            return self._message.decode(frame)
        except UNREADABLE:
            return None
