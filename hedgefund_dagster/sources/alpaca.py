"""Alpaca market data v2 over plain HTTP: raw bars by feed, corporate actions, calendar, assets, news. Needs a key and its secret.

The two feeds are two data sets stored under two sources: IEX trades a fiftieth of the market, its volumes and closes are others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec
import pyarrow as pa

from hedgefund_core.configuration import VendorSettings
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import KnownAtBasis, PriceKind
from hedgefund_core.schemas import ARTICLES, BARS, INSTRUMENTS, MARKET_SESSIONS, STATED_ACTIONS
from hedgefund_dagster.sources.http.client import Ask, Fetched, HttpClient
from hedgefund_dagster.sources.http.content import json_of
from hedgefund_dagster.sources.http.declaration import Dataset, KeyRule, Quota, Scope, VendorFacts
from hedgefund_dagster.sources.http.paging import walk_pages
from hedgefund_dagster.sources.http.rows import NEW_YORK, at, table_rows
from hedgefund_dagster.sources.price_rows import DIVIDEND, SPLIT, ReadAction, ReadBar, action_records, bar_records, finite
from hedgefund_dagster.sources.source import Bias, Partitioning, RawPayload

NAME = "alpaca"
_TRADING = "trading"
_FIELDS = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
_FEEDS = {"bars_sip": "sip", "bars_iex": "iex"}
_NAMES_AT_ONCE = 100
_FIRST = date(2016, 1, 4)
_TYPES = "forward_split,reverse_split,cash_dividend,stock_dividend"
_EXCHANGE = "XNYS"


def _bars_dataset(name: str, title: str) -> Dataset:
    return Dataset(
        name=name,
        table=BARS,
        title=title,
        first=_FIRST,
        names_needed=True,
        mapping={"session": "bars.*[].t", **{ours: f"bars.*[].{theirs}" for ours, theirs in _FIELDS.items()}},
        price_kind=PriceKind.RAW,
        stored_as=f"{NAME}_{_FEEDS[name]}",
        partitioning=Partitioning.DAILY,
        names_at_once=_NAMES_AT_ONCE,
    )


FACTS = VendorFacts(
    name=NAME,
    title="Alpaca market data",
    base_urls={"": "https://data.alpaca.markets", _TRADING: "https://paper-api.alpaca.markets"},
    base_variables={"": "ALPACA_DATA_URL", _TRADING: "ALPACA_TRADING_URL"},
    datasets=(
        _bars_dataset("bars_sip", "daily bars of all exchanges (feed sip), adjustment=raw"),
        _bars_dataset("bars_iex", "daily bars of IEX alone (feed iex), adjustment=raw"),
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
        Bias(name="assumed knowledge time", direction="flatters if a bar was published later than 15 minutes after the close"),
    ),
)


class _Bar(msgspec.Struct, frozen=True):
    t: datetime
    o: float
    h: float
    low: float = msgspec.field(name="l")
    c: float = msgspec.field()
    v: float = msgspec.field()


class _Bars(msgspec.Struct, frozen=True):
    bars: dict[str, list[_Bar]]
    next_page_token: str | None


class _Split(msgspec.Struct, frozen=True):
    id: str
    symbol: str
    ex_date: date
    new_rate: float
    old_rate: float


class _Payment(msgspec.Struct, frozen=True):
    id: str
    symbol: str
    ex_date: date
    rate: float


class _ActionLists(msgspec.Struct, frozen=True):
    forward_splits: list[_Split] = []
    reverse_splits: list[_Split] = []
    cash_dividends: list[_Payment] = []
    stock_dividends: list[_Payment] = []


class _Actions(msgspec.Struct, frozen=True):
    corporate_actions: _ActionLists
    next_page_token: str | None


class _Session(msgspec.Struct, frozen=True):
    date: date
    open: str
    close: str


class _Asset(msgspec.Struct, frozen=True):
    id: str
    symbol: str
    name: str
    exchange: str
    status: str


class _Article(msgspec.Struct, frozen=True):
    id: int
    headline: str
    author: str | None
    created_at: datetime
    updated_at: datetime
    summary: str | None
    url: str | None
    symbols: list[str]
    source: str | None


class _News(msgspec.Struct, frozen=True):
    news: list[_Article]
    next_page_token: str | None


class _Paged(Protocol):
    @property
    def next_page_token(self) -> str | None:
        """Where the page after begins."""


Page = TypeVar("Page", bound=_Paged)


class Alpaca:
    """Two hosts, five end points, one token for the page after."""

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
            return (client.get(Ask(dataset=dataset, path="/v2/calendar", params=days, base=_TRADING), _sessions).payload,)
        if dataset == "assets":
            active = {"status": "active", "asset_class": "us_equity"}
            return (client.get(Ask(dataset=dataset, path="/v2/assets", params=active, base=_TRADING), _assets).payload,)
        groups = [scope.names[start : start + _NAMES_AT_ONCE] for start in range(0, len(scope.names), _NAMES_AT_ONCE)]
        return tuple(payload for names in groups for payload in _fetch_group(dataset, names, scope, client))

    def rows(self, dataset: str, payloads: Sequence[RawPayload], recorded_at: datetime) -> pa.Table:
        """Rows of the data set's table."""
        if dataset in _FEEDS:
            bars = [bar for payload in payloads for bar in _read_bars(payload)]
            return table_rows(BARS, bar_records(FACTS.dataset(dataset).stored_as, bars), recorded_at)
        if dataset == "corporate_actions":
            actions = [action for payload in payloads for action in _read_actions(payload)]
            return table_rows(STATED_ACTIONS, action_records(NAME, actions), recorded_at)
        read, table = {
            "calendar": (_session_records, MARKET_SESSIONS),
            "assets": (_asset_records, INSTRUMENTS),
            "news": (_article_records, ARTICLES),
        }[dataset]
        return table_rows(table, [record for payload in payloads for record in read(payload)], recorded_at)


