"""Instruments, and the border where float64 becomes Decimal.

Prices and money carry six decimal places; quantities are whole shares unless the instrument is fractional.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from functools import cached_property, lru_cache

import msgspec

from hedgefund_core.identifiers import order_letters

SIX_PLACES = Decimal("0.000001")
NINE_PLACES = Decimal("0.000000001")
ZERO = Decimal(0)
ONE = Decimal(1)
LARGEST = Decimal(10**12)
"""A price, quantity or weight from outside beyond it is a mistake; arithmetic with numbers of too many digits would break off halfway."""
_FORMATTED = 1e15


class Instrument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is traded. ``instrument_id`` is stable; ``symbol`` is its name today."""

    instrument_id: str
    symbol: str
    lot: Decimal = ONE
    currency: str = "USD"


class Instruments(tuple[Instrument, ...]):  # noqa: SLOT001 - cached properties need a __dict__
    """An account's instruments in the order of its rows, with derived columns that are computed once, as instruments seldom change."""

    @classmethod
    def of(cls, instruments: Sequence[Instrument]) -> Instruments:
        """The same instruments; themselves where they are kept so already."""
        return instruments if isinstance(instruments, Instruments) else cls(instruments)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Their ids."""
        return tuple([instrument.instrument_id for instrument in self])

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """Their names of today."""
        return tuple([instrument.symbol for instrument in self])

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of each id."""
        return {key: place for place, key in enumerate(self.ids)}

    @cached_property
    def ranks(self) -> tuple[int, ...]:
        """The place of each in the order of the ids; empty where they stand in that order, as mostly."""
        ranked = sorted(range(len(self)), key=self.ids.__getitem__)
        ranks = tuple(sorted(range(len(self)), key=ranked.__getitem__))
        return () if ranks == tuple(range(len(self))) else ranks

    @cached_property
    def lots(self) -> tuple[Decimal, ...]:
        """Their lot sizes; empty where every one is one share, as nearly always."""
        found = tuple([instrument.lot for instrument in self])
        return () if all(lot == ONE for lot in found) else found

    @cached_property
    def order_letters(self) -> bytes:
        """``identifiers.order_letters`` of the opening leg of each, then of its closing one."""
        return b"".join([order_letters(key, leg) for key in self.ids for leg in ("open", "close")])

    @cached_property
    def encoded(self) -> msgspec.Raw:
        """As the journal writes them."""
        return msgspec.Raw(msgspec.json.encode(tuple(self)))


@lru_cache(maxsize=8192)
def to_price(value: float) -> Decimal:
    """A price as a Decimal with six places, rounded half-even from the exact binary value, so that the result is deterministic.

    NaN gives a NaN Decimal; an infinity raises ``decimal.InvalidOperation``. Formatting rounds as exactly as ``quantize`` in half of
    the time; only numbers with more digits than the Decimal context has need the slower way. Cached, because most prices of a session
    are those of a moment ago.
    """
    if -_FORMATTED < value < _FORMATTED:
        return Decimal(f"{value + 0.0:.6f}")  # +0.0 turns -0.0 into 0.0: both are one key of the cache, and may not give two results
    return Decimal(value).quantize(SIX_PLACES, rounding=ROUND_HALF_EVEN)


def is_amount(value: Decimal) -> bool:
    """Whether a number from outside can be a price or quantity: above zero, not beyond what anybody holds, at most nine places."""
    return value.is_finite() and ZERO < value <= LARGEST and value == value.quantize(NINE_PLACES)


def to_money(value: Decimal) -> Decimal:
    """Money with six places, half-even."""
    return value.quantize(SIX_PLACES, rounding=ROUND_HALF_EVEN)


def split_quantity(held: Decimal, ratio: Decimal, lot: Decimal) -> tuple[Decimal, Decimal]:
    """Quantity after a split in whole lots toward zero, and the fraction left for cash in lieu.

    The product is first rounded to nine places: with a ratio such as 1/3, 300 shares would otherwise be 99.99…, and cut to 99.
    """
    exact = (held * ratio).quantize(NINE_PLACES, rounding=ROUND_HALF_EVEN)
    whole = to_lots(exact, lot)
    return whole, exact - whole


def to_lots(value: Decimal, lot: Decimal) -> Decimal:
    """A signed quantity cut toward zero to whole lots: rounding never adds exposure."""
    return (value / lot).to_integral_value(rounding=ROUND_DOWN) * lot
