"""Yahoo's chart API: daily prices of most of the world, no key. The end point is unofficial: it may change, or refuse, any day.

It serves prices, volumes and payments in *today's* shares. They are taken back to the shares of their day with the splits the
same answer states (asked for from the first day to now, whatever the last day wanted), so that what is stored is raw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from math import prod
from urllib.parse import quote, unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import pyarrow as pa

from hedgefund_core.configuration import VendorSettings
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.schemas import BARS, STATED_ACTIONS
from hedgefund_dagster.sources.http.client import Ask, HttpClient
from hedgefund_dagster.sources.http.content import json_of
from hedgefund_dagster.sources.http.declaration import Dataset, Quota, Scope, VendorFacts
from hedgefund_dagster.sources.http.rows import at
from hedgefund_dagster.sources.price_rows import DIVIDEND, SPLIT, ReadAction, ReadBar, dashed, dotted, finite, price_table
from hedgefund_dagster.sources.source import Bias, Partitioning, RawPayload

NAME = "yahoo"
_PRICES = ("open", "high", "low", "close")
_FOR_EVER = "9999999999"
"""The last second asked for: a split after the last bar must be known, or the prices before it cannot be taken back."""
_DECIMALS = 4
"""The service computes in single precision: the seventh digit is noise, and noise would look like a correction."""

FACTS = VendorFacts(
    name=NAME,
    title="Yahoo Finance charts (unofficial end point)",
    base_urls={"": "https://query1.finance.yahoo.com"},
    datasets=(
        Dataset(
            name="bars",
            table=BARS,
            title="daily bars, taken back to the shares of their day; the adjusted close is kept as evidence",
            first=date(1970, 1, 2),
            names_needed=True,
            mapping={
                "session": "timestamp",
                **{name: f"indicators.quote[].{name}" for name in (*_PRICES, "volume")},
                "adj_close": "indicators.adjclose[].adjclose",
            },
            price_kind=PriceKind.RAW,
            partitioning=Partitioning.DAILY,
        ),
        Dataset(
            name="corporate_actions",
            table=STATED_ACTIONS,
            title="splits and dividends of the charts, dividends in the shares of their day",
            first=date(1970, 1, 2),
            names_needed=True,
            mapping={
                "session": "date",
                "value": "events.dividends.amount, events.splits.numerator / denominator",
                "currency": "meta.currency",
            },
            partitioning=Partitioning.DAILY,
        ),
    ),
    quotas=(Quota(requests=30, seconds=60.0), Quota(requests=1_000, seconds=86_400.0)),
    licence="Yahoo's terms: personal use, no redistribution; the end point is not offered as a service, and its limits are our guess",
    documentation="https://legal.yahoo.com/us/en/yahoo/terms/product-atos/apiforydn/index.html",
    biases=(
        Bias(
            name="prices taken back", direction="a split the service does not state leaves the days before it too low: a jump on no action"
        ),
        Bias(name="names of today", direction="a ticker shows its present owner, delisted names are gone: flatters"),
        Bias(name="spin-offs", direction="may be served as odd splits: prices before them are then scaled by a factor nobody traded at"),
        Bias(name="assumed knowledge time", direction="flatters if a bar was published later than 15 minutes after the close"),
    ),
)


class _Meta(msgspec.Struct, frozen=True):
    symbol: str
    currency: str | None
    zone: str = msgspec.field(name="exchangeTimezoneName")
    step: str = msgspec.field(name="dataGranularity")


class _Dividend(msgspec.Struct, frozen=True):
    amount: float
    date: int


class _Split(msgspec.Struct, frozen=True):
    date: int
    numerator: float
    denominator: float


class _Events(msgspec.Struct, frozen=True):
    dividends: dict[str, _Dividend] = {}
    splits: dict[str, _Split] = {}


class _Quote(msgspec.Struct, frozen=True):
    """Of a chart without days the service leaves the columns out; of one with days each must be as long as its days."""

    open: list[float | None] = []
    high: list[float | None] = []
    low: list[float | None] = []
    close: list[float | None] = []
    volume: list[float | None] = []


class _Adjusted(msgspec.Struct, frozen=True):
    adjclose: list[float | None] = []


class _Indicators(msgspec.Struct, frozen=True):
    quote: list[_Quote]
    adjclose: list[_Adjusted]


class _Result(msgspec.Struct, frozen=True):
    meta: _Meta
    indicators: _Indicators
    timestamp: list[int] = []
    events: _Events = _Events()


class _Chart(msgspec.Struct, frozen=True):
    result: list[_Result] | None


class _Answer(msgspec.Struct, frozen=True):
    chart: _Chart


class Yahoo:
    """One request a symbol."""

    def __init__(self, settings: VendorSettings) -> None:
        self._settings = settings

    @property
    def facts(self) -> VendorFacts:
        """Constant."""
        return FACTS

    def fetch(self, dataset: str, scope: Scope, client: HttpClient) -> tuple[RawPayload, ...]:
        """The chart of each symbol from the scope's first day to now."""
        span = {"period1": str(int(at(scope.since, time()).timestamp())), "period2": _FOR_EVER}
        params = {**span, "interval": "1d", "events": "div,splits", "includeAdjustedClose": "true"}
        asks = [
            Ask(dataset=dataset, path=f"/v8/finance/chart/{quote(dashed(name), safe='')}", params=params, shared=True)
            for name in scope.names
        ]
        return tuple(client.get(ask, _chart).payload for ask in asks)

    def rows(self, dataset: str, payloads: Sequence[RawPayload], recorded_at: datetime) -> pa.Table:
        """Bars or actions in the shares of their day."""
        return price_table(FACTS, dataset, payloads, recorded_at, (_bars, _actions))