def _fetch_group(dataset: str, names: tuple[str, ...], scope: Scope, client: HttpClient) -> list[RawPayload]:
    symbols = {"symbols": ",".join(names)}
    if dataset in _FEEDS:
        # A daily bar is stamped with the midnight that begins it, and the end is inclusive: a later end would ask a free plan's feed for
        # its last quarter of an hour, which it refuses.
        span = {"start": _instant(scope.since), "end": _instant(scope.until)}
        kind = {"timeframe": "1Day", "adjustment": "raw", "feed": _FEEDS[dataset], "sort": "asc", "limit": "10000"}
        return _pages(client, Ask(dataset=dataset, path="/v2/stocks/bars", params={**symbols, **kind, **span}), _bars)
    if dataset == "corporate_actions":
        days = {"start": scope.since.isoformat(), "end": scope.until.isoformat(), "types": _TYPES, "sort": "asc", "limit": "1000"}
        return _pages(client, Ask(dataset=dataset, path="/v1/corporate-actions", params={**symbols, **days}), _actions)
    span = {"start": _instant(scope.since), "end": _instant(scope.until + timedelta(days=1)), "sort": "asc", "limit": "50"}
    return _pages(client, Ask(dataset=dataset, path="/v1beta1/news", params={**symbols, **span}), _news)


def _pages(client: HttpClient, first: Ask, check: Callable[[RawPayload], Page]) -> list[RawPayload]:
    def page_at(token: str) -> Fetched[Page]:
        params = {**first.params, **({"page_token": token} if token else {})}
        return client.get(Ask(dataset=first.dataset, path=first.path, params=params, base=first.base), check)

    pages = walk_pages(f"{NAME}: {client.origin(first)}", page_at, lambda page: page.value.next_page_token or "")
    return [page.payload for page in pages]


def _instant(day: date) -> str:
    """New York's midnight that begins the day."""
    return f"{at(day, time()):%Y-%m-%dT%H:%M:%SZ}"


def _asked(payload: RawPayload) -> list[str]:
    return parse_qs(urlsplit(payload.origin).query).get("symbols", [""])[0].split(",")


def _refuse_other(payload: RawPayload, field: str, symbol: str) -> None:
    if symbol not in _asked(payload):
        raise DataInvalid(f"{payload.origin}: the field `{field}` names {symbol!r}, which was not asked for")


def _bars(payload: RawPayload) -> _Bars:
    """The page, each symbol asked for, each number a number, each bar stamped with a midnight: anything else is no daily bar."""
    page = json_of(payload, _Bars)
    for symbol, bars in page.bars.items():
        _refuse_other(payload, "bars", symbol)
        for row, bar in enumerate(bars, start=1):
            if bar.t.tzinfo is None or bar.t.astimezone(NEW_YORK).time() != time():
                raise DataInvalid(f"{payload.origin}: row {row} of {symbol}, field `t`: {bar.t} is no midnight of New York")
            for name, value in (("o", bar.o), ("h", bar.h), ("l", bar.low), ("c", bar.c), ("v", bar.v)):
                finite(payload, row, name, value)
    return page


def _read_bars(payload: RawPayload) -> Iterator[ReadBar]:
    stated = [(symbol, bar) for symbol, bars in _bars(payload).bars.items() for bar in bars]
    for row, (symbol, bar) in enumerate(stated, start=1):
        values = {"open": bar.o, "high": bar.h, "low": bar.low, "close": bar.c, "volume": bar.v}
        yield ReadBar(payload=payload, row=row, symbol=symbol, session=bar.t.astimezone(NEW_YORK).date(), values=values)


def _actions(payload: RawPayload) -> _Actions:
    page = json_of(payload, _Actions)
    for row, action in enumerate(_read_actions_of(payload, page), start=1):
        _refuse_other(payload, "symbol", action.symbol)
        finite(payload, row, "rate", action.value)
    return page


