"""US indices from the arch package: S&P 500 and NASDAQ Composite OHLCV 1999-2018, VIX closes 2014-2018; offline. Not tradable."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hedgefund_core.quant.bars import Floats, PriceKind
from hedgefund_dagster.sources.package_data import package_payload, read_csv
from hedgefund_dagster.sources.source import (
    Bias,
    Partitioning,
    RawPayload,
    SourceActions,
    SourceBars,
    SourceBenchmark,
    SourceFacts,
)

_FIELDS = ("open", "high", "low", "close", "volume")
_DATASETS = {"sp500": "SP500", "nasdaq": "NASDAQ", "vix": "VIX"}

FACTS = SourceFacts(
    name="bundled_indices",
    title="S&P 500 and NASDAQ Composite price indices, VIX closes (arch)",
    price_kind=PriceKind.RAW,
    calendar="XNYS",
    currency="USD",
    tick=0.01,
    licence="NCSA package data (Yahoo Finance and FRED); for research and demonstration",
    biases=(
        Bias(name="price indices", direction="understates a holder's return: dividends are missing"),
        Bias(name="not tradable", direction="flatters any book of them: an index level is nobody's fill"),
        Bias(name="short VIX", direction="unclear: closes 2014-2018 only, so regimes use realized volatility"),
    ),
    fields=_FIELDS,
    partitioning=Partitioning.YEARLY,
    first="1999",
    last="2019",
    has_corporate_actions=True,
    benchmark_name="SP500",
    not_evaluable=("trading",),
)


class BundledIndices:
    """One CSV an index; the VIX has a close only."""

    @property
    def facts(self) -> SourceFacts:
        """What is known before reading."""
        return FACTS

    def fetch(self, retrieved_at: datetime) -> tuple[RawPayload, ...]:
        """The package's three files."""
        return tuple(
            package_payload(
                source=FACTS.name,
                dataset=dataset,
                package="arch",
                distribution="arch",
                path=f"data/{dataset}/{dataset}.csv.gz",
                retrieved_at=retrieved_at,
            )
            for dataset in _DATASETS
        )

    def bars(self, payloads: Mapping[str, RawPayload]) -> SourceBars:
        """Rows of the three files; the VIX close is its only column, FRED's holiday rows without a value are no bars."""
        parts = [_rows_of(payloads[dataset], symbol) for dataset, symbol in _DATASETS.items()]
        return SourceBars(
            symbol=np.concatenate([part.symbol for part in parts]),
            session=np.concatenate([part.session for part in parts]),
            fields={name: np.concatenate([part.fields[name] for part in parts]) for name in _FIELDS},
            raw_sha256=np.concatenate([part.raw_sha256 for part in parts]),
            source_row=np.concatenate([part.source_row for part in parts]),
        )

    def corporate_actions(self, payloads: Mapping[str, RawPayload]) -> SourceActions | None:
        """None ever happened, which is knowledge, not ignorance: an index neither splits nor pays."""
        nothing = np.zeros(0)
        return SourceActions(
            symbol=np.array([], dtype=np.str_),
            session=np.array([], dtype="datetime64[D]"),
            kind=np.array([], dtype=np.str_),
            value=nothing,
            noise=nothing,
            provenance="an index has none",
        )

    def benchmark(self, payloads: Mapping[str, RawPayload]) -> SourceBenchmark | None:
        """None: indices are benchmarks themselves."""
        return None


def _rows_of(payload: RawPayload, symbol: str) -> SourceBars:
    """One file; ``source_row`` keeps the place in the file though empty rows are left out."""
    table = read_csv(payload)
    names = {name.lower(): name for name in table.column_names}
    dates = pc.strptime(table.column(names["date"]), format="%m/%d/%Y", unit="s")
    close = _numbers(table, names.get("close", names.get("vix")))
    there = np.isfinite(close)
    columns: dict[str, Floats] = {name: _numbers(table, names.get(name))[there] for name in _FIELDS if name != "close"}
    return SourceBars(
        symbol=np.full(int(there.sum()), symbol),
        session=dates.to_numpy().astype("datetime64[D]")[there],
        fields={**columns, "close": close[there]},
        raw_sha256=np.full(int(there.sum()), payload.sha256),
        source_row=np.flatnonzero(there) + 1,
    )


def _numbers(table: pa.Table, column: str | None) -> Floats:
    """A column as float64; NaN where absent (FRED writes a dot)."""
    if column is None:
        return np.full(table.num_rows, np.nan)
    values = table.column(column)
    if pa.types.is_string(values.type):
        values = pc.if_else(pc.equal(values, "."), None, values).cast(pa.float64())
    return np.asarray(values.to_numpy(), dtype=np.float64)