def _chart(payload: RawPayload) -> _Result:
    """The one chart of the answer, if it is of the symbol and step asked for and its columns are of one length."""
    found = json_of(payload, _Answer).chart.result
    if not found:
        raise DataInvalid(f"{payload.origin}: the field `result` is empty: no such chart")
    chart, asked = found[0], unquote(urlsplit(payload.origin).path.rsplit("/", 1)[-1])
    if chart.meta.symbol.upper() != asked.upper():
        raise DataInvalid(f"{payload.origin}: the field `symbol` is {chart.meta.symbol!r}: another symbol than {asked!r} was served")
    if chart.meta.step != "1d":
        raise DataInvalid(f"{payload.origin}: the field `dataGranularity` is {chart.meta.step!r}: bars of another length")
    columns = _columns(chart)
    for name, values in columns.items():
        if len(values) != len(chart.timestamp):
            theirs = name.replace("_", "")
            raise DataInvalid(f"{payload.origin}: the field `{theirs}` has {len(values)} values for {len(chart.timestamp)} timestamps")
        for row, value in enumerate(values, start=1):
            finite(payload, row, name, value)
    for split in chart.events.splits.values():
        if not (split.numerator > 0.0 and split.denominator > 0.0):
            raise DataInvalid(f"{payload.origin}: the field `numerator` or `denominator` of a split is not positive")
    _zone(payload, chart)
    return chart


def _columns(chart: _Result) -> dict[str, list[float | None]]:
    """Columns by canonical name; a chart without days has none of them."""
    if not chart.timestamp:
        return {}
    quoted, adjusted = chart.indicators.quote[0], chart.indicators.adjclose[0]
    return {**{name: getattr(quoted, name) for name in (*_PRICES, "volume")}, "adj_close": adjusted.adjclose}


def _zone(payload: RawPayload, chart: _Result) -> ZoneInfo:
    try:
        return ZoneInfo(chart.meta.zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        name = chart.meta.zone
        raise DataInvalid(f"{payload.origin}: the field `exchangeTimezoneName` is {name!r}: no such zone") from error


def _day(second: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(second, UTC).astimezone(zone).date()


def _later_splits(chart: _Result, session: date, zone: ZoneInfo) -> float:
    """New shares that one share of that day has become since."""
    return prod(split.numerator / split.denominator for split in chart.events.splits.values() if _day(split.date, zone) > session)


def _bars(payload: RawPayload) -> Iterator[ReadBar]:
    """Days on which anything was quoted; days of nulls only say nothing."""
    chart = _chart(payload)
    zone, columns = _zone(payload, chart), _columns(chart)
    for place, second in enumerate(chart.timestamp):
        said = {name: values[place] for name, values in columns.items()}
        if all(said[name] is None for name in _PRICES):
            continue
        session = _day(second, zone)
        shares = _later_splits(chart, session, zone)
        values = {name: _times(said[name], shares) for name in _PRICES}
        values |= {"volume": _times(said["volume"], 1.0 / shares), "adj_close": said["adj_close"]}
        yield ReadBar(payload=payload, row=place + 1, symbol=dotted(chart.meta.symbol), session=session, values=values)


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else round(value * factor, _DECIMALS)


def _actions(payload: RawPayload) -> Iterator[ReadAction]:
    chart = _chart(payload)
    zone, symbol = _zone(payload, chart), dotted(chart.meta.symbol)
    events = [(SPLIT, split.date, split.numerator / split.denominator) for split in chart.events.splits.values()]
    for paid in chart.events.dividends.values():
        shares = _later_splits(chart, _day(paid.date, zone), zone)
        events.append((DIVIDEND, paid.date, round(paid.amount * shares, 6)))
    for row, (kind, second, value) in enumerate(events, start=1):
        currency = chart.meta.currency if kind == DIVIDEND else None
        yield ReadAction(payload=payload, row=row, symbol=symbol, session=_day(second, zone), kind=kind, value=value, currency=currency)
