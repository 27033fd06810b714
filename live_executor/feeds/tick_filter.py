"""Filters single wrong prices ("flashes") before they reach marks, triggers and orders.

The batch suite's rules that one message can break hold here too: no price, not above zero, crossed. A price more than 10 % away from the
last one (the widest regular band of limit up/limit down for large stocks at the open and close) is held back until a second message
agrees with it. So a single flash is dropped, and a real gap is believed with its second message, or if the same message is still the
newest when it is asked for a second later.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from decimal import Decimal

from hedgefund_core.trading.instrument import LARGEST, SIX_PLACES
from hedgefund_core.trading.observed import BarSighting, QuoteSighting

FLASH = Decimal("0.10")
_STANDS = timedelta(seconds=1)
_FORGET = timedelta(minutes=5)
"""After so long without a price the next one is believed, however far away it is."""
_ZERO, _TWO = Decimal(0), Decimal(2)
Seen = QuoteSighting | BarSighting


class TickFilter:
    """One feed's filter; ``refused`` counts by rule."""

    def __init__(self) -> None:
        self._good: dict[str, Seen] = {}
        self._doubtful: dict[str, Seen] = {}
        self._splits: dict[str, Decimal] = {}
        self.refused: Counter[str] = Counter()

    def expect(self, symbol: str, ratio: Decimal) -> None:
        """A split is announced: the first price in new shares is no flash."""
        self._splits[symbol] = ratio

    def admits(self, seen: Seen) -> bool:
        """Whether a sighting may be believed now."""
        price, fault = price_of(seen)
        if fault:
            self.refused[fault] += 1
            return False
        before = self._good.get(seen.symbol)
        if before is None or seen.at - before.at > _FORGET or _near(price, price_of(before)[0]):
            return self._believe(seen)
        if _near(price * self._splits.get(seen.symbol, _ZERO), price_of(before)[0]):
            del self._splits[seen.symbol]
            return self._believe(seen)
        first = self._doubtful.get(seen.symbol)
        if first is not None and _near(price, price_of(first)[0]) and (seen.at > first.at or _stands(first, seen)):
            return self._believe(seen)
        if first is None or seen.at != first.at:
            self._doubtful[seen.symbol] = seen
        self.refused["flash"] += 1
        return False

    def _believe(self, seen: Seen) -> bool:
        self._good[seen.symbol] = seen
        self._doubtful.pop(seen.symbol, None)
        return True


def price_of(seen: Seen) -> tuple[Decimal, str]:
    """A sighting's price, or the rule that it breaks."""
    if isinstance(seen, BarSighting):
        prices = [Decimal(str(value)) for value in (seen.open, seen.high, seen.low, seen.close)]
        if not all(map(_is_price, prices)):
            return _ZERO, "no price"
        return prices[3], "" if prices[2] <= min(prices) and max(prices) <= prices[1] else "range"
    values = [value for value in (seen.bid, seen.ask, seen.last) if value is not None]
    if not values or not all(map(_is_price, values)):
        return _ZERO, "no price"
    if seen.bid is not None and seen.ask is not None:
        return (seen.bid + seen.ask) / _TWO, "crossed" if seen.bid > seen.ask else ""
    return (seen.last if seen.last is not None else values[0]), ""


def _is_price(value: Decimal) -> bool:
    """Whether the books can hold it: six places, and no more digits than arithmetic has."""
    return value.is_finite() and SIX_PLACES <= value <= LARGEST


def _near(price: Decimal, other: Decimal) -> bool:
    return abs(price - other) <= FLASH * other


def _stands(first: Seen, seen: Seen) -> bool:
    """The same message, asked for again later: it is no flash that was taken back."""
    if not isinstance(first, QuoteSighting) or not isinstance(seen, QuoteSighting):
        return False
    return seen.at == first.at and seen.received_at - first.received_at >= _STANDS
