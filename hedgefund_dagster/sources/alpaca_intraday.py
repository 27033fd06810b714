"""Alpaca's bars of an hour and a minute, and samples of its quotes and trades: reading them, of either feed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, time, timedelta

import msgspec
import pyarrow as pa

from hedgefund_core.errors import DataInvalid
from hedgefund_core.schemas import INTRADAY_BARS, QUOTES, TRADES
from hedgefund_dagster.sources.alpaca_pages import fetch_pages, refuse_other
from hedgefund_dagster.sources.http.client import Ask, HttpClient
from hedgefund_dagster.sources.http.content import json_of
from hedgefund_dagster.sources.http.declaration import Dataset, Scope
from hedgefund_dagster.sources.http.rows import at, table_rows
from hedgefund_dagster.sources.intraday_rows import ReadStep, ReadTick, refuse_other_step, sample_windows, step_records, tick_records
from hedgefund_dagster.sources.price_rows import finite
from hedgefund_dagster.sources.source import RawPayload

TIMEFRAMES = {"1h": "1Hour", "1m": "1Min"}
DELAYS = {"sip": timedelta(minutes=15), "iex": timedelta(minutes=1)}
"""The consolidated feed is free a quarter of an hour late; IEX's own is out with the minute."""
SAMPLES = (time(10, 0), time(12, 30), time(15, 30))
SAMPLE_LENGTH = timedelta(minutes=1)
_SPAN = timedelta(days=31)
"""Long spans are asked for by the month: a hundred names of minute bars are some hundred pages then."""
_NOT_TRADES = frozenset({"canceled", "incorrect"})


class _Step(msgspec.Struct, frozen=True):
    t: datetime
    o: float
    h: float
    low: float = msgspec.field(name="l")
    c: float = msgspec.field()
    v: float = msgspec.field()
    vw: float | None = None
    n: int | None = None


class _Steps(msgspec.Struct, frozen=True):
    bars: dict[str, list[_Step]]
    next_page_token: str | None


class _Quote(msgspec.Struct, frozen=True):
    t: datetime
    ap: float
    asked: float = msgspec.field(name="as")
    bp: float = msgspec.field()
    bs: float = msgspec.field()


class _Quotes(msgspec.Struct, frozen=True):
    quotes: dict[str, list[_Quote]]
    next_page_token: str | None


class _Trade(msgspec.Struct, frozen=True):
    t: datetime
    p: float
    s: float
    x: str | None = None
    c: list[str] | None = None
    i: int | None = None
    u: str | None = None


class _Trades(msgspec.Struct, frozen=True):
    trades: dict[str, list[_Trade]]
    next_page_token: str | None


def fetch_intraday(dataset: Dataset, feed: str, names: Sequence[str], scope: Scope, client: HttpClient) -> list[RawPayload]:
    """All pages of one group of names: bars by the month, quotes and trades by the sample, nothing that is not out yet."""
    asks = list(_bar_asks(dataset, feed, scope) if dataset.table is INTRADAY_BARS else _sample_asks(dataset, feed, scope))
    now = client.now() - DELAYS[feed]
    payloads: list[RawPayload] = []
    for kind, begins, ends in asks:
        if begins >= now:
            continue
        span = {"start": _spelt(begins), "end": _spelt(min(ends, now.replace(second=0, microsecond=0)))}
        params = {"symbols": ",".join(names), "feed": feed, "sort": "asc", "limit": "10000", **kind, **span}
        path = f"/v2/stocks/{_KINDS[dataset.table.name]}"
        payloads += fetch_pages(client, Ask(dataset=dataset.name, path=path, params=params), _check(dataset))
    return payloads


def intraday_table(dataset: Dataset, feed: str, payloads: Sequence[RawPayload], recorded_at: datetime) -> pa.Table:
    """Rows of bars, quotes or trades."""
    source, delay = dataset.stored_as, DELAYS[feed]
    if dataset.table is INTRADAY_BARS:
        resolution = resolution_of(dataset)
        steps = [step for payload in payloads for step in _read_steps(payload, resolution)]
        return table_rows(INTRADAY_BARS, step_records(source, resolution, steps, delay), recorded_at)
    read = _read_quotes if dataset.table is QUOTES else _read_trades
    ticks = (tick for payload in payloads for tick in read(payload))
    return table_rows(dataset.table, list(tick_records(source, ticks, delay)), recorded_at)


def resolution_of(dataset: Dataset) -> str:
    """``bars_1h_sip`` -> ``1h``."""
    return dataset.name.split("_")[1]


_KINDS = {INTRADAY_BARS.name: "bars", QUOTES.name: "quotes", TRADES.name: "trades"}
_Span = tuple[dict[str, str], datetime, datetime]


