"""`AlpacaFeed`: live prices from Alpaca's data stream, and by query what the stream has not said yet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec

from hedgefund_core.errors import BrokerUnavailable, ConfigError, DataUnavailable
from hedgefund_core.trading.observed import BarSighting, Channel, FeedUpdate, QuoteSighting, SplitSighting
from live_executor.brokers.alpaca.budget import Budget
from live_executor.brokers.alpaca.endpoints import Endpoints
from live_executor.brokers.alpaca.transport import MEND, RequestTiming, Transport
from live_executor.brokers.alpaca.wire import EXCHANGE_ZONE
from live_executor.feeds.alpaca_stream import ANSWER_SECONDS, DataConversation, Said, positive, utc
from live_executor.ports import UNREADABLE
from live_executor.streams import StreamTiming, Surroundings, WatchedStream

T = TypeVar("T")
_Part = tuple[Callable[[str, msgspec.Raw], QuoteSighting], msgspec.Raw]
"""What reads it, and what is to be read."""
SYMBOLS_A_REQUEST = 200
_CONSOLIDATED = "sip"
"""Every plan may ask for these bars of days that are over. One exchange's volume is a fiftieth of the market's, and would pass for it."""
_SPLITS = "forward_split,reverse_split"
_LARGEST_RATIO = Decimal(100_000)
_OPEN, _CLOSE = time(9, 30), time(16, 0)
_SATURDAY = 5


class _Quote(msgspec.Struct):
    t: datetime
    bp: Decimal | None = None
    ap: Decimal | None = None


class _Trade(msgspec.Struct):
    t: datetime
    p: Decimal | None = None


class _Bar(msgspec.Struct):
    t: datetime
    o: float
    h: float
    l: float  # noqa: E741  the vendor's letter
    c: float
    v: float = 0.0


class _BarsPage(msgspec.Struct):
    bars: dict[str, list[_Bar]] | None = None
    next_page_token: str | None = None


class _Split(msgspec.Struct):
    symbol: str
    ex_date: str
    new_rate: Decimal
    old_rate: Decimal


class _Snapshot(msgspec.Struct, rename="camel"):
    """What a server that has no lists of its own for them says of a symbol at once."""

    latest_quote: msgspec.Raw = msgspec.Raw(b"null")
    latest_trade: msgspec.Raw = msgspec.Raw(b"null")
    daily_bar: msgspec.Raw = msgspec.Raw(b"null")


class _Actions(msgspec.Struct, frozen=True):
    forward_splits: tuple[msgspec.Raw, ...] = ()
    reverse_splits: tuple[msgspec.Raw, ...] = ()


class _ActionsPage(msgspec.Struct):
    corporate_actions: _Actions = _Actions()
    next_page_token: str | None = None


P = TypeVar("P", _BarsPage, _ActionsPage)


class AlpacaFeed:
    """A `LiveFeed`; ``feed`` (iex, sip) is part of what its prices are."""

    def __init__(
        self,
        endpoints: Endpoints,
        surroundings: Surroundings,
        *,
        requests: RequestTiming | None = None,
        stream: StreamTiming | None = None,
        data_due: Callable[[], bool] | None = None,
        locks: Path | None = None,
    ) -> None:
        self.feed = endpoints.feed
        self._clock = clock = surroundings.clock
        budget = Budget(now=lambda: clock.now().timestamp())
        self._transport = Transport(endpoints.data, endpoints, budget=budget, surroundings=surroundings, timing=requests)
        self._symbols: set[str] = set()
        self._wanted = asyncio.Event()
        answer_seconds = min(ANSWER_SECONDS, (stream or StreamTiming()).ready / 2)
        self._conversation = DataConversation(endpoints.api_key, endpoints.secret_key, self._symbols, clock, answer_seconds)
        self.stream: WatchedStream[Said] = WatchedStream(
            endpoints.data_stream,
            self._conversation,
            surroundings,
            timing=stream,
            data_due=data_due or self._regular_hours,
            lock=None if locks is None else locks / f"{self.feed}-{endpoints.holder}.lock",
        )

    async def subscribe(self, symbols: Sequence[str]) -> None:
        """Follow these symbols as well; what is followed already is not asked for again."""
        new = sorted(set(symbols) - self._symbols)
        if not new:
            return
        self._symbols.update(new)
        self._wanted.set()
        for message in self._conversation.subscriptions(new):
            await self.stream.send(message)

    async def updates(self) -> AsyncGenerator[FeedUpdate, None]:
        """The data stream for ever; the connection begins with the first subscription."""
        await self._wanted.wait()
        async with contextlib.aclosing(self.stream.batches()) as batches:
            async for batch in batches:
                for update in batch:
                    yield update

    async def latest(self, symbols: Sequence[str]) -> list[QuoteSighting]:
        """The newest price of each symbol: its quote, else its last trade, else its last bar, else any of these of its snapshot.

        A server that refuses such lists, or one of their names, is asked for each symbol.

        Raises
        ------
        DataUnavailable : the vendor does not answer, for any of them.
        """
        found: dict[str, QuoteSighting] = {}
        problem: DataUnavailable | None = None
        for some in _chunks(symbols):
            for source in ("quotes", "trades", "bars", "snapshots"):
                missing = [symbol for symbol in some if symbol not in found]
                try:
                    found |= await self._latest(source, missing) if missing else {}
                except DataUnavailable as error:
                    problem = error
                    if isinstance(error.__cause__, BrokerUnavailable):
                        break  # no answer at all: its other lists would only be waited for, too
        if problem is not None and not found:
            found = {} if problem.__cause__ is not None else await self._one_by_one(symbols)
            if not found:
                raise problem
        return [found[symbol] for symbol in symbols if symbol in found]

    async def daily_bars(self, symbols: Sequence[str], first: str, last: str) -> list[BarSighting]:
        """Daily bars from session to session, raw, oldest first, all pages; of all exchanges, whichever feed prices come from.

        Raises
        ------
        DataUnavailable : the vendor does not answer, or keeps them from this account.
        """
        found: list[BarSighting] = []
        for some in _chunks(symbols):
            asked = {"symbols": ",".join(some), "timeframe": "1Day", "start": first, "end": last, "limit": "10000"}
            asked |= {"adjustment": "raw", "feed": _CONSOLIDATED, "sort": "asc"}
            async for page in self._pages("/v2/stocks/bars", asked, _BarsPage):
                found += [_daily(symbol, bar) for symbol, bars in (page.bars or {}).items() for bar in bars]
        return sorted(found, key=lambda bar: (bar.at, bar.symbol))

    async def splits(self, symbols: Sequence[str], first: str, last: str) -> list[SplitSighting]:
        """Announced splits whose ex-date lies between two sessions, earliest first.

        Raises
        ------
        DataUnavailable : the vendor does not answer.
        """
        found: list[SplitSighting] = []
        for some in _chunks(symbols):
            asked = {"symbols": ",".join(some), "types": _SPLITS, "start": first, "end": last, "limit": "1000"}
            async for page in self._pages("/v1/corporate-actions", asked, _ActionsPage):
                actions = page.corporate_actions
                found += [split for row in (*actions.forward_splits, *actions.reverse_splits) if (split := _split(row)) is not None]
        return sorted(found, key=lambda split: (split.session, split.symbol))

    async def close(self) -> None:
        """Let go of connections."""
        await self._transport.close()

    # --------------------------------------------------------------------------------------------------------- queries
    async def _latest(self, source: str, symbols: Sequence[str]) -> dict[str, QuoteSighting]:
        """What one list of latest prices has; a row that is no price is none, and hides no other."""
        asked, path = {"symbols": ",".join(symbols), "feed": self.feed}, f"/v2/stocks/{source}"
        answer = await self._ask(path if source == "snapshots" else f"{path}/latest", asked, dict[str, msgspec.Raw])
        rows: dict[str, msgspec.Raw] = {}
        with contextlib.suppress(*UNREADABLE):  # null where there is none
            keyed = source == "snapshots" and source not in answer  # some name the list, some have the symbols at once
            rows = answer if keyed else msgspec.json.decode(answer.get(source, b"{}"), type=dict[str, msgspec.Raw])
        reads = {"quotes": self._of_quote, "trades": self._of_trade, "bars": self._of_bar}
        prices = {symbol: _first([(reads[source], raw)] if source in reads else self._parts(raw), symbol) for symbol, raw in rows.items()}
        return {symbol: price for symbol, price in prices.items() if price is not None}

    async def _one_by_one(self, symbols: Sequence[str]) -> dict[str, QuoteSighting]:
        """Quote, else last trade of each symbol by itself, all at once as far as the rate limit goes."""
        prices = await asyncio.gather(*(self._alone(symbol) for symbol in symbols))
        return {price.symbol: price for price in prices if price is not None}

    async def _alone(self, symbol: str) -> QuoteSighting | None:
        for one, read in (("quote", self._of_quote), ("trade", self._of_trade)):
            with contextlib.suppress(DataUnavailable):
                path = f"/v2/stocks/{quote(symbol, safe='')}/{one}s/latest"
                answer = await self._ask(path, {"feed": self.feed}, dict[str, msgspec.Raw])
                price = _first([(read, answer.get(one, msgspec.Raw(b"null")))], symbol)
                if price is not None:
                    return price
        return None

    def _parts(self, raw: msgspec.Raw) -> list[_Part]:
        """What a snapshot holds, the best first; one that cannot be read holds nothing."""
        with contextlib.suppress(*UNREADABLE):
            row = msgspec.json.decode(raw, type=_Snapshot)
            return [(self._of_quote, row.latest_quote), (self._of_trade, row.latest_trade), (self._of_bar, row.daily_bar)]
        return []

    def _of_quote(self, symbol: str, raw: msgspec.Raw) -> QuoteSighting:
        row = msgspec.json.decode(raw, type=_Quote, strict=False)
        bid, ask, now = positive(row.bp), positive(row.ap), self._clock.now()
        return QuoteSighting(symbol=symbol, at=utc(row.t), received_at=now, bid=bid, ask=ask, channel=Channel.QUERY)

    def _of_trade(self, symbol: str, raw: msgspec.Raw) -> QuoteSighting:
        row = msgspec.json.decode(raw, type=_Trade, strict=False)
        return self._last(symbol, row.t, row.p, "trade")

    def _of_bar(self, symbol: str, raw: msgspec.Raw) -> QuoteSighting:
        row = msgspec.json.decode(raw, type=_Bar, strict=False)
        return self._last(symbol, row.t, Decimal(str(row.c)), "bar")

    def _last(self, symbol: str, at: datetime, price: Decimal | None, source: str) -> QuoteSighting:
        now, last = self._clock.now(), positive(price)
        return QuoteSighting(symbol=symbol, at=utc(at), received_at=now, last=last, source=source, channel=Channel.QUERY)

    async def _pages(self, path: str, asked: Mapping[str, str], kind: type[P]) -> AsyncIterator[P]:
        """All pages. A server that names a page again has no further one: it would be asked for ever."""
        token, read = "", set[str]()
        while token not in read:
            read.add(token)
            page = await self._ask(path, {**asked, "page_token": token} if token else asked, kind)
            yield page
            token = page.next_page_token or ""

    async def _ask(self, path: str, params: Mapping[str, str], kind: type[T]) -> T:
        try:
            answer = await self._transport.get(path, params)
            if answer.status != 200:
                raise DataUnavailable(f"GET {path}: HTTP {answer.status} {answer.body[:200].decode(errors='replace')}", mend=MEND)
            return msgspec.json.decode(answer.body, type=kind, strict=False)
        except (BrokerUnavailable, ConfigError) as error:  # keys without prices may trade: nothing is bought blind
            raise DataUnavailable(error.message, mend=error.mend) from error
        except UNREADABLE as error:
            raise DataUnavailable(f"GET {path}: unreadable answer: {error}", mend=MEND) from error

    def _regular_hours(self) -> bool:
        """Whether data are due by the clock alone; on a holiday the watchdog backs off by itself."""
        local = self._clock.now().astimezone(EXCHANGE_ZONE)
        return local.weekday() < _SATURDAY and _OPEN <= local.time() < _CLOSE


def _first(parts: Sequence[_Part], symbol: str) -> QuoteSighting | None:
    """The first of a symbol's parts that is a price; what cannot be read is none."""
    for read, part in parts:
        with contextlib.suppress(*UNREADABLE, ValueError, ArithmeticError):
            price = read(symbol, part)
            if price.last is not None or (price.bid is not None and price.ask is not None):
                return price
    return None


