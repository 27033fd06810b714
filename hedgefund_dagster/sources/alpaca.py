"""Alpaca market data v2 over plain HTTP: raw bars, quotes, trades by feed, actions, reference data, news. Needs a key and its secret.

The two feeds are two data sets stored under two sources: IEX trades a fiftieth of the market, its volumes and closes are others.
How each answer is read stands in ``alpaca_prices``, ``alpaca_intraday`` and ``alpaca_reference``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

import pyarrow as pa

from hedgefund_core.configuration import VendorSettings
from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.schemas import (
    ARTICLES,
    BARS,
    INSTRUMENTS,
    INTRADAY_BARS,
    MARKET_SESSIONS,
    QUOTES,
    STATED_ACTIONS,
    SYMBOL_HISTORY,
    TRADES,
    Table,
)
from hedgefund_dagster.sources.alpaca_intraday import fetch_intraday, intraday_table
from hedgefund_dagster.sources.alpaca_pages import NAME, fetch_pages
from hedgefund_dagster.sources.alpaca_prices import check_actions, check_bars, read_actions, read_bars
from hedgefund_dagster.sources.alpaca_reference import (
    article_records,
    asset_records,
    change_records,
    check_assets,
    check_changes,
    check_news,
    check_sessions,
    session_records,
)
from hedgefund_dagster.sources.http.client import Ask, HttpClient
from hedgefund_dagster.sources.http.declaration import Dataset, KeyRule, Quota, Scope, VendorFacts
from hedgefund_dagster.sources.http.rows import at, table_rows
from hedgefund_dagster.sources.price_rows import price_table
from hedgefund_dagster.sources.source import Bias, Partitioning, RawPayload

_TRADING = "trading"
_FIELDS = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
_FEEDS = ("sip", "iex")
_NAMES_AT_ONCE = 100
_FIRST = date(2016, 1, 4)
_TYPES = "forward_split,reverse_split,cash_dividend,stock_dividend"


def _bars_dataset(feed: str, title: str) -> Dataset:
    return Dataset(
        name=f"bars_{feed}",
        table=BARS,
        title=title,
        first=_FIRST,
        names_needed=True,
        mapping={"session": "bars.*[].t", **{ours: f"bars.*[].{theirs}" for ours, theirs in _FIELDS.items()}},
        price_kind=PriceKind.RAW,
        stored_as=f"{NAME}_{feed}",
        partitioning=Partitioning.DAILY,
        names_at_once=_NAMES_AT_ONCE,
    )


def _intraday(feed: str, name: str, table: Table, title: str, mapping: dict[str, str]) -> Dataset:
    return Dataset(
        name=f"{name}_{feed}",
        table=table,
        title=f"{title} (feed {feed})",
        first=_FIRST,
        names_needed=True,
        mapping=mapping,
        price_kind=PriceKind.RAW,
        stored_as=f"{NAME}_{feed}",
        partitioning=Partitioning.DAILY,
        names_at_once=_NAMES_AT_ONCE,
    )


def _intraday_datasets(feed: str) -> tuple[Dataset, ...]:
    """Bars of an hour and a minute, samples of quotes and trades."""
    fields = {**_FIELDS, "vwap": "vw", "trade_count": "n"}
    bars = {"ts": "bars.*[].t, and the bar's length", **{ours: f"bars.*[].{theirs}" for ours, theirs in fields.items()}}
    quotes = {"ts": "t", "bid": "bp", "bid_size": "bs", "ask": "ap", "ask_size": "as"}
    trades = {"ts": "t", "price": "p", "size": "s", "exchange": "x", "conditions": "c"}
    sample = "the minute from 10:00, 12:30 and 15:30 New York"
    return (
        _intraday(feed, "bars_1h", INTRADAY_BARS, "bars of an hour that touch the regular session, adjustment=raw", bars),
        _intraday(feed, "bars_1m", INTRADAY_BARS, "bars of a minute of the regular session, adjustment=raw", bars),
        _intraday(feed, "quotes", QUOTES, f"samples of the best bid and ask: {sample}", quotes),
        _intraday(feed, "trades", TRADES, f"samples of trades: {sample}", trades),
    )


FACTS = VendorFacts(
    name=NAME,
    title="Alpaca market data",
    base_urls={"": "https://data.alpaca.markets", _TRADING: "https://paper-api.alpaca.markets"},
    base_variables={"": "ALPACA_DATA_URL", _TRADING: "ALPACA_TRADING_URL"},
    datasets=(
        _bars_dataset("sip", "daily bars of all exchanges (feed sip), adjustment=raw"),
        _bars_dataset("iex", "daily bars of IEX alone (feed iex), adjustment=raw"),
        *_intraday_datasets("sip"),
        *_intraday_datasets("iex"),
        Dataset(
            name="corporate_actions",
            table=STATED_ACTIONS,
            title="splits, stock dividends and cash dividends by ex-date",
            first=_FIRST,
            names_needed=True,
            mapping={"session": "ex_date", "value": "new_rate / old_rate, rate"},
            partitioning=Partitioning.DAILY,
            names_at_once=_NAMES_AT_ONCE,
        ),
        Dataset(
            name="calendar",
            table=MARKET_SESSIONS,
            title="sessions with their hours",
            first=_FIRST,
            mapping={"session": "date", "opens_at": "open", "closes_at": "close"},
        ),
        Dataset(
            name="assets",
            table=INSTRUMENTS,
            title="active US equities",
            mapping={"instrument_id": "id", "symbol": "symbol", "name": "name", "exchange": "exchange"},
        ),
        Dataset(
            name="symbol_changes",
            table=SYMBOL_HISTORY,
            title="changes of symbol: which CUSIP was named how until and since when",
            first=_FIRST,
            names_needed=True,
            mapping={
                "instrument_id": "old_cusip, new_cusip",
                "symbol": "old_symbol, new_symbol",
                "valid_from": "process_date; of a name the vendor's record begins with, its first day",
                "valid_until": "process_date",
                "successor": "new_cusip",
            },
            names_at_once=_NAMES_AT_ONCE,
        ),
        Dataset(
            name="news",
            table=ARTICLES,
            title="articles by symbol, of Benzinga",
            first=_FIRST,
            names_needed=True,
            mapping={
                "article_id": "id",
                "symbol": "symbols",
                "ts": "created_at",
                "known_at": "updated_at",
                "headline": "headline",
                "summary": "summary",
                "author": "author",
                "publisher": "source",
                "url": "url",
            },
            partitioning=Partitioning.DAILY,
            names_at_once=_NAMES_AT_ONCE,
        ),
    ),
    quotas=(Quota(requests=200, seconds=60.0),),
    licence="Alpaca's and the exchanges' agreements: for the subscriber's own use, not for redistribution; articles are Benzinga's",
    documentation="https://docs.alpaca.markets/reference/stockbars",
    keys=(
        KeyRule(variable="ALPACA_API_KEY", header="APCA-API-KEY-ID"),
        KeyRule(variable="ALPACA_SECRET_KEY", header="APCA-API-SECRET-KEY"),
    ),
    biases=(
        Bias(
            name="names of the last day asked",
            direction="bars follow renames back from there; a delisted name that was taken over is missing",
        ),
        Bias(name="feed", direction="iex sees a fiftieth of the volume: its closes are not the auction's, its volumes far too low"),
        Bias(name="spin-offs", direction="are not among the actions stored: a fall on their day is on no stated action"),
        Bias(
            name="edited articles", direction="an article is known from its last edit on: its first words are lost, which understates news"
        ),
        Bias(
            name="hours of a clock",
            direction="the first bar of an hour begins before the open and holds what was traded then: its open is not the auction's",
        ),
        Bias(name="samples", direction="quotes and trades of three minutes a day: spreads at the open and close are wider"),
        Bias(name="sizes of quotes", direction="round lots or shares, as the exchanges gave them then: compare them within a day only"),
        Bias(
            name="assumed knowledge time",
            direction="flatters if a bar was published later than 15 minutes after the close (IEX within the day: a minute)",
        ),
    ),
)


class Alpaca:
    """Two hosts, one token for the page after."""

    def __init__(self, settings: VendorSettings) -> None:
        self._settings = settings

    @property
    def facts(self) -> VendorFacts:
        """Constant."""
        return FACTS

    def fetch(self, dataset: str, scope: Scope, client: HttpClient) -> tuple[RawPayload, ...]:
        """All pages, many symbols a request; calendar and assets are one answer each."""
        if dataset == "calendar":
            days = {"start": scope.since.isoformat(), "end": scope.until.isoformat(), "date_type": "TRADING"}
            return (client.get(Ask(dataset=dataset, path="/v2/calendar", params=days, base=_TRADING), check_sessions).payload,)
        if dataset == "assets":
            active = {"status": "active", "asset_class": "us_equity"}
            return (client.get(Ask(dataset=dataset, path="/v2/assets", params=active, base=_TRADING), check_assets).payload,)
        groups = [scope.names[start : start + _NAMES_AT_ONCE] for start in range(0, len(scope.names), _NAMES_AT_ONCE)]
        return tuple(payload for names in groups for payload in _fetch_group(FACTS.dataset(dataset), names, scope, client))

    def rows(self, dataset: str, payloads: Sequence[RawPayload], recorded_at: datetime) -> pa.Table:
        """Rows of the data set's table."""
        declared = FACTS.dataset(dataset)
        if declared.table in (BARS, STATED_ACTIONS):
            return price_table(FACTS, dataset, payloads, recorded_at, (read_bars, read_actions))
        if declared.stored_as:
            return intraday_table(declared, _feed(declared), payloads, recorded_at)
        if declared.table is SYMBOL_HISTORY:
            return table_rows(SYMBOL_HISTORY, list(change_records(payloads)), recorded_at)
        read = {"calendar": session_records, "assets": asset_records, "news": article_records}[dataset]
        return table_rows(declared.table, [record for payload in payloads for record in read(payload)], recorded_at)


