"""Missing sessions: the market was open, the symbol traded before and after, and it has no bar."""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.defects.defect import Defect, Detector, Severity, defect
from hedgefund_core.quant.defects.grid import Flags, Grid

LOOK_BACK = 252
MARKET_SHARE = 0.5
"""A session counts if at least half of the symbols that traded before it have a bar."""


def find(grid: Grid, since: int) -> list[Defect]:
    """Warn at the first bar after a hole: its return spans several sessions. Nothing is there that could be held."""
    if not follows_hole(grid, since).any():
        return []
    rows = np.arange(grid.shape[0])[:, None]
    last = np.maximum.accumulate(np.where(grid.present, rows, -1), axis=0)
    known = last >= 0
    open_market = (grid.present.sum(axis=1) >= MARKET_SHARE * np.maximum(known.sum(axis=1), 1)).astype(np.int64)
    sessions_until = np.concatenate([[0], np.cumsum(open_market)])
    before = np.vstack([np.full((1, grid.shape[1]), -1), last[:-1]])
    holes = grid.present & (before >= 0) & (rows - before > 1) & (rows - before <= LOOK_BACK)
    found = []
    for row, column in np.argwhere(holes):
        start = int(before[row, column])
        missing = int(sessions_until[row] - sessions_until[start + 1])
        if missing and row >= since:
            first, end = grid.panel.sessions[start + 1], grid.panel.sessions[row - 1]
            reason = f"{missing} sessions without a bar before this one ({first} to {end}); its return spans them"
            found.append(defect(grid, (row, column), "missing_session", reason, severity=Severity.WARNING, missing=missing))
    return found


def follows_hole(grid: Grid, since: int) -> Flags:
    """Bars at ``since`` and later without a bar in the row before."""
    start = max(since, 1)
    return np.asarray(grid.present[start:] & ~grid.present[start - 1 : -1])


DETECTOR = Detector(name="missing_session", look_back=LOOK_BACK, look_ahead=0, find=find)
