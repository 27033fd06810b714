"""Twenty S&P 500 stocks 1990-2022, total-return closes with three decimals, from the skfolio package; offline."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np

from hedgefund_core.quant.bars import PriceKind
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

PRICES, INDEX = "prices", "index"
_FILES = {PRICES: "datasets/data/sp500_dataset.csv.gz", INDEX: "datasets/data/sp500_index.csv.gz"}

FACTS = SourceFacts(
    name="bundled_sp500",
    title="20 large US stocks, total-return closes, 1990-2022 (skfolio)",
    price_kind=PriceKind.TOTAL_RETURN,
    calendar="XNYS",
    currency="USD",
    tick=0.001,
    licence="BSD-3-Clause package data; for research and demonstration, not for redistribution as market data",
    biases=(
        Bias(name="survivorship", direction="flatters long-only and dip buying, hurts shorting losers: all 20 names lived to 2022"),
        Bias(name="selection", direction="flatters long-only: the names were picked after the fact as large companies"),
        Bias(
            name="total-return closes", direction="none on returns; dividends are reinvested, so cash income and price levels are not real"
        ),
        Bias(name="three decimals", direction="adds noise to early returns (one tick is 0.56 % of BBY in 1990); research starts in 1995"),
        Bias(name="price-index benchmark", direction="flatters every comparison: stocks carry dividends, the index does not"),
    ),
    fields=("close",),
    partitioning=Partitioning.YEARLY,
    first="1990",
    last="2022",
    research_start="1995-01-03",
    benchmark_name="S&P 500 price index",
    not_evaluable=("volume", "open"),
)


class BundledSp500:
    """Wide CSV: one column a stock."""

    @property
    def facts(self) -> SourceFacts:
        """What is known before reading."""
        return FACTS

    def fetch(self, retrieved_at: datetime) -> tuple[RawPayload, ...]:
        """The package's two files."""
        return tuple(
            package_payload(
                source=FACTS.name, dataset=dataset, package="skfolio", distribution="skfolio", path=path, retrieved_at=retrieved_at
            )
            for dataset, path in _FILES.items()
        )

    def bars(self, payloads: Mapping[str, RawPayload]) -> SourceBars:
        """Closes in long form, symbol by symbol."""
        payload = payloads[PRICES]
        table = read_csv(payload)
        symbols = [name for name in table.column_names if name != "Date"]
        days = table.column("Date").to_numpy().astype("datetime64[D]")
        close = np.concatenate([table.column(name).to_numpy().astype(np.float64) for name in symbols])
        return SourceBars(
            symbol=np.repeat(np.array(symbols), len(days)),
            session=np.tile(days, len(symbols)),
            fields={"close": close},
            raw_sha256=np.full(len(close), payload.sha256),
            source_row=np.tile(np.arange(1, len(days) + 1), len(symbols)),
        )

    def corporate_actions(self, payloads: Mapping[str, RawPayload]) -> SourceActions | None:
        """None: total-return closes carry them inside and say nothing of each."""
        del payloads
        return None

    def benchmark(self, payloads: Mapping[str, RawPayload]) -> SourceBenchmark | None:
        """The S&P 500 *price* index: labelled, never called total return."""
        table = read_csv(payloads[INDEX])
        return SourceBenchmark(
            name=FACTS.benchmark_name,
            sessions=table.column("Date").to_numpy().astype("datetime64[D]"),
            level=table.column("SP500").to_numpy().astype(np.float64),
        )
