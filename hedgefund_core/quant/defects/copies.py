"""Bars on the wrong date: a row that repeats another row of the same symbol.

Two sessions never have the same open, high, low, close and volume. One of the two rows is a copy, and the bars around them
say which: the gap from the previous close into a bar that stands where it belongs is an overnight gap; into a bar of another
day it is that day's whole distance. The evidence of all symbols that show the same pair of dates is added up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.defects.defect import Defect, Detector, Severity, defect
from hedgefund_core.quant.defects.grid import NEIGHBOUR_ROWS, SCALE_ROWS, Flags, Grid, Rows

LOOK_BACK = 252
"""Copies are looked for within a year."""
RANGE_TICKS = 10
"""A bar of fewer ticks repeats by chance when its volume differs."""
VOLUME_LOW, VOLUME_HIGH = 0.9, 1.05
"""A provisional bar lacks late prints or, seldom, holds cancelled ones."""
WIDER_VOLUME_LOW = 0.75
"""Where the dates are proven by other symbols, a bar may have been written well before the close."""
POOL = 3
"""So many symbols with the same pair of dates prove the pair."""
DISPLACED = 1.3
"""A copy that is not the same to the last share is held if it moves the price by so many sigmas: below that it is noted only."""
WIDE = 2.0
"""A gap between bars that do not follow each other is about three times as wide as one between bars that do."""
CLEAR = 2.0
"""Log odds beyond which a side is taken."""


def find(grid: Grid, since: int) -> list[Defect]:
    """Misdated bars and stale repeats among the pairs whose later row is ``since`` or later."""
    if any(getattr(grid.panel, name) is None for name in ("open", "high", "low", "volume")):
        return []
    pairs = _pairs(grid, since)
    if len(pairs.column) == 0:
        return []
    odds = pairs.pooled(pairs.odds())
    wrong_is_early = np.where(pairs.lag == 1, odds > CLEAR, odds > -CLEAR)
    wrong_is_late = odds < -CLEAR
    run = pairs.in_run()
    unclear = (~wrong_is_early & ~wrong_is_late) | run
    held = pairs.certain | (pairs.displacement() >= DISPLACED)
    found: list[Defect] = []
    for i in range(len(pairs.column)):
        severity = Severity.ERROR if held[i] else Severity.WARNING
        if run[i]:
            found.append(_run(grid, pairs, i))
        elif wrong_is_early[i] or unclear[i]:
            found.append(_early(grid, pairs, i, float(odds[i]), severity, both=bool(unclear[i])))
        if wrong_is_late[i] or unclear[i]:
            found.append(_late(grid, pairs, i, float(odds[i]), severity, both=bool(unclear[i])))
    return found


@dataclass(frozen=True)
class _Pairs:
    """Pairs (early row, late row, column) of copies."""

    grid: Grid
    early: Rows
    late: Rows
    column: Rows

    @property
    def lag(self) -> Rows:
        """Rows between the two."""
        return self.late - self.early

    def take(self, chosen: Flags) -> _Pairs:
        """The chosen pairs."""
        return _Pairs(self.grid, self.early[chosen], self.late[chosen], self.column[chosen])

    def same(self, name: str) -> Flags:
        """The field is equal in both rows."""
        values = self.grid.panel.field(name)
        return np.asarray(values[self.early, self.column] == values[self.late, self.column])

    @cached_property
    def volume_share(self) -> Floats:
        """Volume of the early row as a share of the late one's."""
        volume = self.grid.panel.field("volume")
        late = volume[self.late, self.column]
        return np.asarray(np.divide(volume[self.early, self.column], late, out=np.full(len(late), np.nan), where=late > 0))

    @cached_property
    def ticks(self) -> Floats:
        """Height of the bar in ticks, infinite where the tick is unknown."""
        panel, cells = self.grid.panel, (self.late, self.column)
        height = panel.field("high")[cells] - panel.field("low")[cells]
        return np.asarray(height / self.grid.tick if self.grid.tick else np.where(height > 0, np.inf, 0.0))

    @cached_property
    def certain(self) -> Flags:
        """All prices and the volume agree."""
        return np.asarray(self.same("close") & (self.volume_share == 1.0))

    def pooled(self, values: Floats) -> Floats:
        """Sum of ``values`` over all pairs of the same two sessions."""
        _, group = np.unique(self.early * self.grid.shape[0] + self.late, return_inverse=True)
        return np.asarray(np.bincount(group, weights=values)[group], dtype=np.float64)

    def in_run(self) -> Flags:
        """The early row repeats the row before it already: three alike are a feed that stands still, not a wrong date."""
        before = self.grid.before[self.early, self.column]
        alike = (before >= 0) & (self.lag == 1) & self.certain
        for name in ("open", "high", "low", "close", "volume"):
            values = self.grid.panel.field(name)
            alike &= values[np.maximum(before, 0), self.column] == values[self.early, self.column]
        return np.asarray(alike)

    def odds(self) -> Floats:
        """Log odds that the early row is the wrong one."""
        grid = self.grid
        follower = grid.after[self.early, self.column]
        entry = _log_odds(self._gap(self.early))
        leave = np.where(self.lag > 1, _log_odds(self._gap(np.maximum(follower, 0))), 0.0)
        arrive = np.where(self.lag > 1, _log_odds(self._gap(self.late)), 0.0)
        return entry + np.where(follower >= 0, leave, 0.0) - arrive + self._market_odds()

    def displacement(self) -> Floats:
        """Largest move into or out of the early row, in sigmas."""
        grid, follower = self.grid, np.maximum(self.grid.after[self.early, self.column], 0)
        sigma = grid.scale(grid.move, self.early, self.column)
        into, out = grid.move[self.early, self.column], grid.move[follower, self.column]
        return np.nan_to_num(np.fmax(np.abs(into), np.abs(out)) / sigma)

    def _gap(self, rows: Rows) -> Floats:
        gap = self.grid.gap
        return np.asarray(gap[rows, self.column] / self.grid.scale(gap, np.minimum(rows, self.early), self.column))

    def _market_odds(self) -> Floats:
        """The bar's own way through the day fits the market of the day it belongs to."""
        grid = self.grid
        sigma = grid.scale(grid.intraday - grid.intraday_market[:, None], self.early, self.column)
        way = grid.intraday[self.early, self.column]
        there, here = (way - grid.intraday_market[rows] for rows in (self.late, self.early))
        return np.nan_to_num(_log_t(there / sigma) - _log_t(here / sigma))


