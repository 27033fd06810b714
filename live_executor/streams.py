"""A supervised websocket: it reconnects by itself and reports it, without reconnection storms, and with one connection per key.

It adds what vendors' clients lack: a deadline until the link is ready, pings whose loss shows within seconds, a watchdog on the age of
data while data are due, jittered backoff with a budget of connections, and a lock that other processes see. A message that cannot be
read never raises; it becomes an `UnknownUpdate`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import msgspec
from filelock import FileLock, Timeout

from hedgefund_core.trading.observed import LinkChanged, LinkState, UnknownUpdate
from live_executor.ports import Clock, Sleep

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")
Said_co = TypeVar("Said_co", covariant=True)
_DENSE = 20
"""After so many frames the mean time between them tells how often data come."""
LONGEST_PAYLOAD = 2_000
"""Characters of an unreadable message that are kept."""
_REFUSED_STATUS = frozenset({401, 402, 403, 404})


class StreamRefusedError(Exception):
    """The server refused the stream for a reason that trying again soon will not mend."""


class StreamEndedError(Exception):
    """The link is of no use any more; a new one has to be opened."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Time, randomness and waiting, given to adapters from outside so that tests and simulations can replace them."""

    clock: Clock
    rng: random.Random
    sleep: Sleep = asyncio.sleep


class StreamTiming(msgspec.Struct, frozen=True, kw_only=True):
    """All durations in seconds."""

    connect: float = 5.0
    ready: float = 10.0
    """From the open connection to authenticated and subscribed"""
    ping: float = 5.0
    """Silence after which a ping is sent; half of it is the time for its pong"""
    quiet: float = 60.0
    """Age of the newest frame at which an open link counts as mute, while data are due; 0: never"""
    backoff_first: float = 0.5
    backoff_most: float = 10.0
    """An order stream that is down holds entries: after the longest outage the next try comes within so much"""
    steady: float = 30.0
    """After a link that lived so long the backoff starts from its first pause again"""
    refused: float = 5.0
    """Pause after a refusal, then doubled: a server may hold the connection of a process that was killed for a while"""
    refused_most: float = 60.0
    budget_seconds: float = 300.0
    budget_connects: int = 60
    """No more connections than this within ``budget_seconds``; what an outage of any length needs is less."""


class Link(Protocol):
    """An open connection, as a protocol sees it."""

    async def send(self, message: bytes | str) -> None:
        """Send one message."""

    async def receive(self) -> bytes:
        """The next frame, text or binary, as bytes."""


class Conversation(Protocol[Said_co]):
    """What a vendor speaks on a websocket."""

    async def greet(self, link: Link) -> Sequence[Said_co]:
        """Authenticate and subscribe; gives updates that came meanwhile. Raises StreamRefusedError or StreamEndedError."""

    def read(self, frame: bytes) -> Sequence[Said_co]:
        """Everything a frame tells. Raises nothing but StreamRefusedError or StreamEndedError, where the frame ends the link."""


class _Socket:
    """A `Link` over aiohttp's websocket (its frames are cut in C); it notes when it last heard something."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool], monotonic: Callable[[], float]) -> None:
        self._socket, self._receive, self._monotonic = socket, socket.receive, monotonic
        self.heard_at, self.frames, self._end_reason = monotonic(), 0, ""

    async def send(self, message: bytes | str) -> None:
        """Text stays text."""
        if isinstance(message, str):
            await self._socket.send_str(message)
        else:
            await self._socket.send_bytes(message)

    async def receive(self) -> bytes:
        """The next frame's bytes; a link that has ended raises."""
        message = await self._receive()
        if message.type not in _DATA:
            raise StreamEndedError(self._end_reason or _ending(message.data, message.extra))
        self.heard_at = self._monotonic()
        self.frames += 1
        return message.data  # type: ignore[no-any-return]

    async def end(self, reason: str) -> None:
        """Close; whoever reads is told why."""
        self._end_reason = self._end_reason or reason
        await self._socket.close()


_DATA = frozenset({1, 2})
"""Opcodes of text and binary frames"""


