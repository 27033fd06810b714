"""What a running executor has made of a halt: its own queries say when nothing is left, and only then a command may say so."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace

from hedgefund_core.layout import account_folder, journal_file
from hedgefund_core.trading.events import HaltRequested
from hedgefund_core.trading.state import Level
from live_executor.journals.lock import holder_of
from live_executor.journals.sqlite import JournalReader
from live_executor.live import heartbeat
from live_executor.operations import Done, journaled

_POLL_SECONDS, _SILENT_SECONDS = 0.1, 5.0
_FLAT_SECONDS, _CLOSED_SECONDS = 15.0, 3.0
"""A flattening stays armed over halts and nights: whoever asked for it is not kept waiting longer than this."""


def confirmed(data: Path, account: str, level: Level, seconds: float) -> Done | None:
    """What came of a halt that the executor has journaled; None where it has fallen silent, or is gone, before it was proven."""
    folder = data / account_folder(account)
    since = _asked_at(data, account)
    seen, heard = heartbeat.read(folder), time.monotonic()
    if level is Level.FLATTENING:
        seconds = min(seconds, _FLAT_SECONDS if seen is None or seen.market_open else _CLOSED_SECONDS)
    deadline = heard + seconds
    while True:
        beat = heartbeat.read(folder)
        if beat is not None and (seen is None or beat.at != seen.at):
            seen, heard = beat, time.monotonic()
        answered = beat is not None and since is not None and beat.orders_asked_at is not None and beat.orders_asked_at >= since
        left = left_of(beat, level) if answered and beat is not None else ("the broker has not answered since",)
        if not left:
            return replace(journaled(data, account), verified=True)
        if holder_of(folder) is None or time.monotonic() - heard > _SILENT_SECONDS:
            return None
        if time.monotonic() >= deadline:
            return replace(journaled(data, account), verified=False, left=left, answered=answered)
        time.sleep(_POLL_SECONDS)


def left_of(beat: heartbeat.Heartbeat, level: Level) -> tuple[str, ...]:
    """What stands between a heartbeat and the proof: an order that is still open may bring a position back."""
    open_orders = max(beat.open_at_broker, beat.working)
    left = (f"{open_orders} orders open",) if open_orders else ()
    return (*left, "positions held") if level is Level.FLATTENING and not beat.flat else left


def _asked_at(data: Path, account: str) -> datetime | None:
    """When the newest halt was journaled."""
    newest = None
    with closing(JournalReader(data / journal_file(account))) as reader:
        for entry in reader.read(kinds=("halt_requested",)):
            newest = entry.frame
    return newest.ts if isinstance(newest, HaltRequested) else None
