"""Isolated level errors: a whole bar, or only its close, stands on another level and the next bar is back."""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.defects.defect import Defect, Detector, defect
from hedgefund_core.quant.defects.grid import NEIGHBOUR_ROWS, SCALE_ROWS, Flags, Grid
from hedgefund_core.quant.defects.ratios import simple_ratio

APART = 0.04
APART_SIGMAS = 6.0
"""The bar's range is at least 4 % and six sigmas away from the ranges on both sides. Real days that come back do it through
the prices in between; of all real bars of the S&P 500 in 2013-2018 the widest such hole is 3.6 sigmas."""
SPIKE = 0.15
SPIKE_SIGMAS = 10.0
UNDONE_SHARE = 0.10
QUIET_VOLUME = 1.5
"""A real jump that is undone brings volume; an error does not."""


def find(grid: Grid, since: int) -> list[Defect]:
    """Bars away from both neighbours, and closes that jump and return in silence."""
    move, later, start = grid.move, grid.after, max(0, since - NEIGHBOUR_ROWS)
    rows, columns = np.nonzero((np.abs(move[start:]) >= APART) & (later[start:] >= max(since, 0)))
    rows = rows + start
    if len(rows) == 0:
        return []
    after, before = later[rows, columns], grid.before[rows, columns]
    sigma = grid.scale(move, rows, columns)
    hole = _hole(grid, before, rows, after, columns)
    apart = hole > np.maximum(APART, APART_SIGMAS * sigma)
    up, back = move[rows, columns], move[after, columns]
    undone = (np.sign(up) != np.sign(back)) & (np.abs(up + back) <= UNDONE_SHARE * np.abs(up))
    tick = 2 * grid.tick / np.exp(np.fmin(grid.close[before, columns], grid.close[rows, columns]))
    spike = undone & (np.abs(up) > np.maximum(SPIKE, SPIKE_SIGMAS * sigma) + tick) & _quiet(grid, rows, columns)
    found = []
    for i in np.flatnonzero(apart | spike):
        cell, ratio = (rows[i], columns[i]), simple_ratio(up[i])
        of = f" (about {ratio} of it)" if ratio else ""
        what = f"the whole bar stands {np.expm1(hole[i]):.1%} away from the bars on both sides" if apart[i] else "the close jumps alone"
        reason = f"{what}: {np.expm1(up[i]):+.1%}{of} and back by {np.expm1(back[i]):+.1%} against the market"
        sigmas = float(np.abs(up[i]) / sigma[i])
        found.append(
            defect(grid, cell, "isolated_level", reason, known_row=after[i], move=up[i], back=back[i], hole=hole[i], sigmas=sigmas)
        )
    return found


def _hole(grid: Grid, before: np.ndarray, rows: np.ndarray, after: np.ndarray, columns: np.ndarray) -> Floats:
    """Empty space between a bar's range and both neighbours' (log price), negative where they touch."""

    def extreme(values: Floats, at: np.ndarray) -> Floats:
        found = values[at, columns]
        return np.asarray(np.where(np.isfinite(found), found, grid.close[at, columns]))

    has_range = np.isfinite(grid.high[rows, columns])
    high, low = extreme(grid.high, rows), extreme(grid.low, rows)
    above = np.fmin(low - extreme(grid.high, before), low - extreme(grid.high, after))
    below = np.fmin(extreme(grid.low, before) - high, extreme(grid.low, after) - high)
    return np.where(has_range & (before >= 0), np.fmax(above, below), -np.inf)


def _quiet(grid: Grid, rows: np.ndarray, columns: np.ndarray) -> Flags:
    """Volume is known and not that of news."""
    ratio = grid.volume_ratio[rows, columns]
    return np.asarray(ratio < np.log(QUIET_VOLUME))


DETECTOR = Detector(name="isolated_level", look_back=SCALE_ROWS + 2 * NEIGHBOUR_ROWS, look_ahead=1, find=find)
