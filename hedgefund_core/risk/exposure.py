"""Exposure after each order of a batch, with the reservations of the orders before it (RTS 6 art. 15(2): working orders count as filled).

Two orders of one auction fill together, so a closing auction order counts as filled for the book (gross, concentration) and for
net; everything else counts at its worst case a side. The position of one name is always judged at the worst case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite, nan
from operator import itemgetter
from typing import TypeVar, cast

import numpy as np

from hedgefund_core.risk.rule import Bools, Floats, Ints, OrderBatch, RiskContext

C = TypeVar("C", RiskContext, None)
T = TypeVar("T")


def _once(work: Callable[[OrderBatch, C], T], batch: OrderBatch, context: C) -> T:
    """``work(batch, context)``, kept with the batch: with other reservations it is another batch, which keeps nothing yet."""
    key = (work, id(context))
    if key not in batch.derived:
        batch.derived[key] = (context, work(batch, context))  # the context stays alive with it, so its id stays its own
    return cast("T", batch.derived[key][1])


def known(batch: OrderBatch, context: RiskContext) -> Bools:
    """Whether each order's instrument is in the universe: bool (n,)."""
    return (batch.instrument >= 0) & (batch.instrument < len(context.price))


def _strangers(batch: OrderBatch, context: RiskContext) -> Bools | None:
    """Orders in no instrument of the universe: bool (n,), None where there are none."""
    strangers = ~known(batch, context)
    return strangers if bool(strangers.any()) else None


def of_instrument(values: Floats, batch: OrderBatch, context: RiskContext) -> Floats:
    """``values`` (m,) of each order's instrument: float64 (n,), NaN for strangers and in an empty universe."""
    if len(values) == 0:
        return np.full(len(batch), np.nan)
    found: Floats = values.take(batch.instrument, mode="clip")
    strangers = _once(_strangers, batch, context)
    return found if strangers is None else np.where(strangers, np.nan, found)


def equity_of(context: RiskContext) -> float:
    """Equity to measure against; NaN where there is none, since no share of nothing is a limit."""
    return context.equity if context.equity > 0.0 else float("nan")


def earlier(values: Floats, batch: OrderBatch) -> Floats:
    """Sum of ``values`` over the earlier reserving orders of the whole batch: float64 (n,)."""
    counted = _counted(values, batch)
    return np.cumsum(counted) - counted


def earlier_same(values: Floats, batch: OrderBatch) -> Floats:
    """Sum of ``values`` over the earlier reserving orders in the same instrument: float64 (n,)."""
    grouped = _once(_grouped, batch, None)
    if grouped is None:
        return np.zeros(len(batch))
    order, start = grouped
    counted = _counted(values, batch)[order]
    before = np.cumsum(counted) - counted
    sums = np.empty_like(before)
    sums[order] = before - before[start]
    return sums


def _grouped(batch: OrderBatch, _: None) -> tuple[Ints, Ints] | None:
    """Rows instrument by instrument, and where in them each one's instrument begins; None where no instrument has two orders."""
    order = np.argsort(batch.instrument, kind="stable")
    names = batch.instrument[order]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = names[1:] != names[:-1]
    if bool(first.all()):
        return None
    return order, np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))


