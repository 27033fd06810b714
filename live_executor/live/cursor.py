"""How far the broker's activity list has been read, kept beside the journal: losing the file costs reading some lines twice.

Cash lines know their day and no more, so that those which were there when the account was opened are remembered by name: their
money is in the cash it was opened with.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hedgefund_core.trading.observed import ActivitySighting
from live_executor.logging import logger

_log = logger("cursor")
_FILL = "FILL"
FILE = "activities.json"


class _Kept(msgspec.Struct, kw_only=True):
    after: str = ""
    before_opening: tuple[str, ...] = ()


class ActivityCursor:
    """The reading place; without ``keep`` (or a folder) it moves in memory only."""

    def __init__(self, folder: Path | None, fallback: str = "", *, keep: bool = True) -> None:
        self._path, self._keep = None if folder is None else folder / FILE, keep
        self._kept = self._read() or _Kept(after=fallback)
        self._before = frozenset(self._kept.before_opening)

    @property
    def after(self) -> str:
        """Id of the last line that was read."""
        return self._kept.after

    def open(self, lines: Sequence[ActivitySighting]) -> None:
        """The account is being opened: what is there now is not news."""
        last = lines[-1].activity_id if lines else ""
        self._kept = _Kept(after=last, before_opening=tuple(line.activity_id for line in lines if line.activity_type != _FILL))
        self._before = frozenset(self._kept.before_opening)
        self._write()

    def is_before_opening(self, line: ActivitySighting) -> bool:
        """Whether a line was there when the account was opened."""
        return line.activity_id in self._before

    def move(self, lines: Sequence[ActivitySighting]) -> None:
        """Everything up to the last of ``lines`` is booked."""
        if lines and lines[-1].activity_id != self._kept.after:
            self._kept.after = lines[-1].activity_id
            self._write()

    def _read(self) -> _Kept | None:
        if self._path is None or not self._path.exists():
            return None
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        except msgspec.MsgspecError as error:
            _log.warning("reading place of the activity list is unreadable and begins anew", error=str(error))
            return None

    def _write(self) -> None:
        if self._path is not None and self._keep:
            fresh = self._path.with_suffix(f".{os.getpid()}")
            try:
                fresh.write_bytes(msgspec.json.encode(self._kept))
                fresh.replace(self._path)
            except OSError as error:
                _log.warning("reading place of the activity list is not kept", error=str(error))
