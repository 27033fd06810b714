"""Five US stocks 2000-2013 with raw open, high, low, close, volume and real splits, from bokeh-sampledata; offline."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np

from hedgefund_core.quant.bars import PriceKind
from hedgefund_dagster.sources.derived import actions_from_adjusted
from hedgefund_dagster.sources.package_data import package_payload, read_csv
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

STOCKS = "stocks"
_COLUMNS = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume", "adj_close": "Adj Close"}

FACTS = SourceFacts(
    name="bundled_ohlcv",
    title="5 US technology stocks, raw OHLCV with splits, 2000-2013 (bokeh-sampledata)",
    price_kind=PriceKind.RAW,
    calendar="XNYS",
    currency="USD",
    tick=0.01,
    licence="public domain (Quandl WIKI prices, as supplied)",
    biases=(
        Bias(name="survivorship", direction="flatters long-only books: all five names lived and grew to 2013"),
        Bias(name="selection", direction="flatters long-only: five famous technology stocks"),
        Bias(name="derived corporate actions", direction="unclear: splits and dividends are read off adj_close, not stated by a vendor"),
        Bias(name="few names", direction="widens every interval: five names carry almost no cross-section"),
    ),
    fields=BAR_FIELDS,
    partitioning=Partitioning.YEARLY,
    first="2000",
    last="2013",
    has_corporate_actions=True,
)


class BundledOhlcv:
    """Long CSV: Ticker, Date, Open, High, Low, Close, Volume, Adj Close."""

    @property
    def facts(self) -> SourceFacts:
        """What is known before reading."""
        return FACTS

    def fetch(self, retrieved_at: datetime) -> tuple[RawPayload, ...]:
        """The package's file."""
        payload = package_payload(
            source=FACTS.name,
            dataset=STOCKS,
            package="bokeh_sampledata",
            distribution="bokeh-sampledata",
            path="_data/stocks.csv.gz",
            retrieved_at=retrieved_at,
        )
        return (payload,)

    def bars(self, payloads: Mapping[str, RawPayload]) -> SourceBars:
        """Rows as they stand in the file."""
        payload = payloads[STOCKS]
        table = read_csv(payload)
        return SourceBars(
            symbol=np.array(table.column("Ticker").to_pylist(), dtype=np.str_),
            session=table.column("Date").to_numpy().astype("datetime64[D]"),
            fields={name: table.column(column).to_numpy().astype(np.float64) for name, column in _COLUMNS.items()},
            raw_sha256=np.full(table.num_rows, payload.sha256),
            source_row=np.arange(1, table.num_rows + 1),
        )

    def corporate_actions(self, payloads: Mapping[str, RawPayload]) -> SourceActions | None:
        """Derived from adj_close; later actions it carries (AAPL 2014) are a constant factor and derive nothing."""
        return actions_from_adjusted(self.bars(payloads), tick=FACTS.tick)

    def benchmark(self, payloads: Mapping[str, RawPayload]) -> SourceBenchmark | None:
        """None: equal weight of the same names."""
        return None
