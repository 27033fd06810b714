"""The newest prices as a decision may know them: a sane quote's middle, else the last trade, with its age by the broker's clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median

from hedgefund_core.trading.capabilities import EASTERN
from hedgefund_core.trading.events import PricesSeen, Row
from hedgefund_core.trading.instrument import Instrument
from hedgefund_core.trading.observed import BandSighting, BarSighting, HaltSighting, QuoteSighting

_ZERO, _TWO = Decimal(0), Decimal(2)
_LAG = timedelta(seconds=15)
"""A trade newer than the quote by more than this is the better price: newer quotes must have been missed."""
_GAPS, _FEWEST_GAPS = 32, 8
"""Newest gaps between prices that a symbol's rhythm is read from. Source: default."""
_Prices = tuple[float | None, float | None, float | None, float | None]
"""Best price, bid, ask, age in seconds."""


class MarketView:
    """What the feed has shown, by symbol."""

    def __init__(self) -> None:
        self._quotes: dict[str, QuoteSighting] = {}
        self._trades: dict[str, tuple[datetime, Decimal]] = {}
        self._halts: dict[str, HaltSighting] = {}
        self._doubted: set[str] = set()
        """Halted when the stream was interrupted: whether trading was resumed meanwhile is not told again, and the next trade shows it."""
        self._bands: dict[str, BandSighting] = {}
        self._newest: datetime | None = None
        self._shown: dict[str, datetime] = {}
        self._gaps: dict[str, deque[float]] = {}

    def take(self, seen: QuoteSighting | BarSighting | HaltSighting | BandSighting) -> None:
        """Remember a sighting; an older one than we have, or one that is no price, changes nothing."""
        if isinstance(seen, HaltSighting):
            self._take_halt(seen)
            return
        if isinstance(seen, BandSighting):
            self._bands[seen.symbol] = max(self._bands.get(seen.symbol, seen), seen, key=lambda band: band.at)
            return
        self._newest = max(self._newest or seen.at, seen.at)
        self._count(seen.symbol, seen.at)
        if isinstance(seen, BarSighting):
            self._take_trade(seen.symbol, seen.at, Decimal(str(seen.close)))
            return
        if seen.last is not None:
            self._take_trade(seen.symbol, seen.at, seen.last)
            if seen.source == "trade" and seen.symbol in self._doubted and seen.at > self._halts[seen.symbol].at:
                self._take_halt(HaltSighting(symbol=seen.symbol, halted=False, reason="it trades", at=seen.at))
        known = self._quotes.get(seen.symbol)
        if _is_sane(seen) and (known is None or seen.at >= known.at):
            self._quotes[seen.symbol] = seen

    @property
    def newest(self) -> datetime | None:
        """The vendor's time of the newest thing seen."""
        return self._newest

    def halted(self, symbol: str) -> str:
        """Why trading in a symbol is halted; empty where it is not."""
        seen = self._halts.get(symbol)
        return (seen.reason or "halted") if seen is not None and seen.halted else ""

    def doubt_halts(self) -> None:
        """The stream was interrupted: the end of a halt may have been missed."""
        self._doubted = {symbol for symbol, seen in self._halts.items() if seen.halted}

    def age(self, symbol: str, now: datetime) -> float | None:
        """Seconds since a symbol's best price was known to hold; None without any."""
        at = self._best(symbol)[0]
        return None if at is None else max(0.0, (now - at).total_seconds())

    def gap(self, symbol: str) -> float | None:
        """Median seconds between two prices of a symbol, by the vendor's time; None where too few have been seen to say."""
        gaps = self._gaps.get(symbol, ())
        return round(median(gaps), 3) if len(gaps) >= _FEWEST_GAPS else None

    def stale(self, symbols: Sequence[str], now: datetime, limit: timedelta) -> list[str]:
        """Symbols whose price is older than ``limit`` or missing: to be asked for by query."""
        ages = {symbol: self.age(symbol, now) for symbol in symbols}
        return [symbol for symbol, age in ages.items() if age is None or age > limit.total_seconds()]

    def prices_seen(
        self, instruments: Sequence[Instrument], session: str, ts: datetime, now: datetime, closes_at: datetime | None = None
    ) -> PricesSeen:
        """The journaled input, in the order of the account's instruments. ``ts`` is ours, ``now`` the broker's."""
        rows = [self._row(instrument.symbol, now) for instrument in instruments]
        price, bid, ask, age = (tuple(column) for column in zip(*rows, strict=True)) if rows else ((), (), (), ())
        gaps = tuple(self.gap(instrument.symbol) for instrument in instruments)
        return PricesSeen(
            ts=ts, session=session, price=price, bid=bid, ask=ask, age_seconds=age, gap_seconds=gaps, closes_at=closes_at,
            bands=self._bands_of(instruments, session, rows),
        )  # fmt: skip

    def _bands_of(self, instruments: Sequence[Instrument], session: str, rows: Sequence[_Prices]) -> tuple[Row, Row] | None:
        """Lowest and highest prices of limit up/limit down; None where none is known."""
        pairs = [self._band(instrument.symbol, session, row) for instrument, row in zip(instruments, rows, strict=True)]
        lower, upper = (tuple(column) for column in zip(*pairs, strict=True)) if pairs else ((), ())
        return (lower, upper) if any(lower) else None

    def _band(self, symbol: str, session: str, row: _Prices) -> tuple[float | None, float | None]:
        """The band of this session; one that the market has left is old, and the newer one was missed."""
        band, (price, bid, ask, _) = self._bands.get(symbol), row
        if band is None or price is None or band.at.astimezone(EASTERN).date().isoformat() != session:
            return None, None
        lower, upper = float(band.lower), float(band.upper)
        return (lower, upper) if (bid or price) <= upper and (ask or price) >= lower else (None, None)

    def _row(self, symbol: str, now: datetime) -> _Prices:
        at, price = self._best(symbol)
        quote = self._quotes.get(symbol)
        used = quote is not None and quote.at == at
        bid = float(quote.bid) if used and quote is not None and quote.bid is not None else None
        ask = float(quote.ask) if used and quote is not None and quote.ask is not None else None
        return (None if price is None else float(price)), bid, ask, self.age(symbol, now)

    def _best(self, symbol: str) -> tuple[datetime | None, Decimal | None]:
        """The quote's middle, unless there is a trade so much newer that newer quotes must have been missed; then that trade."""
        quote, trade = self._quotes.get(symbol), self._trades.get(symbol)
        if quote is not None and quote.bid is not None and quote.ask is not None and (trade is None or quote.at >= trade[0] - _LAG):
            return quote.at, (quote.bid + quote.ask) / _TWO
        return (None, None) if trade is None else trade

    def _count(self, symbol: str, at: datetime) -> None:
        before = self._shown.get(symbol)
        if before is not None and at <= before:
            return
        self._shown[symbol] = at
        if before is not None:
            self._gaps.setdefault(symbol, deque(maxlen=_GAPS)).append((at - before).total_seconds())

    def _take_trade(self, symbol: str, at: datetime, price: Decimal) -> None:
        known = self._trades.get(symbol)
        if price.is_finite() and price > _ZERO and (known is None or at >= known[0]):
            self._trades[symbol] = (at, price)

    def _take_halt(self, seen: HaltSighting) -> None:
        known = self._halts.get(seen.symbol)
        if known is None or seen.at >= known.at:
            self._halts[seen.symbol] = seen
            self._doubted.discard(seen.symbol)


def _is_sane(quote: QuoteSighting) -> bool:
    """Both sides, above zero and not crossed: anything else is no quote to trade on."""
    if quote.bid is None or quote.ask is None or not (quote.bid.is_finite() and quote.ask.is_finite()):
        return False
    return _ZERO < quote.bid <= quote.ask
