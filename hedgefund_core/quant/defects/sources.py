"""Disagreement between two sources of the same bars."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import Floats, Panel
from hedgefund_core.quant.defects.defect import Defect, Severity, defect
from hedgefund_core.quant.defects.grid import Grid

PRICES = ("open", "high", "low", "close")
BASIS_ROWS = 21
TOLERANCE = 0.005
"""Half a per cent beyond the usual ratio of the two: rounding, late prints and small adjustments stay below."""


def find_disagreements(panel: Panel, other: Panel, *, tolerance: float = TOLERANCE) -> list[Defect]:
    """Bars of ``panel`` whose prices differ from ``other``'s by more than ``tolerance`` beyond their usual ratio.

    The usual ratio of a symbol is the median over the 21 bars around (a constant factor is another adjustment, not an error:
    the kinds of price may differ). Which of the two is wrong is judged by the symbol's own neighbours: the source whose
    close lies further from both is named.

    Parameters
    ----------
    panel, other : bars; only common symbols and sessions are compared; NaN is not compared.
    tolerance : log distance.

    Returns
    -------
    Findings at rows of ``panel``: ``error`` where the panel's own row is the odd one, ``warning`` where the other's is.

    Raises
    ------
    DataInvalid
        If the two have no symbol or no session in common.
    """
    symbols = [symbol for symbol in panel.symbols if symbol in set(other.symbols)]
    sessions, mine, theirs = np.intersect1d(panel.sessions, other.sessions, return_indices=True)
    if not symbols or len(sessions) == 0:
        raise DataInvalid(f"{panel.source} and {other.source} have no bar in common", mend="compare sources of the same symbols and dates")
    grid = Grid(panel)
    found: list[Defect] = []
    for symbol in symbols:
        column = panel.symbols.index(symbol)
        found.extend(_of_symbol(grid, other, (mine, theirs), (column, other.symbols.index(symbol)), tolerance))
    return sorted(found)


def _of_symbol(grid: Grid, other: Panel, rows: tuple[np.ndarray, np.ndarray], columns: tuple[int, int], tolerance: float) -> list[Defect]:
    panel, (mine, theirs), (column, foreign) = grid.panel, rows, columns
    close, reference = panel.close[mine, column], other.close[theirs, foreign]
    basis = _running_median(_log_ratio(close, reference))
    away: dict[str, Floats] = {}
    for name in PRICES:
        left, right = getattr(panel, name), getattr(other, name)
        if left is not None and right is not None:
            away[name] = _log_ratio(left[mine, column], right[theirs, foreign]) - basis
    worst = np.nanmax(np.abs([np.where(np.isfinite(values), values, 0.0) for values in away.values()]), axis=0)
    found = []
    for i in np.flatnonzero(worst > tolerance):
        names = [name for name, values in away.items() if abs(values[i]) > tolerance]
        own, their = _step(close, int(i)), _step(reference, int(i))
        odd = own > their
        who = panel.source if odd else other.source
        differences = {name: float(away[name][i]) for name in names}
        shown = ", ".join(f"{name} {np.expm1(value):+.2%}" for name, value in differences.items())
        reason = f"{panel.source} against {other.source}: {shown}; the bar of {who} fits its neighbours less"
        severity = Severity.ERROR if odd else Severity.WARNING
        item = defect(grid, (mine[i], column), "sources_disagree", reason, severity=severity)
        found.append(replace(item, evidence=tuple(differences.items())))
    return found


def _log_ratio(left: Floats, right: Floats) -> Floats:
    usable = (left > 0) & (right > 0) & np.isfinite(left) & np.isfinite(right)
    return np.log(np.divide(left, right, out=np.ones(len(left)), where=usable), where=usable, out=np.full(len(left), np.nan))


def _running_median(values: Floats) -> Floats:
    """Median over the 21 values around each place, NaN left out (0 where there is none)."""
    half = BASIS_ROWS // 2
    padded = np.concatenate([np.full(half, np.nan), values, np.full(half, np.nan)])
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(padded, BASIS_ROWS), axis=1)
    count = np.isfinite(windows).sum(axis=1)
    rows = np.arange(len(values))
    middle = 0.5 * (windows[rows, np.maximum(count - 1, 0) // 2] + windows[rows, np.minimum(count // 2, BASIS_ROWS - 1)])
    return np.where(count > 0, middle, 0.0)


def _step(close: Floats, place: int) -> float:
    """Distance of a close to the nearer way through its neighbours: the smaller of both log moves around it."""
    around = [close[near] for near in (place - 1, place + 1) if 0 <= near < len(close)]
    steps = [abs(float(np.log(close[place] / value))) for value in around if value > 0 and close[place] > 0]
    return float(np.mean(steps)) if steps else 0.0
