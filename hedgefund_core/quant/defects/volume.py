"""Volume that cannot be: none although the price moved, or a sliver of a session in a name that trades steadily."""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.defects.defect import Defect, Detector, Severity, defect
from hedgefund_core.quant.defects.grid import NEIGHBOUR_ROWS, SCALE_ROWS, VOLUME_ROWS, VOLUME_SPREAD_FLOOR, Grid

THIN_SHARE = 0.20
"""A fifth of the usual volume, after the market's own quiet (half days, holidays) is taken off."""
THIN_SIGMAS = 5.0
SPREAD_ROWS = 40
UNIT_SHARE = 80.0
"""Shares for lots of a hundred; the busiest index changes bring 60 times the usual volume, news 30 times and a move."""
UNIT_CALM_SIGMAS = 4.0


def find_zero(grid: Grid, since: int) -> list[Defect]:
    """No volume although the close moved: no trade made that price."""
    volume = grid.panel.volume
    if volume is None or not (volume[since:] == 0).any():
        return []
    change = grid.close[since:] - grid.at(grid.close, grid.before[since:])
    found = []
    for place, column in np.argwhere((volume[since:] == 0) & (np.abs(change) > 0)):
        row, move = int(place) + since, float(change[place, column])
        if (volume[max(0, row - NEIGHBOUR_ROWS) : row, column] > 0).any():
            reason = f"the close moved by {np.expm1(move):+.2%} and nothing was traded"
            found.append(defect(grid, (row, column), "zero_volume", reason, move=move))
    return found


def find_thin(grid: Grid, since: int) -> list[Defect]:
    """A bar of part of a session or of one venue: far less volume than this symbol ever has on such a day."""
    if grid.panel.volume is None:
        return []
    ratio = grid.volume_ratio
    rows, columns = np.nonzero(ratio[since:] < np.log(THIN_SHARE))
    rows = rows + since
    if len(rows) == 0:
        return []
    spread = np.maximum(grid.scale(ratio, rows, columns, SPREAD_ROWS), VOLUME_SPREAD_FLOOR)
    enough = np.isfinite(grid.past(ratio, rows, columns, SPREAD_ROWS)).sum(axis=1) >= SPREAD_ROWS / 2
    z = ratio[rows, columns] / spread
    found = []
    for i in np.flatnonzero((z < -THIN_SIGMAS) & enough):
        share = float(np.exp(ratio[rows[i], columns[i]]))
        reason = f"{share:.0%} of the usual volume ({-z[i]:.1f} sigmas of its own): a bar of part of the session"
        found.append(defect(grid, (rows[i], columns[i]), "thin_bar", reason, share=share, z=z[i]))
    return found


def find_unit(grid: Grid, since: int) -> list[Defect]:
    """One session's volume 80 times the usual with a calm price: another unit (noted; the prices may be right)."""
    if grid.panel.volume is None:
        return []
    ratio = grid.volume_ratio
    start = max(0, since - NEIGHBOUR_ROWS)
    rows, columns = np.nonzero(ratio[start:] > np.log(UNIT_SHARE))
    rows = rows + start
    if len(rows) == 0:
        return []
    later = grid.after[rows, columns]
    rows, columns, later = (values[later >= since] for values in (rows, columns, later))
    back = grid.log_volume[rows, columns] - grid.log_volume[later, columns] > np.log(UNIT_SHARE / 5)
    calm = np.abs(grid.move[rows, columns]) < UNIT_CALM_SIGMAS * grid.scale(grid.move, rows, columns)
    found = []
    for i in np.flatnonzero((later >= 0) & back & calm):
        share = float(np.exp(ratio[rows[i], columns[i]]))
        reason = f"{share:.0f} times the usual volume for one session and the price is calm: lots or another unit"
        cell = (rows[i], columns[i])
        found.append(defect(grid, cell, "volume_unit", reason, known_row=later[i], severity=Severity.WARNING, share=share))
    return found


_LOOK_BACK = SPREAD_ROWS + VOLUME_ROWS
ZERO = Detector(name="zero_volume", look_back=NEIGHBOUR_ROWS, look_ahead=0, find=find_zero)
THIN = Detector(name="thin_bar", look_back=_LOOK_BACK, look_ahead=0, find=find_thin)
UNIT = Detector(name="volume_unit", look_back=SCALE_ROWS + VOLUME_ROWS, look_ahead=1, find=find_unit)
