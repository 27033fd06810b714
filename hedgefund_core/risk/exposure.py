"""Exposure after each order of a batch, with the reservations of the orders before it (RTS 6 art. 15(2): working orders count as filled).

All orders of one auction fill together, so a reduction in an auction counts as filled in the exposure of the book (gross, net,
concentration). Every other order counts at its worst case: on each side, all orders fill and none of the other side does. The position
of one instrument is always judged at that worst case.

As in ``compare``, a float stands for a column that holds this value throughout. Most batches have no resting orders, no reductions, or no
two orders in one instrument, and then nothing has to be added up for them.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import TypeVar, cast

import numpy as np

from hedgefund_core.risk.compare import every, some
from hedgefund_core.risk.rule import Bools, Flags, Floats, Ints, OrderBatch, RiskContext, Values

C = TypeVar("C", RiskContext, None)
T = TypeVar("T")


def _once(work: Callable[[OrderBatch, C], T], batch: OrderBatch, context: C) -> T:
    """``work(batch, context)``, kept with the batch: with other reservations it is another batch, which keeps nothing yet."""
    key = (work, id(context))
    if key not in batch.derived:
        batch.derived[key] = (context, work(batch, context))  # the context stays alive with it, so its id stays its own
    return cast("T", batch.derived[key][1])


def strangers(batch: OrderBatch, context: RiskContext) -> Flags:
    """Orders in no instrument of the universe: bool (n,), False where there are none."""
    return _once(_strangers, batch, context)


def _strangers(batch: OrderBatch, context: RiskContext) -> Flags:
    found = (batch.instrument < 0) | (batch.instrument >= len(context.price))
    return found if some(found) else False


def of_instrument(values: Floats, batch: OrderBatch, context: RiskContext) -> Floats:
    """``values`` (m,) of each order's instrument: float64 (n,), NaN for strangers and in an empty universe; kept for the next rule."""
    key = (id(values), id(context))
    if key not in batch.derived:
        batch.derived[key] = ((values, context), _of_instrument(values, batch, context))
    return cast("Floats", batch.derived[key][1])


def seldom_of_instrument(values: Floats, batch: OrderBatch, context: RiskContext) -> Values:
    """As `of_instrument`, of what is zero in most accounts throughout (shares that work, freezes): then 0.0 and no column."""
    return of_instrument(values, batch, context) if np.count_nonzero(values) or strangers(batch, context) is not False else 0.0


def _of_instrument(values: Floats, batch: OrderBatch, context: RiskContext) -> Floats:
    absent = strangers(batch, context)
    if absent is False:
        return values[batch.instrument]
    return np.where(absent, np.nan, values.take(batch.instrument, mode="clip")) if len(values) else np.full(len(batch), np.nan)


def equity_of(context: RiskContext) -> float:
    """Equity to measure against; NaN where there is none, since no share of nothing is a limit."""
    return context.equity if context.equity > 0.0 else nan


def earlier(values: Values, batch: OrderBatch) -> Values:
    """Sum of ``values`` over the earlier reserving orders of the whole batch: float64 (n,)."""
    if isinstance(values, float):
        return values * _once(_before, batch, None) if values else 0.0
    counted = _counted(values, batch)
    return np.add.accumulate(counted) - counted


def _before(batch: OrderBatch, _: None) -> Floats:
    """Earlier reserving orders of each."""
    if batch.reserves is None:
        return np.arange(len(batch), dtype=np.float64)
    return np.add.accumulate(batch.reserves, dtype=np.float64) - batch.reserves


def earlier_same(values: Values, batch: OrderBatch) -> Values:
    """Sum of ``values`` over the earlier reserving orders in the same instrument: float64 (n,)."""
    grouped = _once(_grouped, batch, None)
    if grouped is None or (isinstance(values, float) and not values):
        return 0.0
    order, start = grouped
    counted = _counted(values if isinstance(values, np.ndarray) else np.full(len(batch), values), batch)[order]
    before = np.add.accumulate(counted) - counted
    sums = np.empty_like(before)
    sums[order] = before - before[start]
    return sums


def _grouped(batch: OrderBatch, _: None) -> tuple[Ints, Ints] | None:
    """Rows instrument by instrument, and where in them each one's instrument begins; None where no instrument has two orders."""
    order = batch.instrument.argsort(kind="stable")
    names = batch.instrument[order]
    again = names[1:] == names[:-1]
    if not some(again):
        return None
    return order, np.maximum.accumulate(np.where(np.append(False, again), 0, np.arange(len(order))))


def _counted(values: Floats, batch: OrderBatch) -> Floats:
    """Values of reserving orders."""
    counts = _counts(values, batch)
    return values if every(counts) else np.where(counts, values, 0.0)