def _bar_asks(dataset: Dataset, feed: str, scope: Scope) -> Iterator[_Span]:
    kind = {"timeframe": TIMEFRAMES[resolution_of(dataset)], "adjustment": "raw"}
    first = scope.since
    while first <= scope.until:
        last = min(first + _SPAN, scope.until)
        yield kind, at(first, time(9, 0)), at(last, time(16, 0))
        first = last + timedelta(days=1)


def _sample_asks(dataset: Dataset, feed: str, scope: Scope) -> Iterator[_Span]:
    for begins, ends in sample_windows(scope.since, scope.until, SAMPLES, SAMPLE_LENGTH):
        yield {}, begins, ends


def _spelt(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _check(dataset: Dataset) -> Callable[[RawPayload], _Steps | _Quotes | _Trades]:
    if dataset.table is INTRADAY_BARS:
        return lambda payload: _steps(payload, resolution_of(dataset))
    return _quotes if dataset.table is QUOTES else _trades


def _steps(payload: RawPayload, resolution: str) -> _Steps:
    page = json_of(payload, _Steps)
    for symbol, bars in page.bars.items():
        refuse_other(payload, "bars", symbol)
        for row, bar in enumerate(bars, start=1):
            refuse_other_step(payload, row, "t", bar.t, resolution)
            for name, value in (("o", bar.o), ("h", bar.h), ("l", bar.low), ("c", bar.c), ("v", bar.v), ("vw", bar.vw)):
                finite(payload, row, name, value)
    return page


def _read_steps(payload: RawPayload, resolution: str) -> Iterator[ReadStep]:
    stated = [(symbol, bar) for symbol, bars in _steps(payload, resolution).bars.items() for bar in bars]
    for row, (symbol, bar) in enumerate(stated, start=1):
        values = {"open": bar.o, "high": bar.h, "low": bar.low, "close": bar.c, "volume": bar.v, "vwap": bar.vw, "trade_count": bar.n}
        yield ReadStep(payload=payload, row=row, symbol=symbol, begins=bar.t, values=values)


def _refuse_no_zone(payload: RawPayload, row: int, moment: datetime) -> None:
    if moment.tzinfo is None:
        raise DataInvalid(f"{payload.origin}: row {row}, field `t`: {moment} has no time zone")


def _quotes(payload: RawPayload) -> _Quotes:
    page = json_of(payload, _Quotes)
    for symbol, quotes in page.quotes.items():
        refuse_other(payload, "quotes", symbol)
        for row, quote in enumerate(quotes, start=1):
            _refuse_no_zone(payload, row, quote.t)
            for name, value in (("ap", quote.ap), ("as", quote.asked), ("bp", quote.bp), ("bs", quote.bs)):
                finite(payload, row, name, value)
    return page


def _read_quotes(payload: RawPayload) -> Iterator[ReadTick]:
    """A price of zero is how the service says that nobody bids, or asks."""
    stated = [(symbol, quote) for symbol, quotes in _quotes(payload).quotes.items() for quote in quotes]
    for row, (symbol, quote) in enumerate(stated, start=1):
        bid, ask = quote.bp > 0.0, quote.ap > 0.0
        values = {
            "bid": quote.bp if bid else None,
            "bid_size": quote.bs if bid else None,
            "ask": quote.ap if ask else None,
            "ask_size": quote.asked if ask else None,
        }
        ident = (symbol, quote.t, *values.values())
        yield ReadTick(payload=payload, row=row, symbol=symbol, ts=quote.t, ident=ident, values=values)


def _trades(payload: RawPayload) -> _Trades:
    page = json_of(payload, _Trades)
    for symbol, trades in page.trades.items():
        refuse_other(payload, "trades", symbol)
        for row, trade in enumerate(trades, start=1):
            _refuse_no_zone(payload, row, trade.t)
            for name, value in (("p", trade.p), ("s", trade.s)):
                finite(payload, row, name, value)
    return page


def _read_trades(payload: RawPayload) -> Iterator[ReadTick]:
    """What was cancelled or wrong is no trade."""
    stated = [(symbol, trade) for symbol, trades in _trades(payload).trades.items() for trade in trades]
    for row, (symbol, trade) in enumerate(stated, start=1):
        if trade.u in _NOT_TRADES:
            continue
        values = {"price": trade.p, "size": trade.s, "exchange": trade.x, "conditions": "".join(trade.c or []).strip() or None}
        ident = (symbol, trade.t, trade.x, trade.i) if trade.i is not None else (symbol, trade.t, *values.values())
        yield ReadTick(payload=payload, row=row, symbol=symbol, ts=trade.t, ident=ident, values=values)
