"""The source `served`: raw prices of whichever vendor of the fallback order could serve; each row says in ``source`` who that was.

What is kept of a payload stays the vendor's; the record that it stands behind these rows is ``<vendor>.<data set>``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa

from hedgefund_core.configuration import SourcesSettings
from hedgefund_core.errors import DataUnavailable
from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.schemas import BARS, STATED_ACTIONS, Table
from hedgefund_dagster.sources.source import (
    BAR_FIELDS,
    Bias,
    Partitioning,
    RawPayload,
    SourceActions,
    SourceBars,
    SourceBenchmark,
    SourceFacts,
)

NAME = "served"
PROVENANCE = "stated by the vendor named in `source`"
FACTS = SourceFacts(
    name=NAME,
    title="prices of vendors, by the fallback order of config/sources.yaml",
    price_kind=PriceKind.RAW,
    calendar="XNYS",
    currency="USD",
    tick=0.01,
    licence="that of the vendor each row names",
    biases=(
        Bias(name="names of today", direction="the names you list are those that live: flatters long-only books, hurts shorting losers"),
        Bias(name="assumed knowledge time", direction="flatters if a vendor published later than 15 minutes after the close"),
        Bias(name="several vendors", direction="unknown where one symbol's history has two: the check one_vendor_a_symbol names them"),
    ),
    fields=BAR_FIELDS,
    partitioning=Partitioning.DAILY,
    has_corporate_actions=True,
)


class Served:
    """The rows of all vendors that served, read again from what was kept of their payloads."""

    def __init__(self, settings: SourcesSettings) -> None:
        self._settings = settings

    @property
    def facts(self) -> SourceFacts:
        """Constant."""
        return FACTS

    def fetch(self, retrieved_at: datetime) -> tuple[RawPayload, ...]:
        """Vendors are asked day by day, with their own keys: by the asset, not here."""
        message = f"{NAME}: nothing was asked for at {retrieved_at:%Y-%m-%d %H:%M}Z: its vendors are asked for days"
        raise DataUnavailable(message, mend="make materialize SELECT=served/bars FROM=2020-01-02 TO=2020-12-31")

    def bars(self, payloads: Mapping[str, RawPayload]) -> SourceBars:
        """Rows of the payloads, in the words of each vendor's adapter."""
        rows = _joined(BARS, self._tables(payloads, BARS))
        return SourceBars(
            symbol=np.array(rows.column("symbol").to_pylist(), dtype=np.str_),
            session=rows.column("session").to_numpy().astype("datetime64[D]"),
            fields={name: rows.column(name).to_numpy().astype(np.float64) for name in BAR_FIELDS},
            raw_sha256=np.array(rows.column("raw_sha256").to_pylist(), dtype=np.str_),
            source_row=rows.column("source_row").to_numpy(),
            ts=rows.column("ts").cast(pa.timestamp("us")).to_numpy(),
        )

    def corporate_actions(self, payloads: Mapping[str, RawPayload]) -> SourceActions | None:
        """Splits and dividends as stated."""
        rows = _joined(STATED_ACTIONS, self._tables(payloads, STATED_ACTIONS))
        value = rows.column("value").to_numpy().astype(np.float64)
        return SourceActions(
            symbol=np.array(rows.column("symbol").to_pylist(), dtype=np.str_),
            session=rows.column("session").to_numpy().astype("datetime64[D]"),
            kind=np.array(rows.column("kind").to_pylist(), dtype=np.str_),
            value=value,
            noise=np.zeros_like(value),
            provenance=PROVENANCE,
        )

    def benchmark(self, payloads: Mapping[str, RawPayload]) -> SourceBenchmark | None:
        """None: equal weight of the same names."""
        return None

    def _tables(self, payloads: Mapping[str, RawPayload], table: Table) -> Iterator[pa.Table]:
        from hedgefund_dagster.sources import open_vendor

        for payload in payloads.values():
            name, dataset = payload.dataset.split(".", 1)
            vendor = open_vendor(name, self._settings)
            if vendor.facts.dataset(dataset).table is table:
                own = RawPayload.of(name, dataset, payload.content, origin=payload.origin, retrieved_at=payload.retrieved_at)
                yield vendor.rows(dataset, [own], payload.retrieved_at)


def _joined(table: Table, parts: Iterator[pa.Table]) -> pa.Table:
    from hedgefund_dagster.resources.lake_files import arrow_schema

    return pa.concat_tables([arrow_schema(table).empty_table(), *parts])
