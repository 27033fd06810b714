"""Tiingo: daily prices since 1962, raw and adjusted side by side, with the payments and splits between them. Needs a (free) key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from urllib.parse import parse_qs, quote, unquote, urlsplit

import msgspec
import pyarrow as pa

from hedgefund_core.configuration import VendorSettings
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.schemas import BARS, STATED_ACTIONS
from hedgefund_dagster.sources.http.client import Ask, HttpClient
from hedgefund_dagster.sources.http.content import json_of
from hedgefund_dagster.sources.http.declaration import Dataset, KeyRule, Quota, Scope, VendorFacts
from hedgefund_dagster.sources.price_rows import DIVIDEND, SPLIT, ReadAction, ReadBar, dashed, dotted, finite, price_table
from hedgefund_dagster.sources.source import Bias, Partitioning, RawPayload

NAME = "tiingo"
_FIELDS = {"open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume", "adj_close": "adjClose"}
_FIRST = date(1962, 1, 2)

FACTS = VendorFacts(
    name=NAME,
    title="Tiingo end of day",
    base_urls={"": "https://api.tiingo.com"},
    datasets=(
        Dataset(
            name="bars",
            table=BARS,
            title="daily bars as traded; the adjusted close is kept as evidence",
            first=_FIRST,
            names_needed=True,
            mapping={"session": "date", **_FIELDS},
            price_kind=PriceKind.RAW,
            partitioning=Partitioning.DAILY,
        ),
        Dataset(
            name="corporate_actions",
            table=STATED_ACTIONS,
            title="splits and dividends, read off the days of the price history",
            first=_FIRST,
            names_needed=True,
            mapping={"session": "date", "value": "divCash, splitFactor"},
            partitioning=Partitioning.DAILY,
        ),
    ),
    quotas=(Quota(requests=50, seconds=3_600.0), Quota(requests=1_000, seconds=86_400.0)),
    licence="Tiingo's terms: for the subscriber's own use, not for redistribution; the free plan is for evaluation",
    documentation="https://www.tiingo.com/documentation/end-of-day",
    keys=(KeyRule(variable="TIINGO_API_KEY", header="Authorization", prefix="Token "),),
    biases=(
        Bias(name="names of today", direction="a ticker that changed hands shows its present owner: flatters, the dead are missing"),
        Bias(
            name="corrections of the evening",
            direction="exchanges correct until 20:00 New York: a bar read before may differ, as a version",
        ),
        Bias(name="assumed knowledge time", direction="flatters if a bar was published later than 15 minutes after the close"),
    ),
)


class _Day(msgspec.Struct, frozen=True, rename="camel"):
    date: datetime
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None
    adj_close: float | None
    div_cash: float
    split_factor: float


class Tiingo:
    """One request a symbol."""

    def __init__(self, settings: VendorSettings) -> None:
        self._settings = settings

    @property
    def facts(self) -> VendorFacts:
        """Constant."""
        return FACTS

    def fetch(self, dataset: str, scope: Scope, client: HttpClient) -> tuple[RawPayload, ...]:
        """The days of each symbol; a symbol without any is an empty list."""
        span = {"startDate": scope.since.isoformat(), "endDate": scope.until.isoformat(), "format": "json"}
        asks = [
            Ask(dataset=dataset, path=f"/tiingo/daily/{quote(dashed(name), safe='')}/prices", params=span, shared=True)
            for name in scope.names
        ]
        return tuple(client.get(ask, _days).payload for ask in asks)

    def rows(self, dataset: str, payloads: Sequence[RawPayload], recorded_at: datetime) -> pa.Table:
        """Bars as traded, or the actions of the days that had any."""
        return price_table(FACTS, dataset, payloads, recorded_at, (_bars, _actions))


def _symbol(payload: RawPayload) -> str:
    """The answer names no symbol: the address does."""
    return dotted(unquote(urlsplit(payload.origin).path.split("/")[-2]))


def _days(payload: RawPayload) -> list[_Day]:
    """The days, each of them asked for and each number a number."""
    days = json_of(payload, list[_Day])
    asked = parse_qs(urlsplit(payload.origin).query)
    since, until = (date.fromisoformat(asked[name][0]) for name in ("startDate", "endDate"))
    for row, day in enumerate(days, start=1):
        if not since <= day.date.date() <= until:
            raise DataInvalid(f"{payload.origin}: row {row}, field `date`: {day.date.date()} was not asked for")
        for name in ("open", "high", "low", "close", "volume", "adj_close", "div_cash", "split_factor"):
            finite(payload, row, name, getattr(day, name))
    return days


def _bars(payload: RawPayload) -> Iterator[ReadBar]:
    symbol = _symbol(payload)
    for row, day in enumerate(_days(payload), start=1):
        values = {ours: getattr(day, ours) for ours in _FIELDS}
        yield ReadBar(payload=payload, row=row, symbol=symbol, session=day.date.date(), values=values)


def _actions(payload: RawPayload) -> Iterator[ReadAction]:
    symbol = _symbol(payload)
    for row, day in enumerate(_days(payload), start=1):
        for kind, value, nothing in ((DIVIDEND, day.div_cash, 0.0), (SPLIT, day.split_factor, 1.0)):
            if value != nothing:
                yield ReadAction(payload=payload, row=row, symbol=symbol, session=day.date.date(), kind=kind, value=value)
