"""Messages of the broker that cannot be booked: after the third failure one is set aside, journaled and alerted, and the rest goes on.

Otherwise such a message would end each run at the same place. What it was about is not lost: the broker's books are still compared
with ours, and a difference freezes its instrument.
"""

from __future__ import annotations

import msgspec

from hedgefund_core import errors
from hedgefund_core.trading import events as e
from hedgefund_core.trading.observed import ActivitySighting, OrderSighting
from live_executor.live.floor import Floor
from live_executor.logging import logger

_log = logger("dead_letters")
TRIES = 3
POISON = (errors.InvariantViolation, errors.DataInvalid, ArithmeticError, LookupError, TypeError, ValueError)
"""Errors that booking one message may end with. Any other error is not the message's fault and ends the run."""
_REMEMBERED = 1_000
Seen = OrderSighting | ActivitySighting


class DeadLetters:
    """Failures by message."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._failures: dict[str, int] = {}

    def failed(self, seen: Seen, error: Exception) -> None:
        """Count a failure; the last one journals the message and tells people."""
        key, why = _key(seen), f"{type(error).__name__}: {error}"
        count = self._failures[key] = self._failures.pop(key, 0) + 1
        while len(self._failures) > _REMEMBERED:
            del self._failures[next(iter(self._failures))]
        _log.error("a message cannot be booked", message=key, times=count, error=why)
        if count != TRIES:
            return
        payload = msgspec.json.encode(seen).decode()
        self._floor.book([e.NewsNotUnderstood(ts=self._floor.now(), broker_seq=0, what=f"set aside: {why}", payload=payload)])
        self._floor.trouble(f"{key} failed {TRIES} times and is set aside ({why}): compare the books", severity="critical")

    def is_dead(self, seen: Seen) -> bool:
        """Whether a message was set aside."""
        return self._failures.get(_key(seen), 0) >= TRIES

    def waits(self, seen: Seen) -> bool:
        """Whether a message failed and is to be tried again."""
        return 0 < self._failures.get(_key(seen), 0) < TRIES


def _key(seen: Seen) -> str:
    """The same message, over whichever channel and whenever it is shown."""
    if isinstance(seen, ActivitySighting):
        return f"activity {seen.activity_id}"
    return f"order {seen.broker_order_id or seen.client_order_id} {seen.status} {seen.filled_quantity}"