def _counted(values: Floats, batch: OrderBatch) -> Floats:
    """Values of reserving orders; a malformed order reserves nothing, or one NaN would blind the rules to all that follow."""
    finite = np.isfinite(values)
    return np.where(finite if batch.reserves is None else finite & batch.reserves, values, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposures:
    """Absolute exposure of each order's own instrument, and of the book, before and after the order; account currency.

    Attributes
    ----------
    base : float64 (m,), exposure of each instrument before the batch; NaN where something is held without a price.
    before, after : float64 (n,), of the order's own instrument.
    """

    base: Floats
    before: Floats
    after: Floats


def exposures(batch: OrderBatch, context: RiskContext) -> Exposures:
    """Worst case of each instrument, closing auction orders counted as filled."""
    return _once(_exposures, batch, context)


def _exposures(batch: OrderBatch, context: RiskContext) -> Exposures:
    buys, sells = _side(batch, 1.0), _side(batch, -1.0)
    settles = batch.reduction & batch.auction
    signed = batch.sign * batch.quantity
    settled = np.where(settles, signed, 0.0)
    up, down = np.where(settles, 0.0, buys), np.where(settles, 0.0, sells)
    held = of_instrument(context.quantity, batch, context) + earlier_same(settled, batch)
    high = held + of_instrument(context.working_buy, batch, context) + earlier_same(up, batch)
    low = held - of_instrument(context.working_sell, batch, context) - earlier_same(down, batch)
    price = of_instrument(context.price, batch, context)
    before = np.maximum(np.abs(high), np.abs(low))
    after = np.maximum(np.abs(high + settled + up), np.abs(low + settled - down))
    base = np.maximum(np.abs(context.quantity + context.working_buy), np.abs(context.quantity - context.working_sell))
    return Exposures(base=valued(base, context), before=before * price, after=after * price)


def valued(shares: Floats, context: RiskContext) -> Floats:
    """Shares (m,) in account currency; zero shares need no price."""
    return np.where(shares == 0.0, 0.0, shares * context.price)


def worst_position(batch: OrderBatch, context: RiskContext) -> Floats:
    """Signed shares of each order's instrument if every working order on the order's side fills and none on the other: float64 (n,)."""
    buys, sells = _side(batch, 1.0), _side(batch, -1.0)
    held = of_instrument(context.quantity, batch, context)
    high = held + of_instrument(context.working_buy, batch, context) + earlier_same(buys, batch) + buys
    low = held - of_instrument(context.working_sell, batch, context) - earlier_same(sells, batch) - sells
    return np.where(batch.sign > 0.0, high, low)


def _side(batch: OrderBatch, sign: float) -> Floats:
    """Shares of the orders on one side, zero for the other: float64 (n,), not negative."""
    return np.where(batch.sign == sign, batch.quantity, 0.0)


def largest_sums(batch: OrderBatch, found: Exposures, count: int, *, including: bool) -> Floats:
    """Sum of the ``count`` largest exposures of the book after each order (``including`` it) or before it: float64 (n,).

    NaN where an exposure is not known. One order changes one instrument, so only the largest are kept and moved order by order: a grid
    of orders by instruments would be 250,000 numbers for 500 of each.
    """
    if np.isnan(found.base).any():
        return np.full(len(batch), np.nan)
    step = found.after - found.before
    book = _Largest(dict(enumerate(found.base.tolist())), count)
    sums: list[float] = []
    for key, change, kept in zip(batch.instrument.tolist(), step.tolist(), _counted(step, batch).tolist(), strict=True):
        if not including:
            sums.append(book.total)
        elif kept != change:  # an order that reserves nothing is judged as if it did, and leaves no trace
            sums.append(sum(sorted(book.after(key, change).values())) if isfinite(change) else nan)
        if kept != 0.0:
            book.move(key, kept)
        if including and kept == change:
            sums.append(book.total)
    return np.array(sums, dtype=np.float64)


class _Largest:
    """The largest exposures of a book, by instrument, and their sum."""

    __slots__ = ("_count", "_floor", "_now", "_top", "total")

    def __init__(self, exposures: dict[int, float], count: int) -> None:
        self._now, self._count = exposures, count
        self._keep(self._found(exposures))

    def move(self, key: int, change: float) -> None:
        """Change one exposure."""
        top = self.after(key, change)
        self._now[key] = self._now.get(key, 0.0) + change
        if top is not self._top:
            self._keep(top)

    def after(self, key: int, change: float) -> dict[int, float]:
        """The largest if one exposure changed."""
        value = self._now.get(key, 0.0) + change
        if key not in self._top:
            if value <= self._floor:
                return self._top
            return self._cut({**self._top, key: value})
        if change >= 0.0:
            return {**self._top, key: value}
        return self._found({**self._now, key: value})  # another one may be larger now

    def _found(self, exposures: dict[int, float]) -> dict[int, float]:
        return dict(sorted(exposures.items(), key=itemgetter(1))[-self._count :])

    def _cut(self, top: dict[int, float]) -> dict[int, float]:
        if len(top) > self._count:
            del top[min(top, key=top.__getitem__)]
        return top

    def _keep(self, top: dict[int, float]) -> None:
        self._top, self.total = top, sum(sorted(top.values()))
        self._floor = min(top.values()) if len(top) == self._count else -inf
