"""Cboe's volatility index: its whole daily history as one CSV file, no key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta

import pyarrow as pa

from hedgefund_core.configuration import VendorSettings
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import KnownAtBasis, PriceKind
from hedgefund_core.schemas import BARS
from hedgefund_dagster.sources.http.client import Ask, HttpClient
from hedgefund_dagster.sources.http.content import csv_of, number
from hedgefund_dagster.sources.http.declaration import Dataset, Quota, Scope, VendorFacts
from hedgefund_dagster.sources.http.rows import at, table_rows
from hedgefund_dagster.sources.source import Bias, RawPayload

NAME = "cboe_vix"
SYMBOL = "VIX"
_FIELDS = {"open": "OPEN", "high": "HIGH", "low": "LOW", "close": "CLOSE"}
_CLOSE = time(16, 15)
"""The index is computed until 16:15 New York, a quarter of an hour longer than its options' underlying trades."""
_DELAY = timedelta(minutes=15)

FACTS = VendorFacts(
    name=NAME,
    title="Cboe VIX history",
    base_urls={"": "https://cdn.cboe.com"},
    datasets=(
        Dataset(
            name="bars",
            table=BARS,
            title="daily open, high, low, close of the VIX since 1990",
            mapping={"session": "DATE", **_FIELDS},
            price_kind=PriceKind.RAW,
        ),
    ),
    quotas=(Quota(requests=6, seconds=60.0), Quota(requests=100, seconds=86_400.0)),
    licence="Cboe's terms of use: for display and research, not for redistribution",
    documentation="https://www.cboe.com/tradable_products/vix/vix_historical_data/",
    biases=(
        Bias(
            name="back-filled method",
            direction="rows before 2003-09-22 were computed later with today's method: nobody could know them then",
        ),
        Bias(name="assumed knowledge time", direction="flatters if the file was published later than 15 minutes after 16:15"),
    ),
)


class CboeVix:
    """One file, one symbol."""

    def __init__(self, settings: VendorSettings) -> None:
        self._settings = settings

    @property
    def facts(self) -> VendorFacts:
        """Constant."""
        return FACTS

    def fetch(self, dataset: str, scope: Scope, client: HttpClient) -> tuple[RawPayload, ...]:
        """The whole history: the server's validators make asking again cheap."""
        ask = Ask(dataset=dataset, path="/api/global/us_indices/daily_prices/VIX_History.csv", ending=".csv")
        return (client.get(ask, _records).payload,)

    def rows(self, dataset: str, payloads: Sequence[RawPayload], recorded_at: datetime) -> pa.Table:
        """Bars of the index; an empty cell stays null."""
        return table_rows(BARS, [record for payload in payloads for record in _records(payload)], recorded_at)


def _records(payload: RawPayload) -> list[dict[str, object]]:
    records: list[dict[str, object]] = []
    for row, cells in enumerate(csv_of(payload, ("DATE", *_FIELDS.values())), start=1):
        try:
            session = datetime.strptime(cells["DATE"], "%m/%d/%Y").date()  # noqa: DTZ007 - a bare day
        except ValueError as error:
            raise DataInvalid(f"{payload.origin}: row {row}, field `DATE`: {cells['DATE']!r} is no month/day/year") from error
        closed = at(session, _CLOSE)
        values = {ours: number(payload, row, theirs, cells[theirs]) for ours, theirs in _FIELDS.items()}
        records.append(
            {
                "symbol": SYMBOL,
                "session": session,
                "ts": closed,
                "known_at": closed + _DELAY,
                "known_at_basis": KnownAtBasis.ASSUMED.value,
                **values,
                "source": NAME,
                "raw_sha256": payload.sha256,
                "source_row": row,
            }
        )
    if not records:
        raise DataInvalid(f"{payload.origin}: no rows")
    return records
