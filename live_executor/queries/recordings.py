"""Recorded segments against the sha256 that the journal has of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from hedgefund_core.trading.events import SegmentRecorded
from live_executor.journals.chain import Verification
from live_executor.ports import JournalEntry


def with_segments(found: Verification, entries: Iterable[JournalEntry], folder: Path) -> Verification:
    """An unbroken chain is believed only with its segments: one that was changed is named; one that was put away is no contradiction."""
    if not found.ok:
        return found
    for entry in entries:
        frame = entry.frame
        path = folder / frame.segment if isinstance(frame, SegmentRecorded) else folder
        if isinstance(frame, SegmentRecorded) and path.is_file() and _sha256(path) != frame.sha256:
            return replace(found, ok=False, first_broken=entry.seq, reason=f"{frame.segment} is not the segment that was recorded")
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
