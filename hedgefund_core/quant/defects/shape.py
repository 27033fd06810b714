"""Bars that contradict themselves: an open or an extreme that the rest of the bar and the bars around it do not know."""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.defects.defect import Defect, Detector, Severity, defect
from hedgefund_core.quant.defects.grid import NEIGHBOUR_ROWS, SCALE_ROWS, Flags, Grid

OUTSIDE = 0.01
"""An open outside [low, high] by more than 1 %: auctions print outside by cents (the row rules note those)."""
ABSURD = 1.5
"""An open at one and a half times (or two thirds of) both the last close and its own close: no opening auction does that."""
WICK = 0.15
"""An extreme 15 % beyond open and close."""
WICK_SIGMAS = 15.0
WICK_ABSURD = 3.0
"""A third or three times of the body is no price, even in a crash."""
CALM_WICK = 0.02
"""Nine in ten other bars of the session stay within 2 % of their bodies: the market did not crash."""


def find_open(grid: Grid, since: int) -> list[Defect]:
    """Opens far outside the bar's range, or absurd against both the last close and the bar's own."""
    if grid.panel.open is None:
        return []
    outside = np.fmax(np.fmax(grid.low - grid.open, grid.open - grid.high), 0.0)
    last = grid.at(grid.close, grid.before)
    absurd = np.minimum(np.abs(grid.open - last), np.abs(grid.open - grid.close)) > np.log(ABSURD)
    absurd &= np.sign(grid.open - last) == np.sign(grid.open - grid.close)
    absurd &= np.abs(grid.close - last) < np.log(ABSURD) / 2
    slack = OUTSIDE + 2 * _tick_share(grid)
    found = []
    for row, column in np.argwhere((outside > slack) & (grid.high >= grid.low) | absurd):
        if row < since:
            continue
        price, close = grid.panel.open[row, column], grid.panel.close[row, column]
        beyond = np.expm1(outside[row, column])
        where = f"lies {beyond:.1%} outside the bar's range" if beyond > 0 else "fits nothing around it"
        reason = f"open {price:g} {where} while the close {close:g} is where it was"
        found.append(defect(grid, (row, column), "bad_open", reason, open=price, close=close, outside=outside[row, column]))
    return found


def find_range(grid: Grid, since: int) -> list[Defect]:
    """High below the body or low above it by more than two ticks: the extremes are not the day's."""
    found = []
    body_top, body_low = np.fmax(grid.open, grid.close), np.fmin(grid.open, grid.close)
    slack = 2 * _tick_share(grid) + 1e-9
    close_out = np.fmax(grid.close - grid.high, grid.low - grid.close) > slack
    for row, column in np.argwhere((body_top - grid.high > slack) | (grid.low - body_low > slack)):
        if row < since:
            continue
        cell = (int(row), int(column))
        high, low, top, bottom = (float(np.exp(values[cell])) for values in (grid.high, grid.low, body_top, body_low))
        reason = f"open and close span [{bottom:g}, {top:g}], high and low [{low:g}, {high:g}]"
        severity = Severity.ERROR if close_out[cell] or high < low else Severity.WARNING
        found.append(defect(grid, cell, "range_contradicts", reason, severity=severity, high=high, low=low, top=top, bottom=bottom))
    return found


def find_wick(grid: Grid, since: int) -> list[Defect]:
    """A single print far beyond the body on a calm day, or one that is no price at all (a third of it, three times)."""
    top, bottom = np.fmax(grid.open, grid.close), np.fmin(grid.open, grid.close)
    found = []
    for name, wick in (("high", grid.high - top), ("low", bottom - grid.low)):
        found.extend(_wicks(grid, since, name, wick))
    return found


def _wicks(grid: Grid, since: int, name: str, wick: Floats) -> list[Defect]:
    rows, columns = np.nonzero(wick[since:] > WICK)
    rows = rows + since
    size = wick[rows, columns]
    z = size / grid.scale(grid.move, rows, columns)
    moved = np.abs(grid.move[rows, columns])
    absurd = (size > np.log(WICK_ABSURD)) & (moved < size / 2)
    alone = (z > WICK_SIGMAS) & _calm(wick)[rows] & (moved < size / 4)
    found = []
    for i in np.flatnonzero(absurd | alone):
        price = float(grid.panel.field(name)[rows[i], columns[i]])
        reason = f"{name} {price:g} lies {np.expm1(size[i]):.0%} beyond open and close ({z[i]:.0f} daily sigmas): one print, not a market"
        found.append(defect(grid, (rows[i], columns[i]), "bad_extreme", reason, price=price, beyond=size[i], z=z[i]))
    return found


def _calm(wick: Floats) -> Flags:
    """Sessions in which at least nine in ten bars stay close to their bodies."""
    seen = np.isfinite(wick).sum(axis=1)
    return np.asarray((np.nan_to_num(wick) > CALM_WICK).sum(axis=1) <= 0.1 * seen + 1)


def _tick_share(grid: Grid) -> Floats:
    """The tick as a share of the price."""
    return np.asarray(grid.tick / np.where(grid.present, grid.panel.close, np.nan))


OPEN = Detector(name="bad_open", look_back=NEIGHBOUR_ROWS, look_ahead=0, find=find_open)
RANGE = Detector(name="range_contradicts", look_back=0, look_ahead=0, find=find_range)
WICKS = Detector(name="bad_extreme", look_back=SCALE_ROWS + NEIGHBOUR_ROWS, look_ahead=0, find=find_wick)