def _chunks(symbols: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(symbols), SYMBOLS_A_REQUEST):
        yield symbols[start : start + SYMBOLS_A_REQUEST]


def _split(raw: msgspec.Raw) -> SplitSighting | None:
    """None for what is no split: it hides no other, and would break off whatever counts with it."""
    with contextlib.suppress(*UNREADABLE, ValueError, ArithmeticError):
        row = msgspec.json.decode(raw, type=_Split, strict=False)
        session, ratio = date.fromisoformat(row.ex_date[:10]).isoformat(), row.new_rate / row.old_rate
        if 1 / _LARGEST_RATIO <= ratio <= _LARGEST_RATIO:
            return SplitSighting(symbol=row.symbol, ratio=ratio, session=session)
    return None


def _daily(symbol: str, bar: _Bar) -> BarSighting:
    """The vendor dates a daily bar by midnight in New York; ours ends at the regular close of that day."""
    day: date = utc(bar.t).astimezone(EXCHANGE_ZONE).date()
    close = datetime.combine(day, _CLOSE, EXCHANGE_ZONE).astimezone(UTC)
    return BarSighting(
        symbol=symbol, resolution="1d", at=close, open=bar.o, high=bar.h, low=bar.l, close=bar.c, volume=bar.v, channel=Channel.QUERY
    )
