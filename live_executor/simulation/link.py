"""The order stream as the wire has it: the product's own supervisor and parser over a socket that is cut, torn, garbled or refused.

The server's end is a door: it keeps one connection for the key, closes it, holds that of a process which died for a while, and says so
in the broker's own words (406, 409, an authorization that is refused).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from hedgefund_core.trading.observed import ActivitySighting, OrderSighting
from live_executor.brokers.alpaca.endpoints import Endpoints
from live_executor.brokers.alpaca.order_stream import OrderConversation, Said
from live_executor.ports import Clock
from live_executor.simulation.plan import STREAM, Kind
from live_executor.streams import StreamEndedError, StreamTiming, Surroundings, WatchedStream

if TYPE_CHECKING:
    from live_executor.simulation.faults import Weather

TAKEBACKS = frozenset({"trade_bust", "trade_correct"})
_TIMING = StreamTiming(
    connect=0.5, ready=0.8, quiet=0.0, backoff_first=0.1, backoff_most=0.6, steady=5.0, refused=0.25, refused_most=1.0, budget_seconds=60.0
)
"""The supervisor as ever, in as much of a hurry as the rest."""
_KEYS = Endpoints(trading="", data="", trading_stream="", data_stream="", api_key="simulated", secret_key="simulated")  # noqa: S106 - none
_LONGEST_GHOST = 1.5
"""Seconds for which a server holds the connection of a process that is gone."""
_JUNK = (b"", b"\xff\xfe\x00garbage", b"<html><body>502 Bad Gateway</body></html>", b"[]", b"null", b'{"stream":"trade_updates","data":{}}')


def takeback_name(seen: OrderSighting) -> str:
    """Which take-back of which order an update tells of."""
    return f"{seen.client_order_id}@{'' if seen.fill is None else seen.fill.at.isoformat()}"


def frame_of(seen: OrderSighting) -> bytes:
    """An update in the broker's own words."""
    order = {
        "id": seen.broker_order_id, "client_order_id": seen.client_order_id, "symbol": seen.symbol, "side": seen.side,
        "qty": _text(seen.quantity), "filled_qty": _text(seen.filled_quantity), "filled_avg_price": _text(seen.average_price),
        "status": seen.status, "type": seen.order_type, "time_in_force": seen.time_in_force, "limit_price": _text(seen.limit_price),
        "updated_at": seen.at.isoformat(), "replaced_by": seen.replaced_by or None, "reject_reason": seen.reason or None,
    }  # fmt: skip
    update: dict[str, object] = {"event": seen.event, "timestamp": seen.at.isoformat(), "order": order}
    if seen.fill is not None:
        fill = seen.fill
        update |= {"execution_id": fill.execution_id, "qty": _text(fill.quantity), "price": _text(fill.price)}
    return msgspec.json.encode({"stream": "trade_updates", "data": update})