def _read_actions(payload: RawPayload) -> Iterator[ReadAction]:
    return _read_actions_of(payload, _actions(payload))


def _read_actions_of(payload: RawPayload, page: _Actions) -> Iterator[ReadAction]:
    """Splits as new shares per old; a stock dividend of a twentieth is a split of 1.05."""
    lists = page.corporate_actions
    for split in (*lists.forward_splits, *lists.reverse_splits):
        if not split.old_rate > 0.0:
            raise DataInvalid(f"{payload.origin}: the field `old_rate` of {split.symbol} {split.ex_date} is {split.old_rate}")
    stated: list[tuple[_Split | _Payment, str, float]] = [
        *((split, SPLIT, split.new_rate / split.old_rate) for split in (*lists.forward_splits, *lists.reverse_splits)),
        *((paid, SPLIT, 1.0 + paid.rate) for paid in lists.stock_dividends),
        *((paid, DIVIDEND, paid.rate) for paid in lists.cash_dividends),
    ]
    for row, (action, kind, value) in enumerate(stated, start=1):
        yield ReadAction(payload=payload, row=row, symbol=action.symbol, session=action.ex_date, kind=kind, value=value, ident=action.id)


def _origin(payload: RawPayload, row: int) -> dict[str, object]:
    return {"source": NAME, "raw_sha256": payload.sha256, "source_row": row}


def _observed(payload: RawPayload) -> dict[str, object]:
    """Times of what the vendor states without saying since when: it is known from when we saw it."""
    return {"ts": payload.retrieved_at, "known_at": payload.retrieved_at, "known_at_basis": KnownAtBasis.OBSERVED.value}


def _clock(payload: RawPayload, row: int, name: str, text: str) -> time:
    try:
        return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007 - a bare time of day
    except ValueError as error:
        raise DataInvalid(f"{payload.origin}: row {row}, field `{name}`: {text!r} is no time like 09:30") from error


def _sessions(payload: RawPayload) -> list[_Session]:
    sessions = json_of(payload, list[_Session])
    asked = parse_qs(urlsplit(payload.origin).query)
    since, until = (date.fromisoformat(asked[name][0]) for name in ("start", "end"))
    for row, session in enumerate(sessions, start=1):
        if not since <= session.date <= until:
            raise DataInvalid(f"{payload.origin}: row {row}, field `date`: {session.date} was not asked for")
        _clock(payload, row, "open", session.open)
        _clock(payload, row, "close", session.close)
    return sessions


def _session_records(payload: RawPayload) -> Iterator[dict[str, object]]:
    for row, session in enumerate(_sessions(payload), start=1):
        yield {
            "exchange": _EXCHANGE,
            "session": session.date,
            **_observed(payload),
            "opens_at": at(session.date, _clock(payload, row, "open", session.open)),
            "closes_at": at(session.date, _clock(payload, row, "close", session.close)),
            **_origin(payload, row),
        }


def _assets(payload: RawPayload) -> list[_Asset]:
    assets = json_of(payload, list[_Asset])
    for row, asset in enumerate(assets, start=1):
        if asset.status != "active":
            raise DataInvalid(f"{payload.origin}: row {row}, field `status`: {asset.status!r} was not asked for")
    return assets


def _asset_records(payload: RawPayload) -> Iterator[dict[str, object]]:
    for row, asset in enumerate(_assets(payload), start=1):
        said = {"instrument_id": asset.id, "symbol": asset.symbol, "name": asset.name, "exchange": asset.exchange or None}
        yield {**said, **_observed(payload), **_origin(payload, row)}


def _news(payload: RawPayload) -> _News:
    page = json_of(payload, _News)
    for row, article in enumerate(page.news, start=1):
        if not set(article.symbols) & set(_asked(payload)):
            raise DataInvalid(f"{payload.origin}: row {row}, field `symbols`: {', '.join(article.symbols)[:100]!r} was not asked for")
        if article.created_at.tzinfo is None or article.updated_at.tzinfo is None:
            raise DataInvalid(f"{payload.origin}: row {row}, field `created_at` or `updated_at` has no time zone")
    return page


def _article_records(payload: RawPayload) -> Iterator[dict[str, object]]:
    """A row an article and symbol that was asked for."""
    asked = set(_asked(payload))
    for row, article in enumerate(_news(payload).news, start=1):
        said = {
            "article_id": str(article.id),
            "ts": article.created_at,
            "known_at": max(article.created_at, article.updated_at),
            "known_at_basis": KnownAtBasis.VENDOR.value,
            "headline": article.headline,
            "summary": article.summary or None,
            "author": article.author or None,
            "publisher": article.source or None,
            "url": article.url or None,
            **_origin(payload, row),
        }
        yield from ({**said, "symbol": symbol} for symbol in article.symbols if symbol in asked)