def _pairs(grid: Grid, since: int) -> _Pairs:
    """Each row ``since`` or later with the most recent earlier row of the same open, high and low that can be its copy."""
    everything = _same_shape(grid, since, ("open", "high", "low"))
    traded = everything.take((everything.ticks > 0) & (everything.volume_share > 0))
    share, close = traded.volume_share, traded.same("close")
    exact = close & (share == 1.0)
    near = close & (share >= VOLUME_LOW) & (share <= VOLUME_HIGH) & (traded.ticks >= RANGE_TICKS)
    proven = traded.pooled((exact | near).astype(np.float64)) >= POOL
    loose = proven & (share >= WIDER_VOLUME_LOW) & (share <= VOLUME_HIGH) & (traded.ticks >= RANGE_TICKS)
    return _join(traded.take(exact | near | loose), _own_open(grid, since))


def _own_open(grid: Grid, since: int) -> _Pairs:
    """Copies that kept their own open: high, low, close and every share of the volume agree."""
    pairs = _same_shape(grid, since, ("high", "low", "close"))
    return pairs.take((pairs.ticks > 0) & (pairs.volume_share == 1.0) & ~pairs.same("open"))


def _join(left: _Pairs, right: _Pairs) -> _Pairs:
    """Both, ordered by late row and column."""
    early, late, column = (np.concatenate([getattr(left, name), getattr(right, name)]) for name in ("early", "late", "column"))
    order = np.lexsort((early, column, late))
    return _Pairs(left.grid, early[order], late[order], column[order])