def _text(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")


class Socket:
    """One connection, seen from the process: the port ``Link`` of the supervisor."""

    def __init__(self, door: Door, alive: Callable[[], None], heard: Callable[[OrderSighting], None]) -> None:
        self._door, self._alive, self._heard = door, alive, heard
        self._frames = asyncio.Queue[tuple[bytes, OrderSighting | None] | str]()
        self._over = ""
        self.listens = False

    async def send(self, message: bytes | str) -> None:
        """Ask the server."""
        self._alive()
        await asyncio.sleep(self._door.delay())
        self._door.asked(self, message)

    async def receive(self) -> bytes:
        """The next frame; a link that has ended raises."""
        said = await self._frames.get()
        self._alive()
        if isinstance(said, str):
            raise StreamEndedError(said)
        frame, seen = said
        if seen is not None:
            self._heard(seen)
        return frame

    async def end(self, reason: str) -> None:
        """Close."""
        self.over(reason)

    # ---- the server's side -------------------------------------------------------------------------------------------

    def deliver(self, frame: bytes, seen: OrderSighting | None = None) -> None:
        """A frame arrives, unless the link is down by then; ``seen``: what it says, where it is whole."""
        if not self._over:
            self._frames.put_nowait((frame, seen))

    def over(self, reason: str) -> None:
        """The link ends; what has arrived is still read."""
        if not self._over:
            self._over = reason
            self._frames.put_nowait(reason)

    @property
    def is_killed(self) -> bool:
        """Whether its process is dead."""
        try:
            self._alive()
        except asyncio.CancelledError:
            return True
        return False


class Door:
    """The server's end: one connection for the key."""

    def __init__(self, weather: Weather, rng: random.Random, delay: Callable[[], float], happened: Callable[[str], None]) -> None:
        self._weather, self._rng, self.delay, self._happened = weather, rng, delay, happened
        self._socket: Socket | None = None
        self._held_until = self._away_until = self._refused_until = 0.0
        self._refusal = 401
        self._last = 0.0
        self.mute = False
        self.silent: set[str] = set()
        """Orders of which nothing is said."""
        self.down_since: float | None = None
        """Since when the running process has no connection."""

    # ---- what goes wrong by plan -------------------------------------------------------------------------------------

    def drop(self, seconds: float) -> None:
        """The connection is lost, and none comes about for a while."""
        self._away_until = _time() + seconds
        self._close("connection reset by peer")

    def refuse(self, code: int, seconds: float) -> None:
        """The key is in use elsewhere, or not believed: told to who is connected, and to who comes."""
        self._refused_until, self._refusal = _time() + seconds, code
        if self._socket is not None:
            self._socket.deliver(_refusal(code))
            self._close(f"closed by the server after {code}")

    def calm(self) -> None:
        """Nothing is refused any more."""
        self._held_until = self._away_until = self._refused_until = 0.0
        self.mute = False
        self.silent.clear()

    # ---- connections -------------------------------------------------------------------------------------------------

    async def connect(self, socket: Socket) -> None:
        """A handshake; raises OSError."""
        await asyncio.sleep(self.delay())
        if _time() < self._away_until:
            raise ConnectionRefusedError("connection refused")
        if self._socket is None:
            self._socket = socket

    def left(self, socket: Socket) -> None:
        """The process lets go; of one that was killed the server learns later."""
        if self._socket is not socket:
            return
        self._socket, self.down_since = None, _time()
        if socket.is_killed and self._rng.random() < 0.5:
            self._held_until = _time() + self._rng.random() * _LONGEST_GHOST
            self.down_since = None  # who comes next has never been up

    def asked(self, socket: Socket, message: bytes | str) -> None:
        """A question of the process, answered by the broker's own words."""
        if socket is not self._socket or _time() < max(self._held_until, self._refused_until):
            code = self._refusal if _time() < self._refused_until else 406
            self._happened(f"stream refused: {code}")
            socket.deliver(_refusal(code))
            socket.over(f"closed by the server after {code}")
            return
        if b"authenticate" in (message if isinstance(message, bytes) else message.encode()):
            socket.deliver(b'{"stream":"authorization","data":{"status":"authorized","action":"authenticate"}}')
            return
        socket.deliver(b'{"stream":"listening","data":{"streams":["trade_updates"]}}')
        socket.listens, self.down_since = True, None

    def _close(self, reason: str) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            self.down_since = _time()
            socket.over(reason)

    # ---- what it says ------------------------------------------------------------------------------------------------

    def say(self, seen: OrderSighting | ActivitySighting) -> None:
        """An update is on its way: it may be lost, late, doubled, garbled, or torn off with the link."""
        socket = self._socket
        if socket is None or not socket.listens or self.mute or isinstance(seen, ActivitySighting) or seen.client_order_id in self.silent:
            return
        loop, fault = asyncio.get_running_loop(), self._weather.take(tuple(STREAM))
        kind, seconds = (None, 0.0) if fault is None else (fault.kind, fault.seconds)
        if kind is Kind.LOSE:
            return
        frame, whole = frame_of(seen), None if kind in {Kind.GARBLE, Kind.TORN} else seen
        self._last = max(self._last, loop.time() + self.delay())
        if fault is not None and kind in {Kind.GARBLE, Kind.TORN}:
            frame = self._broken(frame, torn=kind is Kind.TORN)
        at = loop.time() + seconds if kind is Kind.LATE else self._last
        loop.call_at(at, socket.deliver, frame, whole)
        if kind is Kind.DOUBLE:
            loop.call_later(seconds, socket.deliver, frame, whole)
        elif kind is Kind.TORN:
            loop.call_at(self._last, self._torn, socket)

    def _broken(self, frame: bytes, *, torn: bool) -> bytes:
        """A frame that is none: cut off in the middle, or something else altogether."""
        if torn or self._rng.random() < 0.5:
            near_its_end = self._rng.random() < 0.5  # where a number is half there
            return frame[: len(frame) - 4 - self._rng.randrange(6) if near_its_end else self._rng.randrange(1, len(frame) - 1)]
        return self._rng.choice(_JUNK)

    def _torn(self, socket: Socket) -> None:
        if self._socket is socket:
            self._close("connection reset in the middle of a message")


def _refusal(code: int) -> bytes:
    if code == 401:
        return b'{"stream":"authorization","data":{"status":"unauthorized","action":"authenticate"}}'
    words = {402: "auth failed", 406: "connection limit exceeded", 407: "slow client", 409: "insufficient subscription"}
    return msgspec.json.encode({"code": code, "msg": words.get(code, "error")})


def _time() -> float:
    return asyncio.get_running_loop().time()


class SimulatedStream(WatchedStream[Said]):
    """The product's supervisor of the order stream; only the socket is another one."""

    def __init__(
        self, door: Door, clock: Clock, rng: random.Random, alive: Callable[[], None], heard: Callable[[OrderSighting], None]
    ) -> None:
        super().__init__("", OrderConversation(_KEYS, clock, 0.3), Surroundings(clock=clock, rng=rng), timing=_TIMING)
        self._door, self._alive, self._told = door, alive, heard

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[Socket]:  # type: ignore[override] # another kind of link
        self.connections += 1
        self._alive()
        socket = Socket(self._door, self._alive, self._told)
        await self._door.connect(socket)
        try:
            yield socket
        finally:
            self._door.left(socket)
