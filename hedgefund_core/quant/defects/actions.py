"""Corporate actions in the price: a split that was not taken out, a stated one that is not there, a spin-off.

A crash opens lower too, but then trades: many times its usual volume, over a wide range. A spin-off or special dividend only
opens lower. Nothing here is held: the prices are right, the *return* across them is not one. A row whose stated split is not
in its price is held.
"""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.bars import Floats, PriceKind
from hedgefund_core.quant.defects.defect import Defect, Detector, Severity, defect
from hedgefund_core.quant.defects.grid import NEIGHBOUR_ROWS, SCALE_ROWS, VOLUME_ROWS, Grid, Rows
from hedgefund_core.quant.defects.ratios import simple_ratio

GAP = 0.05
GAP_SIGMAS = 6.0
STAY_ROWS = 3
STAY_SHARE = 0.45
"""After three rows the level is still at least 0.45 of the gap away (markets and drift take the rest) from what it was."""
QUIET_VOLUME = 2.5
LARGE_GAP = 0.25
LARGE_VOLUME = 9.0
"""A quarter of the value leaving overnight: index funds trade, so more volume is allowed."""
INTRADAY_SHARE = 0.3
RANGE_SHARE = 0.4
COMPANY = 5
"""So many others gapping the same way: an industry's night, not one company's action."""
SPLIT_MISMATCH = 0.2


def find(grid: Grid, since: int) -> list[Defect]:
    """Splits not in the price or in it twice, and drops that look like a distribution."""
    if grid.panel.open is None:
        return []
    unknown = grid.panel.price_kind is PriceKind.RAW and grid.panel.split_ratios is None  # raw prices jump at splits, rightly
    return [*_stated_splits(grid, since), *([] if unknown else _unstated(grid, since))]


def _stated_splits(grid: Grid, since: int) -> list[Defect]:
    """A stated split of a raw panel must show in the price: half the price for two shares."""
    splits = grid.panel.split_ratios
    if splits is None or grid.panel.price_kind is not PriceKind.RAW:
        return []
    found = []
    stated = -np.log(np.where(splits[since:] > 0, splits[since:], 1.0))
    for place, column in np.argwhere(np.abs(stated) > SPLIT_MISMATCH):
        row, expected = int(place) + since, float(stated[place, column])
        gap = float(grid.gap[row, column])
        if np.isfinite(gap) and abs(gap) < abs(gap - expected):
            reason = f"a split of {splits[row, column]:g} for 1 is stated and the price moved by {np.expm1(gap):+.1%}: old or new price"
            found.append(defect(grid, (row, column), "split_not_in_price", reason, gap=gap, expected=expected))
    return found


def _unstated(grid: Grid, since: int) -> list[Defect]:
    start = max(0, since - STAY_ROWS)
    gap = grid.gap[start:] - _stated(grid, start)
    places, columns = np.nonzero(np.abs(gap) >= GAP)
    rows = places + start
    end = rows + STAY_ROWS
    usable = (end < grid.shape[0]) & (end >= since) & (rows >= STAY_ROWS)
    rows, columns, end = rows[usable], columns[usable], end[usable]
    if len(rows) == 0:
        return []
    size = gap[rows - start, columns]
    large = np.abs(size) >= GAP_SIGMAS * grid.scale(grid.gap, rows, columns)
    stays = large & (np.sign(size) * _shift(grid, rows, columns) >= STAY_SHARE * np.abs(size))
    calm = stays & _calm(grid, rows, columns, size) & _alone(grid, rows, columns, size)
    found = []
    for i in np.flatnonzero(calm):
        ratio = simple_ratio(size[i])
        if ratio or (size[i] < 0 and grid.panel.dividends is None):  # nothing is distributed by a rise; what is paid is stated
            found.append(_quiet_gap(grid, (int(rows[i]), int(columns[i])), float(size[i]), ratio, int(end[i])))
    return found


def _quiet_gap(grid: Grid, cell: tuple[int, int], size: float, ratio: str, known_row: int) -> Defect:
    """The finding: a split where the ratio is one, else a distribution."""
    volume = float(np.exp(grid.volume_ratio[cell]))
    seen = f"opens {np.expm1(size):+.1%} with {volume:.1f} times the usual volume, stays there and hardly trades away"
    split = f"looks like a split ({ratio} of the price) that was not taken out"
    meaning = split if ratio else "looks like a spin-off or special dividend, not a crash"
    rule = "unadjusted_split" if ratio else "distribution"
    note = Severity.WARNING
    return defect(grid, cell, rule, f"{seen}: {meaning}", known_row=known_row, severity=note, gap=size, volume_times=volume)


def _stated(grid: Grid, start: int) -> Floats:
    """Log gap that stated splits and dividends explain, in the rows ``start`` and later."""
    panel = grid.panel
    explained = np.zeros((grid.shape[0] - start, grid.shape[1]))
    if panel.split_ratios is not None and panel.price_kind is PriceKind.RAW:
        explained -= np.log(np.where(panel.split_ratios[start:] > 0, panel.split_ratios[start:], 1.0))
    if panel.dividends is not None and panel.price_kind is not PriceKind.TOTAL_RETURN:
        last = np.exp(grid.at(grid.close, grid.before[start:]))
        share = np.clip(np.nan_to_num(panel.dividends[start:] / last), 0.0, 0.9)
        explained += np.log1p(-share)
    return explained


def _shift(grid: Grid, rows: Rows, columns: Rows) -> Floats:
    """Median log close of the gap's row and the three after, less that of the three before."""
    ahead = np.median([grid.close[rows + k, columns] for k in range(STAY_ROWS + 1)], axis=0)
    behind = np.median([grid.close[rows - k, columns] for k in range(1, STAY_ROWS + 1)], axis=0)
    return np.asarray(ahead - behind)


def _calm(grid: Grid, rows: Rows, columns: Rows, size: Floats) -> np.ndarray:
    """It opens elsewhere and then does not trade as news does."""
    limit = np.where(np.abs(size) >= LARGE_GAP, LARGE_VOLUME, QUIET_VOLUME)
    quiet = grid.volume_ratio[rows, columns] <= np.log(limit)
    narrow = grid.high[rows, columns] - grid.low[rows, columns] <= RANGE_SHARE * np.abs(size)
    still = np.abs(grid.intraday[rows, columns]) <= INTRADAY_SHARE * np.abs(size)
    return np.asarray(quiet & narrow & still)


def _alone(grid: Grid, rows: Rows, columns: Rows, size: Floats) -> np.ndarray:
    """Fewer than five symbols gap the same way in that session."""
    near = grid.gap[rows]
    return np.asarray(np.where(size < 0, (near <= -GAP).sum(axis=1), (near >= GAP).sum(axis=1)) < COMPANY)


DETECTOR = Detector(name="corporate_action", look_back=SCALE_ROWS + 2 * NEIGHBOUR_ROWS + VOLUME_ROWS, look_ahead=STAY_ROWS, find=find)
