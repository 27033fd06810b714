"""Massive (once Polygon): daily aggregates of all US exchanges, asked for unadjusted, with splits and dividends. Needs a key."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time
from typing import Protocol, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec
import pyarrow as pa

from hedgefund_core.configuration import VendorSettings
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.schemas import BARS, INTRADAY_BARS, STATED_ACTIONS
from hedgefund_dagster.sources.http.client import Ask, Fetched, HttpClient
from hedgefund_dagster.sources.http.content import json_of
from hedgefund_dagster.sources.http.declaration import Dataset, KeyRule, Quota, Scope, VendorFacts
from hedgefund_dagster.sources.http.paging import walk_pages
from hedgefund_dagster.sources.http.rows import NEW_YORK, table_rows
from hedgefund_dagster.sources.intraday_rows import ReadStep, refuse_other_step, step_records
from hedgefund_dagster.sources.price_rows import DELAY, DIVIDEND, SPLIT, ReadAction, ReadBar, finite, price_table
from hedgefund_dagster.sources.source import Bias, Partitioning, RawPayload

NAME = "massive"
_FIELDS = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
_SPANS = {"1h": "hour", "1m": "minute"}
_SPLITS, _DIVIDENDS = "splits", "dividends"
_FIRST = date(2003, 9, 10)

FACTS = VendorFacts(
    name=NAME,
    title="Massive (ex Polygon) stocks",
    base_urls={"": "https://api.massive.com"},
    datasets=(
        Dataset(
            name="bars",
            table=BARS,
            title="daily aggregates, not adjusted",
            first=_FIRST,
            names_needed=True,
            mapping={"session": "results[].t", **{ours: f"results[].{theirs}" for ours, theirs in _FIELDS.items()}},
            price_kind=PriceKind.RAW,
            partitioning=Partitioning.DAILY,
        ),
        *(
            Dataset(
                name=f"bars_{resolution}",
                table=INTRADAY_BARS,
                title=f"aggregates of a {span} that touch the regular session, not adjusted",
                first=_FIRST,
                names_needed=True,
                mapping={
                    "ts": f"results[].t, and the {span}",
                    **{ours: f"results[].{theirs}" for ours, theirs in {**_FIELDS, "vwap": "vw", "trade_count": "n"}.items()},
                },
                price_kind=PriceKind.RAW,
                partitioning=Partitioning.DAILY,
            )
            for resolution, span in _SPANS.items()
        ),
        Dataset(
            name="corporate_actions",
            table=STATED_ACTIONS,
            title="splits by execution date, cash dividends by ex-date",
            first=_FIRST,
            names_needed=True,
            mapping={
                "session": "execution_date, ex_dividend_date",
                "value": "split_to / split_from, cash_amount",
                "currency": "currency",
            },
            partitioning=Partitioning.DAILY,
        ),
    ),
    quotas=(Quota(requests=5, seconds=60.0),),
    licence="Massive's terms: by plan; the free plan is for personal use, end of day, two years of history, no redistribution",
    documentation="https://massive.com/docs/rest/stocks/aggregates/custom-bars",
    keys=(KeyRule(variable="MASSIVE_API_KEY", header="Authorization", prefix="Bearer "),),
    biases=(
        Bias(
            name="hours",
            direction="volume counts all hours: above what the regular session traded",
        ),
        Bias(name="names of the day asked", direction="a ticker that changed hands joins two companies in one series: false jumps"),
        Bias(name="other payments", direction="spin-offs are no dividends here: a fall on their day is on no stated action"),
        Bias(name="assumed knowledge time", direction="flatters if a bar was published later than 15 minutes after the close"),
    ),
)


class _Bar(msgspec.Struct, frozen=True):
    t: int
    o: float
    h: float
    low: float = msgspec.field(name="l")
    c: float = msgspec.field()
    v: float = msgspec.field()
    vw: float | None = None
    n: int | None = None


class _Bars(msgspec.Struct, frozen=True, kw_only=True):
    ticker: str
    adjusted: bool
    results_count: int = msgspec.field(name="resultsCount")
    results: list[_Bar] = []
    next_url: str | None = None


class _Split(msgspec.Struct, frozen=True):
    ticker: str
    execution_date: date
    split_from: float
    split_to: float
    id: str = ""


class _Splits(msgspec.Struct, frozen=True):
    results: list[_Split]
    next_url: str | None = None


class _Dividend(msgspec.Struct, frozen=True):
    ticker: str
    ex_dividend_date: date
    cash_amount: float
    currency: str | None = None
    id: str = ""


class _Dividends(msgspec.Struct, frozen=True):
    results: list[_Dividend]
    next_url: str | None = None


class _Paged(Protocol):
    """What all three kinds of pages have."""

    @property
    def next_url(self) -> str | None:
        """Address of the page after."""


Page = TypeVar("Page", bound=_Paged)


class Massive:
    """Pages of aggregates, splits and dividends, a symbol at a time."""

    def __init__(self, settings: VendorSettings) -> None:
        self._base = (settings.base_url or FACTS.base_urls[""]).rstrip("/")

    @property
    def facts(self) -> VendorFacts:
        """Constant."""
        return FACTS

    def fetch(self, dataset: str, scope: Scope, client: HttpClient) -> tuple[RawPayload, ...]:
        """All pages of each symbol."""
        payloads: list[RawPayload] = []
        for name in scope.names:
            if dataset.startswith("bars"):
                payloads += self._pages(client, _bars_ask(dataset, name, scope), _bars_of(name, _resolution(dataset)))
                continue
            payloads += self._pages(client, _actions_ask(_SPLITS, "execution_date", name, scope), _actions_of(name, _SPLITS))
            payloads += self._pages(client, _actions_ask(_DIVIDENDS, "ex_dividend_date", name, scope), _actions_of(name, _DIVIDENDS))
        return tuple(payloads)

    def rows(self, dataset: str, payloads: Sequence[RawPayload], recorded_at: datetime) -> pa.Table:
        """Bars as traded, or splits and dividends."""
        if FACTS.dataset(dataset).table is INTRADAY_BARS:
            resolution = _resolution(dataset)
            steps = [step for payload in payloads for step in _steps(payload, resolution)]
            return table_rows(INTRADAY_BARS, step_records(NAME, resolution, steps, DELAY), recorded_at)
        return price_table(FACTS, dataset, payloads, recorded_at, (_bars, _actions))

    def _pages(self, client: HttpClient, first: Ask, check: Callable[[RawPayload], Page]) -> list[RawPayload]:
        def page_at(cursor: str) -> Fetched[Page]:
            return client.get(self._next_ask(first, cursor) if cursor else first, check)

        pages = walk_pages(f"{NAME}: {client.origin(first)}", page_at, lambda page: self._next(page.payload, page.value.next_url))
        return [page.payload for page in pages]

    def _next(self, payload: RawPayload, next_url: str | None) -> str:
        """The address of the next page, which must be on the host that was asked: the key goes with it."""
        if not next_url:
            return ""
        if not next_url.startswith(f"{self._base}/"):
            message = f"{payload.origin}: the field `next_url` leads to another host ({urlsplit(next_url).hostname}), which is refused"
            raise DataInvalid(message, mend="if the vendor has moved, set its base_url in config/sources.yaml")
        return next_url

    def _next_ask(self, first: Ask, next_url: str) -> Ask:
        path, _, query = next_url.removeprefix(self._base).partition("?")
        params = {name: value for name, value in parse_qsl(query) if name.lower() != "apikey"}
        return Ask(dataset=first.dataset, path=path, params=params)


def _resolution(dataset: str) -> str:
    """``bars_1h`` -> ``1h``; empty: daily."""
    return dataset.removeprefix("bars").removeprefix("_")


def _bars_ask(dataset: str, name: str, scope: Scope) -> Ask:
    span = _SPANS.get(_resolution(dataset), "day")
    path = f"/v2/aggs/ticker/{quote(name, safe='')}/range/1/{span}/{scope.since}/{scope.until}"
    return Ask(dataset=dataset, path=path, params={"adjusted": "false", "sort": "asc", "limit": "50000"})


def _actions_ask(kind: str, day: str, name: str, scope: Scope) -> Ask:
    span = {f"{day}.gte": scope.since.isoformat(), f"{day}.lte": scope.until.isoformat()}
    return Ask(dataset=kind, path=f"/v3/reference/{kind}", params={"ticker": name, "limit": "1000", **span})


def _refuse_other(payload: RawPayload, found: str, asked: str) -> None:
    if found != asked:
        raise DataInvalid(f"{payload.origin}: the field `ticker` is {found!r}: another symbol than {asked!r} was served")


def _aggregates(payload: RawPayload, resolution: str = "") -> _Bars:
    """The page, if it is unadjusted, of that length (empty: daily), and every number of it is one."""
    page = json_of(payload, _Bars)
    if page.adjusted:
        raise DataInvalid(f"{payload.origin}: the field `adjusted` is true: raw prices were asked for, kinds never mix")
    if page.results_count and not page.results:
        raise DataInvalid(f"{payload.origin}: the field `results` is missing though `resultsCount` is {page.results_count}")
    for row, bar in enumerate(page.results, start=1):
        for name, value in (("o", bar.o), ("h", bar.h), ("l", bar.low), ("c", bar.c), ("v", bar.v)):
            finite(payload, row, name, value)
        begins = _moment(payload, row, bar.t)
        if resolution:
            finite(payload, row, "vw", bar.vw)
            refuse_other_step(payload, row, "t", begins, resolution)
        elif begins.astimezone(NEW_YORK).time() != time():
            raise DataInvalid(f"{payload.origin}: row {row}, field `t`: {begins} is no midnight of New York")
    return page


def _moment(payload: RawPayload, row: int, milliseconds: int) -> datetime:
    """An aggregate is stamped with its beginning: a daily one with the New York midnight that begins it."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000.0, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise DataInvalid(f"{payload.origin}: row {row}, field `t`: {milliseconds} is no time in milliseconds") from error


