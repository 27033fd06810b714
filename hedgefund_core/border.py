"""The border between float64 and Decimal or the journal, a column at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from hedgefund_core.trading.instrument import SIX_PLACES, to_price

_EXACT, _NEAR_A_TIE = 1e6, 0.499
"""Below a million a product is off by less than a thousandth of a millionth: one so far from a tie is on the side that it was on."""
_WHOLE = 2.0**53
"""Whole numbers below have a float64 each."""
_READER = msgspec.json.Decoder(list[float | None], strict=False)


def to_prices(values: NDArray[np.float64]) -> list[Decimal]:
    """What ``to_price`` gives of each of a column of finite values, in a fifth of the time."""
    return priced(values)[0]


def priced(values: NDArray[np.float64]) -> tuple[list[Decimal], NDArray[np.float64]]:
    """`to_prices` of a column (n,), and the float of each: a whole number of millionths divides to the nearest float."""
    millionths = values * 1e6
    whole = np.rint(millionths)
    sure = (np.abs(values) < _EXACT) & (np.abs(millionths - whole) < _NEAR_A_TIE) & ((whole != 0.0) | (millionths == 0.0))
    doubtful = np.flatnonzero(~sure)
    whole[doubtful] = 0.0
    prices = [SIX_PLACES * count for count in whole.astype(np.int64).tolist()]
    views: NDArray[np.float64] = whole / 1e6
    for place in doubtful.tolist():
        prices[place] = to_price(float(values[place]))
        views[place] = float(prices[place])
    return prices, views


def floats_of(values: Sequence[Decimal | None]) -> NDArray[np.float64]:
    """What ``float`` gives of each, NaN where there is none: (n,). It reads a Decimal's text too, one at a time."""
    return np.array(_READER.decode(msgspec.json.encode(values)), dtype=np.float64)


def packed(values: NDArray[np.float64]) -> bytes:
    """A column as the journal keeps it: float64 in little-endian order, read by ``outputs.unpacked``."""
    return values.astype("<f8", copy=False).tobytes()


class Marks(tuple[Decimal | None, ...]):  # noqa: SLOT001 - what is derived of them is kept with them
    """Last good prices in the order of an account's rows, None where there is none, with their float views."""

    on_grid = False
    """Whether all are known to be whole millionths."""

    @classmethod
    def of(cls, prices: Sequence[Decimal | None]) -> Marks:
        """The same prices; themselves where they are kept so already."""
        return prices if isinstance(prices, Marks) else cls(prices)

    @classmethod
    def seen(cls, values: NDArray[np.float64], others: Mapping[int, Decimal | None]) -> Marks:
        """Prices that were seen, (n,), and what stands at each place that is NaN there, in rising order."""
        known = ~np.isnan(values) if others else slice(None)  # a mask of every place would copy
        prices, seen = priced(values[known])
        views, row = np.full(values.shape, np.nan), list[Decimal | None](prices)
        views[known] = seen
        for place, other in others.items():
            row.insert(place, other)
            views[place] = np.nan if other is None else float(other)
        marks = cls(row)
        marks.views, marks.on_grid = views, all(other is None for other in others.values())
        return marks

    @cached_property
    def views(self) -> NDArray[np.float64]:
        """What ``float`` gives of each, NaN where there is none: (n,)."""
        return floats_of(self)


def in_millionths(shares: NDArray[np.float64], marks: Marks) -> NDArray[np.float64] | None:
    """What signed shares (n,) are worth to the last millionth, and also their sum: (n,). None where float64 may not hold that."""
    if not marks.on_grid:
        return None
    values = np.where(shares == 0.0, 0.0, shares * np.rint(marks.views * 1e6))
    whole = np.array_equal(shares, np.rint(shares)) and not np.count_nonzero(marks.views >= _EXACT)
    return values if whole and np.abs(values).sum() < _WHOLE else None
