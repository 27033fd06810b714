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
    opened, high, low, close = (values[since:] for values in (grid.open, grid.high, grid.low, grid.close))
    outside = np.fmax(np.fmax(low - opened, opened - high), 0.0)
    last = grid.at(grid.close, grid.before[since:])
    from_last, from_close = opened - last, opened - close
    absurd = np.minimum(np.abs(from_last), np.abs(from_close)) > np.log(ABSURD)
    absurd &= (np.sign(from_last) == np.sign(from_close)) & (np.abs(close - last) < np.log(ABSURD) / 2)
    slack = OUTSIDE + 2 * _tick_share(grid, since)
    found = []
    for place, column in np.argwhere((outside > slack) & (high >= low) | absurd):
        row = place + since
        price, own = grid.panel.open[row, column], grid.panel.close[row, column]
        beyond = np.expm1(outside[place, column])
        where = f"lies {beyond:.1%} outside the bar's range" if beyond > 0 else "fits nothing around it"
        reason = f"open {price:g} {where} while the close {own:g} is where it was"
        found.append(defect(grid, (row, column), "bad_open", reason, open=price, close=own, outside=outside[place, column]))
    return found


def find_range(grid: Grid, since: int) -> list[Defect]:
    """High below the body or low above it by more than two ticks: the extremes are not the day's."""
    found = []
    opened, highs, lows, close = (values[since:] for values in (grid.open, grid.high, grid.low, grid.close))
    body_top, body_low = np.fmax(opened, close), np.fmin(opened, close)
    slack = 2 * _tick_share(grid, since) + 1e-9
    for place, column in np.argwhere((body_top - highs > slack) | (lows - body_low > slack)):
        cell = (int(place), int(column))
        close_out = max(close[cell] - highs[cell], lows[cell] - close[cell]) > slack[cell]
        high, low, top, bottom = (float(np.exp(values[cell])) for values in (highs, lows, body_top, body_low))
        reason = f"open and close span [{bottom:g}, {top:g}], high and low [{low:g}, {high:g}]"
        severity = Severity.ERROR if close_out or high < low else Severity.WARNING
        place_of = (cell[0] + since, cell[1])
        found.append(defect(grid, place_of, "range_contradicts", reason, severity=severity, high=high, low=low, top=top, bottom=bottom))
    return found


def find_wick(grid: Grid, since: int) -> list[Defect]:
    """A single print far beyond the body on a calm day, or one that is no price at all (a third of it, three times)."""
    opened, close = grid.open[since:], grid.close[since:]
    found = []
    for name, wick in (("high", grid.high[since:] - np.fmax(opened, close)), ("low", np.fmin(opened, close) - grid.low[since:])):
        found.extend(_wicks(grid, since, name, wick))
    return found


def _wicks(grid: Grid, since: int, name: str, wick: Floats) -> list[Defect]:
    places, columns = np.nonzero(wick > WICK)
    if len(places) == 0:
        return []
    rows, size = places + since, wick[places, columns]
    z = size / grid.scale(grid.move, rows, columns)
    moved = np.abs(grid.move[rows, columns])
    absurd = (size > np.log(WICK_ABSURD)) & (moved < size / 2)
    alone = (z > WICK_SIGMAS) & _calm(wick)[places] & (moved < size / 4)
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


def _tick_share(grid: Grid, since: int) -> Floats:
    """The tick as a share of the price, in the rows ``since`` and later."""
    return np.asarray(grid.tick / np.where(grid.present[since:], grid.panel.close[since:], np.nan))


OPEN = Detector(name="bad_open", look_back=NEIGHBOUR_ROWS, look_ahead=0, find=find_open)
RANGE = Detector(name="range_contradicts", look_back=0, look_ahead=0, find=find_range)
WICKS = Detector(name="bad_extreme", look_back=SCALE_ROWS + NEIGHBOUR_ROWS, look_ahead=0, find=find_wick)
