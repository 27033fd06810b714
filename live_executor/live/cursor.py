"""How far the broker's activity list has been read, in a file beside the journal. If it is lost, some lines are read twice.

Reading twice is harmless: the journal itself says which lines are booked and which were there before the account was opened (`Known`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hedgefund_core.trading.observed import ActivitySighting
from live_executor.logging import logger
from live_executor.ports import UNREADABLE

_log = logger("cursor")
FILE = "activities.json"


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    after: str = ""


class ActivityCursor:
    """The reading place; without ``keep`` (or a folder) it moves in memory only."""

    def __init__(self, folder: Path | None, fallback: str = "", *, keep: bool = True) -> None:
        self._path, self._keep = None if folder is None else folder / FILE, keep
        self._after = self._read() or fallback

    @property
    def after(self) -> str:
        """Id of the last line that was read; empty where the list has to be read from the opening on."""
        return self._after

    def move(self, lines: Sequence[ActivitySighting]) -> None:
        """Everything up to the last of ``lines`` is booked."""
        if lines and lines[-1].activity_id != self._after:
            self._after = lines[-1].activity_id
            self._write()

    def _read(self) -> str:
        if self._path is None or not self._path.exists():
            return ""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Kept).after
        except (OSError, *UNREADABLE) as error:
            _log.warning("reading place of the activity list is unreadable: the journal's own is taken", error=str(error))
            return ""

    def _write(self) -> None:
        if self._path is not None and self._keep:
            fresh = self._path.with_suffix(f".{os.getpid()}")
            try:
                fresh.write_bytes(msgspec.json.encode(_Kept(after=self._after)))
                fresh.replace(self._path)
            except OSError as error:
                _log.warning("reading place of the activity list is not kept", error=str(error))