def _same_shape(grid: Grid, since: int, names: tuple[str, ...]) -> _Pairs:
    """Pairs of equal prices, by sorting a hash of them: the newest earlier row of each."""
    prices = [grid.panel.field(name) for name in names]
    start = max(0, since - LOOK_BACK)
    if 0 < since == grid.shape[0] - 1:
        return _same_as_newest(grid, prices, start)
    usable = grid.present[start:] & np.logical_and.reduce([np.isfinite(values[start:]) for values in prices])
    rows, columns = np.nonzero(usable)
    rows = rows + start
    key = np.zeros(len(rows), dtype=np.uint64)
    for values in prices:
        key = (key ^ values[rows, columns].view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
    order = np.lexsort((rows, key, columns))
    first, second = order[:-1], order[1:]
    same = (columns[first] == columns[second]) & (key[first] == key[second])
    same &= (rows[second] - rows[first] <= LOOK_BACK) & (rows[second] >= since)
    for values in prices:
        same &= values[rows[first], columns[first]] == values[rows[second], columns[second]]
    return _Pairs(grid, rows[first][same], rows[second][same], columns[first][same])


def _same_as_newest(grid: Grid, prices: list[Floats], start: int) -> _Pairs:
    """The same for the newest row alone: comparing is cheaper than sorting, and few cells pass the first comparison."""
    last = grid.shape[0] - 1
    rows, columns = np.divmod(np.flatnonzero(prices[-1][start:last] == prices[-1][last]), grid.shape[1])
    rows = rows + start
    same = grid.present[rows, columns] & grid.present[last, columns]
    for values in prices:
        same &= np.isfinite(values[last, columns]) & (values[rows, columns] == values[last, columns])
    newest = np.full(grid.shape[1], -1)
    newest[columns[same]] = rows[same]  # rows ascend: the last one written is the newest
    found = np.flatnonzero(newest >= 0)
    return _Pairs(grid, newest[found], np.full(len(found), last), found)


def _log_t(z: Floats) -> Floats:
    """Log density of Student's t with three degrees of freedom, up to a constant."""
    return np.asarray(-2.0 * np.log1p(z * z / 3.0))


def _log_odds(z: Floats) -> Floats:
    """Log odds that a gap of ``z`` sigmas lies between bars that do not follow each other; 0 where unknown."""
    return np.asarray(np.nan_to_num(_log_t(z / WIDE) - np.log(WIDE) - _log_t(z)))


def _early(grid: Grid, pairs: _Pairs, i: int, odds: float, severity: Severity, *, both: bool) -> Defect:
    there = grid.panel.sessions[pairs.late[i]]
    verdict = "nothing tells which of the two is right" if both else "the gaps around it belong to that day"
    reason = f"carries the bar of {there}, {pairs.lag[i]} rows later ({pairs.volume_share[i]:.2%} of its volume); {verdict}"
    cell, known = (pairs.early[i], pairs.column[i]), int(pairs.late[i])
    share = float(pairs.volume_share[i])
    return defect(grid, cell, "misdated", reason, known_row=known, severity=severity, log_odds=odds, volume_share=share, lag=pairs.lag[i])


def _run(grid: Grid, pairs: _Pairs, i: int) -> Defect:
    """The middle row of three alike: known to be stale when the third arrives."""
    reason = f"stands between two bars like itself, up to {grid.panel.sessions[pairs.late[i]]}: the feed stood still"
    return defect(grid, (pairs.early[i], pairs.column[i]), "stale_run", reason, known_row=int(pairs.late[i]), lag=1)


def _late(grid: Grid, pairs: _Pairs, i: int, odds: float, severity: Severity, *, both: bool) -> Defect:
    there = grid.panel.sessions[pairs.early[i]]
    verdict = "nothing tells that it is the right one" if both else "the gaps around it belong to that day"
    reason = f"repeats the bar of {there}, {pairs.lag[i]} rows earlier; {verdict}"
    cell = (pairs.late[i], pairs.column[i])
    share = float(pairs.volume_share[i])
    return defect(grid, cell, "stale_repeat", reason, severity=severity, log_odds=odds, volume_share=share, lag=pairs.lag[i])


DETECTOR = Detector(name="copies", look_back=LOOK_BACK + SCALE_ROWS + NEIGHBOUR_ROWS, look_ahead=0, find=find)
