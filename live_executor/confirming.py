"""Waits until a running executor has carried out a halt: only its own queries of the broker can show that nothing is left."""

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
"""Seconds to wait for flat, in an open and in a closed market. A flattening may take a night; it stays armed after the command ends."""


def confirmed(data: Path, account: str, level: Level, seconds: float) -> Done | None:
    """What came of a halt that the executor has journaled, after at most ``seconds``.

    None: the executor has ended or fallen silent before it could show that nothing is left; then somebody else has to stop the account.
    """
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
    """What is left by a heartbeat. Open orders count for a flattening too: one of them may open a position again."""
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
