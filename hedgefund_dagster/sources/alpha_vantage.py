"""Alpha Vantage: twenty years of daily prices as traded, numbers as text. Its refusals come with status 200 and words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from urllib.parse import parse_qs, urlsplit

import msgspec
import pyarrow as pa

from hedgefund_core.configuration import VendorSettings
from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.schemas import BARS, STATED_ACTIONS
from hedgefund_dagster.sources.http.client import Ask, HttpClient
from hedgefund_dagster.sources.http.content import json_of
from hedgefund_dagster.sources.http.declaration import Dataset, KeyRule, Quota, Scope, VendorFacts
from hedgefund_dagster.sources.price_rows import DIVIDEND, SPLIT, ReadAction, ReadBar, dashed, dotted, finite, price_table
from hedgefund_dagster.sources.source import Bias, Partitioning, RawPayload

NAME = "alpha_vantage"
_FIELDS = {
    "open": "1. open",
    "high": "2. high",
    "low": "3. low",
    "close": "4. close",
    "adj_close": "5. adjusted close",
    "volume": "6. volume",
}
_FIRST = date(1999, 11, 1)

FACTS = VendorFacts(
    name=NAME,
    title="Alpha Vantage daily adjusted",
    base_urls={"": "https://www.alphavantage.co"},
    datasets=(
        Dataset(
            name="bars",
            table=BARS,
            title="daily bars as traded; the adjusted close is kept as evidence",
            first=_FIRST,
            names_needed=True,
            mapping={"session": "Time Series (Daily)", **_FIELDS},
            price_kind=PriceKind.RAW,
            partitioning=Partitioning.DAILY,
        ),
        Dataset(
            name="corporate_actions",
            table=STATED_ACTIONS,
            title="splits and dividends, read off the days of the price history",
            first=_FIRST,
            names_needed=True,
            mapping={"session": "Time Series (Daily)", "value": "7. dividend amount, 8. split coefficient"},
            partitioning=Partitioning.DAILY,
        ),
    ),
    quotas=(Quota(requests=1, seconds=1.0), Quota(requests=5, seconds=60.0), Quota(requests=25, seconds=86_400.0)),
    licence="Alpha Vantage's terms: personal, non-commercial use on the free plan; this function is part of a paid plan",
    documentation="https://www.alphavantage.co/documentation/#dailyadj",
    keys=(KeyRule(variable="ALPHA_VANTAGE_API_KEY", parameter="apikey"),),
    biases=(
        Bias(name="names of today", direction="a ticker shows its present owner; delisted names are mostly gone: flatters"),
        Bias(name="whole history each time", direction="none on results; each fetch costs one of the day's 25 requests a symbol"),
        Bias(name="assumed knowledge time", direction="flatters if a bar was published later than 15 minutes after the close"),
    ),
)


class _Meta(msgspec.Struct, frozen=True):
    symbol: str = msgspec.field(name="2. Symbol")


class _Day(msgspec.Struct, frozen=True):
    open: float = msgspec.field(name="1. open")
    high: float = msgspec.field(name="2. high")
    low: float = msgspec.field(name="3. low")
    close: float = msgspec.field(name="4. close")
    adj_close: float = msgspec.field(name="5. adjusted close")
    volume: float = msgspec.field(name="6. volume")
    dividend: float = msgspec.field(name="7. dividend amount")
    split: float = msgspec.field(name="8. split coefficient")


class _Refusal(msgspec.Struct, frozen=True):
    """Words instead of data; of a real answer all three are empty."""

    note: str = msgspec.field(name="Note", default="")
    information: str = msgspec.field(name="Information", default="")
    error: str = msgspec.field(name="Error Message", default="")


class _Series(msgspec.Struct, frozen=True):
    meta: _Meta = msgspec.field(name="Meta Data")
    days: dict[date, _Day] = msgspec.field(name="Time Series (Daily)")


class AlphaVantage:
    """One request a symbol, always of the whole history: the service knows no first and last day."""

    def __init__(self, settings: VendorSettings) -> None:
        self._settings = settings

    @property
    def facts(self) -> VendorFacts:
        """Constant."""
        return FACTS

    def fetch(self, dataset: str, scope: Scope, client: HttpClient) -> tuple[RawPayload, ...]:
        """The history of each symbol."""
        params = {"function": "TIME_SERIES_DAILY_ADJUSTED", "outputsize": "full", "datatype": "json"}
        asks = [Ask(dataset=dataset, path="/query", params={**params, "symbol": dashed(name)}, shared=True) for name in scope.names]
        return tuple(client.get(ask, _series).payload for ask in asks)

    def rows(self, dataset: str, payloads: Sequence[RawPayload], recorded_at: datetime) -> pa.Table:
        """Bars as traded, or the actions of the days that had any."""
        return price_table(FACTS, dataset, payloads, recorded_at, (_bars, _actions))


def _series(payload: RawPayload) -> _Series:
    """The history, if it is one and of the symbol asked for. Over its limits the service says so with status 200."""
    refusal = json_of(payload, _Refusal)
    said = refusal.note or refusal.information or refusal.error
    if said:
        message = f"{NAME}: {payload.origin}: refused with status 200: {said[:300]!r}"
        raise DataUnavailable(message, mend="wait for the next minute or day, or check plan and symbol; other sources go on")
    found = json_of(payload, _Series)
    asked = parse_qs(urlsplit(payload.origin).query)["symbol"][0]
    if found.meta.symbol.upper() != asked.upper():
        raise DataInvalid(f"{payload.origin}: the field `2. Symbol` is {found.meta.symbol!r}: another symbol than {asked!r} was served")
    for row, day in enumerate(found.days.values(), start=1):
        for name in ("open", "high", "low", "close", "adj_close", "volume", "dividend", "split"):
            finite(payload, row, name, getattr(day, name))
    return found


def _bars(payload: RawPayload) -> Iterator[ReadBar]:
    found = _series(payload)
    symbol = dotted(found.meta.symbol)
    for row, (session, day) in enumerate(found.days.items(), start=1):
        yield ReadBar(payload=payload, row=row, symbol=symbol, session=session, values={ours: getattr(day, ours) for ours in _FIELDS})


def _actions(payload: RawPayload) -> Iterator[ReadAction]:
    found = _series(payload)
    symbol = dotted(found.meta.symbol)
    for row, (session, day) in enumerate(found.days.items(), start=1):
        for kind, value, nothing in ((DIVIDEND, day.dividend, 0.0), (SPLIT, day.split, 1.0)):
            if value != nothing:
                yield ReadAction(payload=payload, row=row, symbol=symbol, session=session, kind=kind, value=value)
