"""The rate limit on the client's side: as many requests as the server's headers allow, with a reserve for cancels, reads and reductions."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import math
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from enum import IntEnum

from hedgefund_core.errors import BrokerUnavailable

RESERVE = 0.2
"""Share of the limit that entries leave unused."""
_LONGEST_BLOCK = 60.0
_SOONEST = 0.001
"""Seconds. A shorter timer may end a little too early by rounding, and would be set again without end."""
_FIRST_BLOCK, _MOST_BLOCK = 1.0, 2.0
_MEND = "wait: the broker limits requests; fewer names or longer pauses need fewer of them"


class Lane(IntEnum):
    """Kinds of requests, in the order in which they are let through."""

    CANCEL = 0
    READ = 1
    REDUCE = 2
    ENTER = 3


_KEEPS = {Lane.CANCEL: 0.0, Lane.READ: RESERVE / 4, Lane.REDUCE: RESERVE / 2, Lane.ENTER: RESERVE}
"""Share of the limit that must be left behind by each lane."""
_SPARE = {Lane.CANCEL: 0, Lane.READ: 2, Lane.REDUCE: 4, Lane.ENTER: 6}
"""Places in flight that each lane leaves free for those before it."""


class Budget:
    """Requests allowed by a server's window; unlimited until it says that there is a limit."""

    def __init__(self, *, now: Callable[[], float], most_in_flight: int = 26) -> None:
        self._now = now
        self._most_in_flight, self.in_flight = most_in_flight, 0
        self.limit: float = 0.0
        """Requests a minute; 0: the server has not said that there is a limit."""
        self._left, self._as_of, self._refills_from = 0.0, 0.0, 0.0
        self._blocked_until, self._blocks = 0.0, 0
        self._cancels_from = 0.0
        self._window: float | None = None
        self._doubted = False
        """Whether the server says that nothing is left and yet allows requests, so that its count cannot be believed."""
        self._queue: list[tuple[Lane, int, asyncio.Future[None]]] = []
        self._serial = 0
        self._timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------------------------------------------- the lanes
    async def enter(self, lane: Lane, patience: float) -> None:
        """Wait for a place. Raises BrokerUnavailable where that takes longer than ``patience`` seconds: nothing was sent.

        Every successful call is followed by one of `leave`.
        """
        if not self._queue and self.delay(lane) <= 0:
            self._take()
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._serial += 1
        heapq.heappush(self._queue, (lane, self._serial, waiting))
        self._pump()
        try:
            await asyncio.wait_for(asyncio.shield(waiting), patience)
        except TimeoutError as error:
            if not waiting.cancel():  # it came in the same moment
                return
            raise BrokerUnavailable(f"no request is allowed within {patience:g} s", mend=_MEND) from error
        except asyncio.CancelledError:
            if not waiting.cancel() and not waiting.cancelled():
                self.leave()
            raise

    def leave(self, headers: Mapping[str, str] | None = None, *, allowed: bool = True) -> None:
        """A request has ended; what its answer said of the limit, and whether it was allowed."""
        self.in_flight -= 1
        if headers is not None:
            self._learn(headers, allowed=allowed)
            self._blocks = 0 if allowed else self._blocks
        self._pump()

    def refused(self, headers: Mapping[str, str]) -> None:
        """The answer was 429: nothing leaves before the time that it names. If it names none, pauses grow, except for cancels."""
        if _monotonic() >= self._blocked_until:  # what was on its way when a pause began says nothing new
            self._blocks += 1
        pause = guess = min(_FIRST_BLOCK * 2 ** min(self._blocks - 1, 8), _MOST_BLOCK)
        after, reset = self._retry_after(headers), _number(headers.get("X-RateLimit-Reset"))
        if after is not None:
            pause = max(after, 0.1)
        elif reset is not None and 0 < reset - self._now() <= _LONGEST_BLOCK:
            pause = reset - self._now() + 0.1
        until = _monotonic() + min(pause, _LONGEST_BLOCK)
        named = after is not None or pause != guess
        self._blocked_until = max(self._blocked_until, until)
        self._cancels_from = max(self._cancels_from, until if named else _monotonic() + _FIRST_BLOCK)

    def delay(self, lane: Lane) -> float:
        """Seconds until this lane may send, infinite while everything in flight has to end first: after a refusal, one asks for all."""
        most = self._most_in_flight - _SPARE[lane]
        if self.in_flight >= (1 if self._blocks and lane is not Lane.CANCEL else most):
            return math.inf
        now = _monotonic()
        blocked = (self._cancels_from if lane is Lane.CANCEL else self._blocked_until) - now
        if not self.limit:
            return max(blocked, 0.0)
        missing = min(_KEEPS[lane] * self.limit + 1.0, self.limit) - self._left_at(now)
        start = max(self._refills_from - now, 0.0) if missing > 0 else 0.0
        return max(blocked, start + missing * 60.0 / self.limit, 0.0)

    def available(self, lane: Lane) -> int | None:
        """Requests this lane could send at once; None where no limit is known."""
        if not self.limit:
            return None
        return max(int(self._left_at(_monotonic()) - _KEEPS[lane] * self.limit), 0)

    def _retry_after(self, headers: Mapping[str, str]) -> float | None:
        """Seconds that the server names, or until the time that it names."""
        text = headers.get("Retry-After")
        seconds = _number(text)
        if text and seconds is None:
            with contextlib.suppress(ValueError):
                seconds = parsedate_to_datetime(text).timestamp() - self._now()
        return seconds

    # ---------------------------------------------------------------------------------------------------- bookkeeping
    def _take(self) -> None:
        now = _monotonic()
        self._left, self._as_of = self._left_at(now) - 1.0, now
        self.in_flight += 1

    def _left_at(self, now: float) -> float:
        since = now - max(self._as_of, min(self._refills_from, now))
        return min(self._left + max(since, 0.0) * self.limit / 60.0, self.limit)

    def _learn(self, headers: Mapping[str, str], *, allowed: bool) -> None:
        """Take over the server's count of requests left, less those in flight, which it may not have counted yet.

        If it says at the start of every new window that nothing is left, and yet allows requests, its count is wrong: ours is kept.
        """
        limit, left = _number(headers.get("X-RateLimit-Limit")), _number(headers.get("X-RateLimit-Remaining"))
        if limit is None or left is None or limit <= 0:
            return
        now = _monotonic()
        reset = _number(headers.get("X-RateLimit-Reset"))
        passed = self.limit > 0 and (self._window is None or self._now() >= self._window)
        self._doubted = allowed and left <= 0 and (self._doubted or passed)
        if self._doubted:
            self._left, self._as_of, self._window, self._refills_from = self._left_at(now), now, reset, now
            return
        said = min(left, limit) - self.in_flight
        if self.limit and reset is not None and reset == self._window:
            said = min(said, self._left_at(now))  # answers overtake each other: within a window the count only falls
        self.limit, self._as_of, self._left, self._window = limit, now, said, reset
        ahead = 0.0 if reset is None else reset - self._now()
        self._refills_from = now + ahead if 0.0 < ahead <= _LONGEST_BLOCK else now

    def _pump(self) -> None:
        """Let waiting requests through while there is room, in order; set a timer for when there will be room again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue:
            lane, _, waiting = self._queue[0]
            if not waiting.done():
                delay = self.delay(lane)
                if delay > 0:
                    if delay < math.inf:
                        self._timer = asyncio.get_running_loop().call_later(max(delay, _SOONEST), self._pump)
                    return
                self._take()
                waiting.set_result(None)
            heapq.heappop(self._queue)


def _monotonic() -> float:
    return asyncio.get_running_loop().time()


def _number(text: str | None) -> float | None:
    """A header's number, if it is one."""
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
