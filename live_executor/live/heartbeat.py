"""The heartbeat: a small file beside the journal in which the running executor says how it stands with broker, market and targets."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import msgspec

from live_executor.ports import UNREADABLE

FILE = "heartbeat.json"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A stream."""

    connected: bool
    reason: str = ""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """How things stand; times are the broker's."""

    pid: int
    at: datetime
    mode: str
    broker: str
    session: str
    market_open: bool
    next_open: datetime | None
    order_stream: Link
    data_stream: Link
    price_age_seconds: float | None
    """Of the oldest price among what is held or wanted; None without any."""
    gates: tuple[str, ...]
    searches: int
    clock_offset_seconds: float
    loop_lag_seconds: float = 0.0
    """How late the event loop came back to a task at worst in the last minute."""
    targets_file: str = ""
    targets_trouble: str = ""
    targets: int = 0
    orders_asked_at: datetime | None = None
    """When the newest query of open orders that was answered had been asked"""
    open_at_broker: int = 0
    """Orders it showed, whoever sent them"""
    working: int = 0
    """Orders of ours that are not surely over"""
    flat: bool = False
    """A flattening is done: the broker's books say that nothing is held."""
    stopped: bool = False
    """The last one of a run that ended in order: nobody is missing."""


def write(folder: Path, beat: Heartbeat) -> str:
    """Put it in place of the last one; what the disk said where it could not be.

    A full disk is the journal's to act on, and whoever watches sees the beats stop.
    """
    fresh = folder / f".{FILE}.{os.getpid()}"
    try:
        fresh.write_bytes(msgspec.json.encode(beat))
        fresh.replace(folder / FILE)
    except OSError as error:
        return str(error)
    return ""


def read(folder: Path) -> Heartbeat | None:
    """The last one; None where there is none that can be read."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Heartbeat)
    except (OSError, *UNREADABLE):
        return None