def _feed(dataset: Dataset) -> str:
    return dataset.stored_as.removeprefix(f"{NAME}_")


def _fetch_group(dataset: Dataset, names: tuple[str, ...], scope: Scope, client: HttpClient) -> list[RawPayload]:
    symbols = {"symbols": ",".join(names)}
    days = {"start": scope.since.isoformat(), "end": scope.until.isoformat(), "sort": "asc", "limit": "1000"}
    if dataset.table is BARS:
        # A daily bar is stamped with the midnight that begins it, and the end is inclusive: a later end would ask a free plan's feed for
        # its last quarter of an hour, which it refuses.
        span = {"start": _instant(scope.since), "end": _instant(scope.until)}
        kind = {"timeframe": "1Day", "adjustment": "raw", "feed": _feed(dataset), "sort": "asc", "limit": "10000"}
        return fetch_pages(client, Ask(dataset=dataset.name, path="/v2/stocks/bars", params={**symbols, **kind, **span}), check_bars)
    if dataset.stored_as:
        return fetch_intraday(dataset, _feed(dataset), names, scope, client)
    if dataset.table is STATED_ACTIONS:
        ask = Ask(dataset=dataset.name, path="/v1/corporate-actions", params={**symbols, **days, "types": _TYPES})
        return fetch_pages(client, ask, check_actions)
    if dataset.table is SYMBOL_HISTORY:
        ask = Ask(dataset=dataset.name, path="/v1/corporate-actions", params={**symbols, **days, "types": "name_change"})
        return fetch_pages(client, ask, check_changes)
    span = {"start": _instant(scope.since), "end": _instant(scope.until + timedelta(days=1)), "sort": "asc", "limit": "50"}
    return fetch_pages(client, Ask(dataset=dataset.name, path="/v1beta1/news", params={**symbols, **span}), check_news)


def _instant(day: date) -> str:
    """New York's midnight that begins the day."""
    return f"{at(day, time()):%Y-%m-%dT%H:%M:%SZ}"