def _bars_of(name: str, resolution: str) -> Callable[[RawPayload], _Bars]:
    def check(payload: RawPayload) -> _Bars:
        page = _aggregates(payload, resolution)
        _refuse_other(payload, page.ticker, name)
        return page

    return check


def _splits(payload: RawPayload) -> _Splits:
    page = json_of(payload, _Splits)
    for row, split in enumerate(page.results, start=1):
        if not (0.0 < split.split_from < math.inf and 0.0 < split.split_to < math.inf):
            raise DataInvalid(f"{payload.origin}: row {row}, field `split_from` or `split_to` is not positive")
    return page


def _dividends(payload: RawPayload) -> _Dividends:
    page = json_of(payload, _Dividends)
    for row, dividend in enumerate(page.results, start=1):
        finite(payload, row, "cash_amount", dividend.cash_amount)
    return page


def _actions_of(name: str, kind: str) -> Callable[[RawPayload], _Splits | _Dividends]:
    def check(payload: RawPayload) -> _Splits | _Dividends:
        page = _splits(payload) if kind == _SPLITS else _dividends(payload)
        for action in page.results:
            _refuse_other(payload, action.ticker, name)
        return page

    return check


def _bars(payload: RawPayload) -> Iterator[ReadBar]:
    page = _aggregates(payload)
    for row, bar in enumerate(page.results, start=1):
        values = {"open": bar.o, "high": bar.h, "low": bar.low, "close": bar.c, "volume": bar.v}
        yield ReadBar(
            payload=payload, row=row, symbol=page.ticker, session=_moment(payload, row, bar.t).astimezone(NEW_YORK).date(), values=values
        )


def _steps(payload: RawPayload, resolution: str) -> Iterator[ReadStep]:
    page = _aggregates(payload, resolution)
    for row, bar in enumerate(page.results, start=1):
        values = {"open": bar.o, "high": bar.h, "low": bar.low, "close": bar.c, "volume": bar.v, "vwap": bar.vw, "trade_count": bar.n}
        yield ReadStep(payload=payload, row=row, symbol=page.ticker, begins=_moment(payload, row, bar.t), values=values)


def _actions(payload: RawPayload) -> Iterator[ReadAction]:
    if payload.dataset == _SPLITS:
        for row, split in enumerate(_splits(payload).results, start=1):
            ratio = split.split_to / split.split_from
            yield ReadAction(
                payload=payload, row=row, symbol=split.ticker, session=split.execution_date, kind=SPLIT, value=ratio, ident=split.id
            )
        return
    for row, paid in enumerate(_dividends(payload).results, start=1):
        yield ReadAction(
            payload=payload,
            row=row,
            symbol=paid.ticker,
            session=paid.ex_dividend_date,
            kind=DIVIDEND,
            value=paid.cash_amount,
            ident=paid.id,
            currency=paid.currency,
        )
