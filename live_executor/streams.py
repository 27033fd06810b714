"""A websocket that is watched: it comes back by itself, says so, never in a storm, and never twice for one key.

What a vendor's client does not do is done here: a deadline until it is ready, pings that are missed within seconds, a watchdog on
the age of data while data are due, jittered backoff with a budget, and a lock that other processes see. Nothing that happens to a
message leaves as an exception: what cannot be read is an `UnknownUpdate`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import msgspec
from filelock import FileLock, Timeout

from hedgefund_core.trading.observed import LinkChanged, LinkState, UnknownUpdate
from live_executor.ports import Clock

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

T = TypeVar("T")
Said_co = TypeVar("Said_co", covariant=True)
Sleep = Callable[[float], Awaitable[None]]
LONGEST_PAYLOAD = 2_000
"""Characters of an unreadable message that are kept."""
_REFUSED_STATUS = frozenset({401, 402, 403, 404})


class StreamRefusedError(Exception):
    """The server said no in a way that asking again will not mend."""


class StreamEndedError(Exception):
    """The link is of no use any more: reconnect."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What adapters must not fetch themselves: time, chance and waiting."""

    clock: Clock
    rng: random.Random
    sleep: Sleep = asyncio.sleep


class StreamTiming(msgspec.Struct, frozen=True, kw_only=True):
    """All durations in seconds."""

    connect: float = 5.0
    ready: float = 10.0
    """From the open connection to authenticated and subscribed"""
    ping: float = 5.0
    pong: float = 8.0
    quiet: float = 60.0
    """Age of the newest frame at which an open link counts as mute, while data are due; 0: never"""
    backoff_first: float = 0.5
    backoff_most: float = 30.0
    steady: float = 30.0
    """A link that lived so long starts the backoff anew."""
    refused: float = 60.0
    refused_most: float = 300.0
    budget_seconds: float = 300.0
    budget_connects: int = 30
    """No more connections than this within ``budget_seconds``."""


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
        """Everything a frame tells. Never raises for what it holds, but for a link that is of no use: the two errors above."""


class _Socket:
    """A `Link` over the websockets library; it notes when it last heard something."""

    def __init__(self, socket: ClientConnection, monotonic: Callable[[], float]) -> None:
        self._socket, self.monotonic = socket, monotonic
        self.heard_at, self.end_reason = monotonic(), ""

    async def send(self, message: bytes | str) -> None:
        await self._socket.send(message)

    async def receive(self) -> bytes:
        frame = await self._socket.recv(decode=False)
        self.heard_at = self.monotonic()
        return frame

    async def end(self, reason: str) -> None:
        """Drop the connection; a closing handshake with somebody mute would only take time."""
        self.end_reason = self.end_reason or reason
        self._socket.transport.abort()


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
        """For ever: what the stream says, and how the link is."""
        try:
            while True:
                problem = self._locked()
                if problem is None:
                    await self._spend()
                    async for update in self._one_connection():
                        yield update
                    continue
                self._refusals += 1
                yield self._changed(LinkState.REFUSED, problem)
                await self._sleep(self._refused_pause())
        finally:
            if self._lock is not None:
                self._lock.release()

    async def send(self, message: bytes | str) -> None:
        """Send something on the open link; nothing happens where there is none: a new one begins with everything subscribed."""
        if self._socket is not None:
            with contextlib.suppress(OSError, StreamEndedError):
                await self._send_on(self._socket, message)

    async def restart(self, reason: str) -> None:
        """Drop the link; it comes back by itself."""
        if self._socket is not None:
            await self._socket.end(reason)

    @staticmethod
    async def _send_on(socket: _Socket, message: bytes | str) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            await socket.send(message)
        except ConnectionClosed as error:
            raise StreamEndedError(str(error)) from error

    async def _one_connection(self) -> AsyncIterator[T | LinkChanged | UnknownUpdate]:
        """One life of the link, from the handshake to its end; then the pause before the next."""
        from websockets.exceptions import WebSocketException

        began, state, reason, was_up = _monotonic(), LinkState.DOWN, "ended", False
        try:
            async with self._open() as socket:
                for update in await asyncio.wait_for(self._conversation.greet(socket), self._timing.ready):
                    yield update
                was_up, self._socket, self._refusals = True, socket, 0
                yield self._changed(LinkState.UP, "")
                async for update in self._listen(socket):
                    yield update
        except StreamRefusedError as error:
            reason, state = str(error), LinkState.REFUSED
        except TimeoutError:
            reason = "no answer in time"
        except (OSError, WebSocketException, StreamEndedError) as error:
            reason, state = self._describe(error)
        finally:
            self._socket = None
        self._count(state, steady=was_up and _monotonic() - began >= self._timing.steady)
        yield self._changed(state, reason)
        await self._sleep(self._refused_pause() if state is LinkState.REFUSED else self._pause())

    async def _listen(self, socket: _Socket) -> AsyncIterator[T]:
        read, receive = self._conversation.read, socket.receive
        watch = asyncio.create_task(self._watch(socket))
        try:
            while True:
                for update in read(await receive()):
                    yield update
        finally:
            watch.cancel()

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[_Socket]:
        from websockets.asyncio.client import connect

        self.connections += 1
        connection = await connect(
            self._url,
            open_timeout=self._timing.connect,
            ping_interval=self._timing.ping,
            ping_timeout=self._timing.pong,
            close_timeout=1.0,
            compression=None,
            max_size=2**24,
            max_queue=None,  # a paused reader would miss its pongs; the consumer only files what it gets
            proxy=None,  # keys go to the address that was given, and nowhere else
        )
        socket = _Socket(connection, asyncio.get_running_loop().time)
        try:
            yield socket
            await connection.close()
        except BaseException as error:
            self._note_end(error, socket)
            connection.transport.abort()
            raise
        finally:
            connection.transport.abort()

    @staticmethod
    def _note_end(error: BaseException, socket: _Socket) -> None:
        if socket.end_reason and isinstance(error, Exception):
            raise StreamEndedError(socket.end_reason) from error

    async def _watch(self, socket: _Socket) -> None:
        """End a link that is open and says nothing while data are due."""
        quiet = self._timing.quiet * 2 ** min(self._mutes, 5)  # a day without data is no reason to come back every minute
        began = quiet_since = socket.heard_at
        while quiet > 0:
            await self._sleep(quiet / 4)
            if socket.heard_at > began:
                self._mutes = 0
            if not self._data_due():
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
        """Exponential with full jitter above a floor, so that many clients never come back together."""
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
        except (Timeout, OSError) as error:
            return f"another process of this computer holds this stream's key ({type(error).__name__}: {self._lock.lock_file})"
        return None

    def _describe(self, error: Exception) -> tuple[str, LinkState]:
        from websockets.exceptions import InvalidStatus

        if isinstance(error, InvalidStatus):
            status = error.response.status_code
            return f"the server answered HTTP {status}", LinkState.REFUSED if status in _REFUSED_STATUS else LinkState.DOWN
        return f"{type(error).__name__}: {error}"[:300], LinkState.DOWN

    def _changed(self, state: LinkState, reason: str) -> LinkChanged:
        return LinkChanged(state=state, reason=reason, at=self._clock.now())


def _monotonic() -> float:
    return asyncio.get_running_loop().time()


def unreadable(what: str, payload: bytes | str, clock: Clock) -> UnknownUpdate:
    """A message that could not be read, kept as text and not too long."""
    text = payload if isinstance(payload, str) else payload.decode("utf-8", "backslashreplace")
    return UnknownUpdate(what=what, payload=text[:LONGEST_PAYLOAD], at=clock.now())
