"""The trial ledger: every variant ever tried, once a key, on disk. Forgetting a trial flatters the next result."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from hedgefund_core import layout
from hedgefund_core.backtest.trials import TrialIdentity, TrialRecord
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import Floats
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.lake_files import write_atomic

Sessions = NDArray[np.datetime64]


class TrialLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the ledger: identity and first sight; its latest returns lie beside it."""

    key: str
    book: str
    mandate: str
    cut: str
    dagster_run_id: str
    identity: TrialIdentity


class TrialLedger:
    """``data/research/trials.jsonl``, appended to, never rewritten except to add a line."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def lines(self) -> list[TrialLine]:
        """All lines; raises DataInvalid on a damaged one: a ledger with a hole cannot be counted."""
        path = self._lake.root / layout.TRIALS
        if not path.exists():
            return []
        try:
            return [msgspec.json.decode(line, type=TrialLine) for line in path.read_bytes().splitlines()]
        except msgspec.MsgspecError as error:
            message = f"{layout.TRIALS} is damaged: {error}"
            raise DataInvalid(message, mend="restore it from your backup; deleting it would hide trials from the gate") from error

    def record(self, line: TrialLine, returns: Floats, sessions: Sessions) -> bool:
        """Keep a trial's latest outcome; True if the trial is a new one."""
        self._lake.write_arrays(_returns_file(line.key), {"returns": returns, "sessions": sessions})
        lines = self.lines()
        if any(known.key == line.key for known in lines):
            return False
        content = b"".join(msgspec.json.encode(one) + b"\n" for one in (*lines, line))
        write_atomic(self._lake.root / layout.TRIALS, content)
        return True

    def outcomes(self, book: str, mandate: str, sessions: Sessions) -> list[TrialRecord]:
        """The trials of a book and mandate with their latest returns on ``sessions``: an earlier cut sees no later return."""
        found = []
        for key in [line.key for line in self.lines() if (line.book, line.mandate) == (book, mandate)]:
            arrays = self._lake.read_arrays(_returns_file(key))
            days = arrays["sessions"].astype("datetime64[D]")
            seen = np.isin(days, sessions)
            found.append(TrialRecord(key=key, returns=np.asarray(arrays["returns"], dtype=np.float64)[seen], sessions=days[seen]))
        return found


def _returns_file(key: str) -> str:
    return f"research/trials/{key}.npz"