def _counts(values: Floats, batch: OrderBatch) -> Bools:
    """Orders that reserve; a malformed one reserves nothing, or one NaN would blind the rules to all that follow."""
    finite = np.isfinite(values)
    return finite if batch.reserves is None else finite & batch.reserves


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
    buys, sells = _once(_sides, batch, None)
    settles = batch.reduction & batch.auction
    rests = ~settles
    settled, up, down = only(settles, batch.sign * batch.quantity), only(rests, buys), only(rests, sells)
    held = seldom_of_instrument(context.quantity, batch, context) + earlier_same(settled, batch)
    high = held + seldom_of_instrument(context.working_buy, batch, context) + earlier_same(up, batch)
    low = held - seldom_of_instrument(context.working_sell, batch, context) - earlier_same(down, batch)
    price = of_instrument(context.price, batch, context)
    before = np.maximum(np.abs(high), np.abs(low))
    after = np.maximum(np.abs(high + settled + up), np.abs(low + settled - down))
    base = np.maximum(np.abs(context.quantity + context.working_buy), np.abs(context.quantity - context.working_sell))
    return Exposures(base=valued(base, context), before=before * price, after=after * price)


def only(flags: Bools, values: Floats) -> Values:
    """``values`` where a flag is set, else zero."""
    count = np.count_nonzero(flags)
    return values if count == len(flags) else np.where(flags, values, 0.0) if count else 0.0


def valued(shares: Floats, context: RiskContext) -> Floats:
    """Shares (m,) in account currency; zero shares need no price."""
    return np.where(shares == 0.0, 0.0, shares * context.price)


def total(shares: Floats, context: RiskContext) -> float:
    """Sum of what ``shares`` (m,) are worth."""
    return float(valued(shares, context).sum()) if np.count_nonzero(shares) else 0.0


def worst_position(batch: OrderBatch, context: RiskContext) -> Floats:
    """Signed shares of each order's instrument if every working order on the order's side fills and none on the other: float64 (n,)."""
    return _once(_worst_position, batch, context)


def _worst_position(batch: OrderBatch, context: RiskContext) -> Floats:
    buys, sells = _once(_sides, batch, None)
    held = seldom_of_instrument(context.quantity, batch, context)
    high = held + seldom_of_instrument(context.working_buy, batch, context) + earlier_same(buys, batch) + buys
    low = held - seldom_of_instrument(context.working_sell, batch, context) - earlier_same(sells, batch) - sells
    return np.where(batch.sign > 0.0, high, low)


def _sides(batch: OrderBatch, _: None) -> tuple[Floats, Floats]:
    """Shares bought and shares sold by each order: float64 (n,), not negative."""
    return np.where(batch.sign == 1.0, batch.quantity, 0.0), np.where(batch.sign == -1.0, batch.quantity, 0.0)


def largest_sums(batch: OrderBatch, found: Exposures, count: int, *, including: bool) -> Floats:
    """Sum of the ``count`` largest exposures of the book after each order (``including`` it) or before it: float64 (n,).

    NaN where an exposure is not known. One order changes one instrument, and few of them one of the largest: so these are moved order by
    order. A grid of orders by instruments would be 250,000 numbers for 500 of each.
    """
    if some(np.isnan(found.base)) or not len(found.base):
        return np.full(len(batch), nan)
    was, now, stays = _moves(batch, found)
    top = _top(found.base, count)
    floor = _floor(top, count)
    sums = np.full(len(batch), sum(top))
    for place, peak in enumerate(np.maximum(was, now).tolist()):
        if peak < floor:  # among the largest neither before nor after, as nearly all
            continue
        before, after = float(was[place]), float(now[place])
        if not isfinite(after):
            if including:
                sums[place] = nan
            continue
        if after < before:  # another one may be larger now: what stands at this place is sorted anew
            earlier_ones = np.flatnonzero(stays[:place])
            book = found.base.copy()
            book[batch.instrument[earlier_ones]] = now[earlier_ones]  # of two in one instrument the last one stands
            book[batch.instrument[place]] = after
            largest = _top(book, count)
        else:
            largest = _raised(top, before, after, count)
        held = sum(largest)
        if including:
            sums[place] = held
        if stays[place]:  # an order that reserves nothing is judged as if it did, and leaves no trace
            top, floor = largest, _floor(largest, count)
            sums[place + 1 :] = held
    return sums


def _moves(batch: OrderBatch, found: Exposures) -> tuple[Floats, Floats, Bools]:
    """Exposure of each order's instrument without and with it (NaN where it is malformed), and whether it stays for the next one: (n,)."""
    step = found.after - found.before
    stays = _counts(step, batch)
    was = found.base.take(batch.instrument, mode="clip")
    now = was + step
    grouped = _once(_grouped, batch, None)
    if grouped is not None:
        order, start = grouped
        places = np.flatnonzero(start < np.arange(len(order)))
        rows, ones = order[places], order[places - 1]
        for _ in range(int((places - start[places]).max())):  # the second order in each instrument, then the third
            was[rows] = np.where(stays[ones], now[ones], was[ones])
            now[rows] = was[rows] + step[rows]
    return was, now if every(stays) else np.where(np.isfinite(step), now, nan), stays


def _raised(top: list[float], before: float, after: float, count: int) -> list[float]:
    """The largest once one exposure has risen."""
    others = list(top)
    if before >= _floor(top, count):
        others.remove(before)
    insort(others, after)
    return others[-count:]


def _top(exposures: Floats, count: int) -> list[float]:
    """The largest in rising order."""
    largest: list[float] = np.sort(exposures)[-count:].tolist()
    return largest


def _floor(top: list[float], count: int) -> float:
    return top[0] if len(top) == count else -inf