def _ending(data: object, extra: object) -> str:
    """What the end of a connection says about itself."""
    if isinstance(data, BaseException):
        return f"{type(data).__name__}: {data}"[:300]
    words = f" {extra}" if extra else ""
    return f"closed by the server ({data}{words})" if isinstance(data, int) else "the connection is lost"


class WatchedStream(Generic[T]):
    """The supervisor of one websocket."""

    def __init__(
        self,
        url: str,
        conversation: Conversation[T],
        surroundings: Surroundings,
        *,
        timing: StreamTiming | None = None,
        data_due: Callable[[], bool] | None = None,
        lock: Path | None = None,
    ) -> None:
        self._url, self._conversation = url, conversation
        self._clock, self._rng, self._sleep = surroundings.clock, surroundings.rng, surroundings.sleep
        self._timing, self._data_due = timing or StreamTiming(), data_due or (lambda: False)
        self._lock = None if lock is None else FileLock(lock, timeout=0, thread_local=False)
        self._connects: deque[float] = deque()
        self._failures = self._refusals = 0
        self._socket: _Socket | None = None
        self._mutes = 0
        self.connections = 0
        """How often a connection was tried."""

    async def updates(self) -> AsyncGenerator[T | LinkChanged | UnknownUpdate, None]:
        """For ever: what the stream says, and when the link goes up or down."""
        async with contextlib.aclosing(self.batches()) as batches:
            async for batch in batches:
                for update in batch:
                    yield update

    async def batches(self) -> AsyncGenerator[Sequence[T | LinkChanged | UnknownUpdate], None]:
        """The same, frame by frame: a frame of hundreds costs one step of the event loop."""
        try:
            while True:
                problem = self._locked()
                if problem is not None:
                    self._refusals += 1
                    yield [self._changed(LinkState.REFUSED, problem)]
                    await self._sleep(self._refused_pause())
                    continue
                await self._spend()
                async with contextlib.aclosing(self._one_connection()) as life:
                    async for batch in life:
                        yield batch
        finally:
            if self._lock is not None:
                self._lock.release()

    async def send(self, message: bytes | str) -> None:
        """Send on the open link. Does nothing without one: a new link subscribes to everything when it opens."""
        if self._socket is not None:
            with contextlib.suppress(ConnectionError):
                await self._socket.send(message)

    async def restart(self, reason: str) -> None:
        """Drop the link; it comes back by itself."""
        if self._socket is not None:
            await self._socket.end(reason)

    async def _one_connection(self) -> AsyncGenerator[Sequence[T | LinkChanged | UnknownUpdate], None]:
        """One life of the link, from the handshake to its end; then the pause before the next."""
        began, state, reason, was_up = _monotonic(), LinkState.DOWN, "ended", False
        read = self._conversation.read
        try:
            async with self._open() as socket:
                async with asyncio.timeout(self._timing.ready):  # in this task: who sends meanwhile finds no link, or one that is greeted
                    early = await self._conversation.greet(socket)
                was_up, self._socket, self._refusals = True, socket, 0
                yield [*early, self._changed(LinkState.UP, "")]
                receive = socket.receive
                while True:
                    said = read(await receive())
                    if said:
                        yield said
        except _failures() as error:
            reason, state = _describe(error)
        finally:
            self._socket = None
        self._count(state, steady=was_up and _monotonic() - began >= self._timing.steady)
        yield [self._changed(state, reason)]
        await self._sleep(self._refused_pause() if state is LinkState.REFUSED else self._pause())

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[_Socket]:
        """An open connection under watch, closed in any case."""
        import aiohttp

        self.connections += 1
        timing, watched = self._timing, aiohttp.TraceConfig()
        watched.on_request_redirect.append(_no_redirect)  # the keys may go to no other address than the configured one
        wait = aiohttp.ClientTimeout(total=timing.connect)
        async with aiohttp.ClientSession(timeout=wait, trace_configs=[watched], cookie_jar=aiohttp.DummyCookieJar()) as session:
            close = aiohttp.ClientWSTimeout(ws_close=1.0)
            connection = await asyncio.wait_for(
                session.ws_connect(self._url, heartbeat=timing.ping, timeout=close, max_msg_size=2**24, decode_text=False), timing.connect
            )
            socket = _Socket(connection, asyncio.get_running_loop().time)
            watch = asyncio.create_task(self._watch(socket))
            try:
                yield socket
            finally:
                watch.cancel()
                await connection.close()

    async def _watch(self, socket: _Socket) -> None:
        """End a link that is open but silent while data are due, by market hours or because they had been coming at a high rate."""
        # Each mute link doubles the patience, so that a day without data does not mean a reconnection every minute.
        quiet = self._timing.quiet * 2 ** min(self._mutes, 5)
        began = quiet_since = socket.heard_at
        while quiet > 0:
            await self._sleep(quiet / 4)
            if socket.frames >= _DENSE:
                self._mutes = 0
            dense = socket.frames >= _DENSE and (socket.heard_at - began) / socket.frames < quiet / 10
            if not (dense or self._data_due()):
                quiet_since = max(socket.heard_at, _monotonic())
            elif _monotonic() - max(socket.heard_at, quiet_since) > quiet:
                self._mutes += 1
                await socket.end(f"mute: nothing heard for {quiet:g} s while data are due")
                return

    # ---------------------------------------------------------------------------------------------------------- pauses
    def _count(self, state: LinkState, *, steady: bool) -> None:
        self._failures = 0 if steady else self._failures + 1
        self._refusals = self._refusals + 1 if state is LinkState.REFUSED else 0

    def _pause(self) -> float:
        """Seconds before reconnecting: exponential with full jitter above a floor, so that clients do not all come back at once."""
        most = min(self._timing.backoff_first * 2 ** min(self._failures, 16), self._timing.backoff_most)
        return float(self._timing.backoff_first / 2 + self._rng.random() * most)

    def _refused_pause(self) -> float:
        longest = min(self._timing.refused * 2 ** max(self._refusals - 1, 0), self._timing.refused_most)
        return float(longest * (0.75 + self._rng.random() / 2))

    async def _spend(self) -> None:
        """Wait until the budget of connections allows one more."""
        now, span = _monotonic(), self._timing.budget_seconds
        while self._connects and now - self._connects[0] > span:
            self._connects.popleft()
        if len(self._connects) >= self._timing.budget_connects:
            await self._sleep(span - (now - self._connects[0]))
            self._connects.popleft()
        self._connects.append(_monotonic())

    def _locked(self) -> str | None:
        """Take the lock of this feed; the reason where another process has it."""
        if self._lock is None or self._lock.is_locked:
            return None
        try:
            Path(self._lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            return f"another process of this computer holds this stream's key ({self._lock.lock_file})"
        except OSError as error:
            return f"the lock of this stream cannot be taken ({self._lock.lock_file}: {error})"
        return None

    def _changed(self, state: LinkState, reason: str) -> LinkChanged:
        return LinkChanged(state=state, reason=reason, at=self._clock.now())


def _failures() -> tuple[type[Exception], ...]:
    """Everything a link can end with."""
    import aiohttp

    return (StreamRefusedError, StreamEndedError, TimeoutError, OSError, aiohttp.ClientError)


def _describe(error: Exception) -> tuple[str, LinkState]:
    """The reason in words, and whether asking again soon may help."""
    from aiohttp import WSServerHandshakeError

    if isinstance(error, StreamRefusedError):
        return str(error), LinkState.REFUSED
    if isinstance(error, WSServerHandshakeError):
        return f"the server answered HTTP {error.status}", LinkState.REFUSED if error.status in _REFUSED_STATUS else LinkState.DOWN
    if isinstance(error, TimeoutError):
        return "no answer in time", LinkState.DOWN
    words = str(error) if isinstance(error, StreamEndedError) else f"{type(error).__name__}: {error}"
    return words[:300], LinkState.DOWN


async def _no_redirect(_session: object, _context: object, _parameters: object) -> None:
    """Stop where a server sends us elsewhere."""
    raise StreamRefusedError("the server sends us to another address")


def _monotonic() -> float:
    return asyncio.get_running_loop().time()


def unreadable(what: str, payload: bytes | str, clock: Clock) -> UnknownUpdate:
    """A message that could not be read, kept as text and not too long."""
    text = payload if isinstance(payload, str) else payload.decode("utf-8", "backslashreplace")
    return UnknownUpdate(what=what, payload=text[:LONGEST_PAYLOAD], at=clock.now())
