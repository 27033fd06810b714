"""What every frame of the journal has, and what news of a broker has beside it."""

from __future__ import annotations

from datetime import datetime

import msgspec

Row = tuple[float | None, ...]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base of all frames. ``ts`` is the (simulated or real) time at which it happened."""

    ts: datetime


class BrokerEvent(Event, frozen=True, kw_only=True):
    """News from the broker. ``broker_seq`` rises by one each: news already booked is recognised by it."""

    broker_seq: int
