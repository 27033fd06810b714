"""Ticker reuse: a series that begins with another security's bars.

A symbol that enters the panel late and breaks its level in its first days carried the predecessor's (or the when-issued)
quote until then; one that resumes after a long hole on another level and another volume is another company.
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.bars import Floats, PriceKind
from hedgefund_core.quant.defects.defect import Defect, Detector, Severity, defect
from hedgefund_core.quant.defects.gaps import follows_hole
from hedgefund_core.quant.defects.grid import SCALE_FALLBACK, Grid
from hedgefund_core.quant.defects.ratios import simple_ratio

BREAK = 0.25
"""A new listing that opens a quarter away from its last close in its first week."""
FIRST_ROWS = 5
HOLE_ROWS = 20
VOLUME_BREAK = 5.0
THIN_START = 0.05
"""When-issued trading: less than a twentieth of what the regular line trades right after."""
START_ROWS = 10
START_WITHIN = 25
LOOK_BACK = 252


def find(grid: Grid, since: int) -> list[Defect]:
    """Foreign first rows (held), other companies after a hole and when-issued starts (noted)."""
    if grid.panel.open is None or grid.panel.volume is None:
        return []
    started = np.argmax(grid.present, axis=0)
    late = np.flatnonzero(grid.present.any(axis=0) & (started > 0) & (started + START_WITHIN >= since))
    found: list[Defect] = []
    for column in late:
        rows = started[column] + np.flatnonzero(grid.present[started[column] : started[column] + START_WITHIN, column])
        found.extend(_foreign_start(grid, rows[: FIRST_ROWS + 1], int(column)))
        found.extend(_when_issued(grid, rows, int(column)))
    found.extend(_after_hole(grid, since))
    return [item for item in found if item.known_row >= since]


def _foreign_start(grid: Grid, rows: np.ndarray, column: int) -> list[Defect]:
    gap = _log_change(grid.panel.field("close")[rows[:-1], column], grid.panel.field("open")[rows[1:], column])
    raw = grid.panel.price_kind is PriceKind.RAW
    breaks = np.array([i for i in np.flatnonzero(np.abs(gap) > BREAK) if not (raw and simple_ratio(gap[i]))], dtype=np.int64)
    if len(breaks) == 0:
        return []
    first = int(breaks[0])
    known = int(rows[first + 1])
    where = f"the series opens {np.expm1(gap[first]):+.0%} away on {grid.panel.sessions[known]}, in its first days"
    reason = f"{where}: the bars before are of another security"
    cells = [(int(row), column) for row in rows[: first + 1]]
    return [defect(grid, cell, "ticker_reuse", reason, known_row=known, gap=gap[first]) for cell in cells]


def _when_issued(grid: Grid, rows: np.ndarray, column: int) -> list[Defect]:
    """Rows at the start with a sliver of the volume of the ten that follow the last such row."""
    rows = rows[: FIRST_ROWS + START_ROWS]
    if len(rows) < FIRST_ROWS + START_ROWS:
        return []
    volume = np.nan_to_num(grid.panel.field("volume")[rows, column])
    usual = float(np.median(volume[FIRST_ROWS:]))
    thin = np.flatnonzero(volume[:FIRST_ROWS] < THIN_START * usual)
    known = int(rows[-1])
    reason = "under a twentieth of the volume that follows: when-issued or another line of the share"
    note = Severity.WARNING
    return [defect(grid, (rows[i], column), "thin_start", reason, known_row=known, severity=note, share=volume[i] / usual) for i in thin]


def _after_hole(grid: Grid, since: int) -> list[Defect]:
    """A long hole after which level and volume are of another order."""
    if not follows_hole(grid, since).any():
        return []
    found = []
    rows = np.arange(grid.shape[0])[:, None]
    last = np.maximum.accumulate(np.where(grid.present, rows, -1), axis=0)
    before = np.vstack([np.full((1, grid.shape[1]), -1), last[:-1]])
    for row, column in np.argwhere(grid.present & (before >= 0) & (rows - before > HOLE_ROWS) & (rows - before <= LOOK_BACK)):
        old = int(before[row, column])
        level = float(_log_change(grid.panel.close[old, column], grid.panel.close[row, column]))
        usual = 3 * SCALE_FALLBACK * np.sqrt(row - old)
        traded = grid.panel.field("volume")
        volume = float(_log_change(traded[old, column], traded[row, column]))
        if abs(level) > max(BREAK, usual) and abs(volume) > np.log(VOLUME_BREAK):
            changed = f"the level is {np.expm1(level):+.0%} and the volume {np.exp(volume):.2g} times"
            reason = f"after {row - old - 1} rows without a bar {changed}: another company?"
            found.append(defect(grid, (row, column), "ticker_reuse", reason, severity=Severity.WARNING, level=level, volume=volume))
    return found


def _log_change(before: Floats, after: Floats) -> Floats:
    """Log of after by before; 0 where one of them is no positive number."""
    usable = (before > 0) & (after > 0) & np.isfinite(before) & np.isfinite(after)
    return np.asarray(np.log(np.where(usable, after, 1.0) / np.where(usable, before, 1.0)))


DETECTOR = Detector(name="ticker_reuse", look_back=LOOK_BACK, look_ahead=START_WITHIN, find=find)
