"""What closes alone can tell: an isolated jump that is undone, and a price that stands still.

Real extreme moves are spared: a jump is an error only if the next bar undoes it, it is far outside the symbol's own scale
*and* the market's move, and it is larger than the tick can explain.
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.defects.defect import Defect, Detector, Severity, defect
from hedgefund_core.quant.defects.grid import NEIGHBOUR_ROWS, SCALE_ROWS, Flags, Grid, Rows

SPIKE_LOG_MOVE = 0.20
"""A move of at least 22 % that is undone the next session is looked at; smaller ones cannot be told from news."""
SPIKE_ROBUST_Z = 12.0
SPIKE_RETURN_SHARE = 0.2
"""Undone = what is left after two sessions is at most a fifth of the move."""
VISITED_ROWS = 40
"""An error stands where the price has not been for two months; one that bounces between coarse bids and offers has been there."""
STALE_RUN = 10
"""Ten equal closes in a row."""
STEP_ROWS = 252
"""A usual step is the median of a year's."""


def find_spike(grid: Grid, since: int) -> list[Defect]:
    """An isolated jump that is undone by the next bar: known only when the price has returned."""
    start = max(0, since - NEIGHBOUR_ROWS)
    raw = grid.close[start:] - grid.at(grid.close, grid.before[start:])
    rows, columns = np.nonzero((np.abs(raw) > SPIKE_LOG_MOVE) & (grid.after[start:] >= max(since, 0)))
    if len(rows) == 0:
        return []
    up = raw[rows, columns]
    rows = rows + start
    later, before = grid.after[rows, columns], grid.before[rows, columns]
    back = grid.close[later, columns] - grid.close[rows, columns]
    noise = 2.0 * grid.tick / np.exp(np.fmin(grid.close[before, columns], grid.close[rows, columns]))
    past = np.abs(np.nan_to_num(grid.past(grid.move, rows, columns, SCALE_ROWS)))
    usual = np.maximum(grid.scale(grid.move, rows, columns), past.mean(axis=1))  # a price that mostly rests has no median move
    large = np.maximum(SPIKE_LOG_MOVE, SPIKE_ROBUST_Z * usual) + noise
    isolated = (np.abs(up + back) <= SPIKE_RETURN_SHARE * np.abs(up)) & _unvisited(grid, rows, columns, up)
    found = []
    for i in np.flatnonzero((np.abs(up) > large) & isolated & (np.abs(grid.move[rows, columns]) > large)):
        reason = f"moves by {np.expm1(up[i]):+.0%} and back by {np.expm1(back[i]):+.0%}"
        found.append(defect(grid, (rows[i], columns[i]), "spike", reason, known_row=later[i], move=up[i], back=back[i]))
    return found


def _unvisited(grid: Grid, rows: Rows, columns: Rows, up: Floats) -> Flags:
    """The close lies beyond all closes of the past, on the side it jumped to."""
    past = grid.past(grid.close, rows, columns, VISITED_ROWS)
    close = grid.close[rows, columns]
    above = close > np.max(np.where(np.isfinite(past), past, -np.inf), axis=1)
    below = close < np.min(np.where(np.isfinite(past), past, np.inf), axis=1)
    return np.asarray(np.where(up > 0, above, below))


def find_stale(grid: Grid, since: int) -> list[Defect]:
    """The tenth equal close in a row, where the tick cannot explain it: kept and noted (halted names do this)."""
    start = max(since, STALE_RUN - 1)
    if grid.shape[0] <= start:
        return []
    first = start - (STALE_RUN - 1)
    same = grid.panel.close[first + 1 :] == grid.panel.close[first:-1]
    length = grid.shape[0] - start
    run = np.logical_and.reduce([same[lag : lag + length] for lag in range(STALE_RUN - 1)])
    found = []
    for place, column in np.argwhere(run):
        row = int(place) + start
        begins = row - STALE_RUN + 1
        if begins and grid.panel.close[begins - 1, column] == grid.panel.close[row, column]:
            continue  # said at the tenth
        step = _usual_step(grid.panel.close[max(0, begins - STEP_ROWS) : row + 1, column])
        if step and grid.tick <= 0.5 * step:
            close = float(grid.panel.close[row, column])
            reason = f"close {close:g} repeated {STALE_RUN} times"
            found.append(defect(grid, (row, int(column)), "stale", reason, severity=Severity.WARNING, close=close, usual_step=step))
    return found


def _usual_step(close: Floats) -> float:
    """Median size of the changes from bar to bar, unchanged ones left out; 0 where there is none."""
    steps = np.abs(np.diff(close[np.isfinite(close)]))
    moved = steps[steps > 0]
    return float(np.median(moved)) if len(moved) else 0.0


SPIKE = Detector(name="spike", look_back=SCALE_ROWS + 2 * NEIGHBOUR_ROWS, look_ahead=1, find=find_spike)
STALE = Detector(name="stale", look_back=STEP_ROWS + STALE_RUN, look_ahead=0, find=find_stale)
