"""Features of the live path: what one new bar of every name costs, beside pandas computing its newest row anew."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from hedgefund_core.quant.bars import Panel
from hedgefund_core.quant.features import FEATURES, FeatureStream, compute_features
from tests.benchmark.names import ROUNDS, panel_of_names
from tests.benchmark.row import Row, seconds

PANDAS_ROUNDS = 3
GOAL_MS = 2.0
COUNT = 20
LONGEST = 253
"""Rows of a year's window and one more: what the stream is warmed up with."""


def measure(_folder: Path) -> Iterator[Row]:
    """All rows of the area."""
    panel = panel_of_names()
    names = [name for name, feature in FEATURES.items() if feature.spec().warm_up <= LONGEST][:COUNT]
    start = panel.shape[0] - ROUNDS
    stream = FeatureStream.from_panel(names, panel.rows(start - LONGEST, start))
    bars = [panel.rows(row, row + 1) for row in range(start, panel.shape[0])]
    taken = [seconds(lambda bar=bar: stream.update(bar)) * 1000 for bar in bars]  # type: ignore[misc]
    anew = statistics.median(
        seconds(lambda: recomputed(panel.rows(panel.shape[0] - LONGEST, panel.shape[0]))) for _ in range(PANDAS_ROUNDS)
    )
    batch = compute_features(panel.rows(panel.shape[0] - LONGEST - 1, panel.shape[0]), names).values[-1]
    p99, p50 = float(np.percentile(taken, 99)), statistics.median(taken)
    known = np.isfinite(batch)
    apart = float(np.abs(stream.latest() - batch)[known].max())
    yield Row(
        name=f"one new bar of {panel.shape[1]} names to {len(names)} features, p99",
        ours=p99,
        unit="ms",
        goal=f"at most {GOAL_MS:g} ms, equal to batch within 1e-9",
        met=p99 <= GOAL_MS and apart <= 1e-9,
        peer="pandas, as many indicators over the same window anew",
        theirs=anew * 1000,
        ratio=anew * 1000 / p50,
        note=f"p50 {p50:.2f} ms, to which the ratio is; farthest from the batch {apart:g}; finite windows, no running sums",
    )


def recomputed(panel: Panel) -> list[pd.Series]:
    """Twenty indicators of the same kinds and windows in wide pandas; of each the newest row."""
    close, volume = pd.DataFrame(panel.close), pd.DataFrame(panel.volume)
    high, low, opened = pd.DataFrame(panel.high), pd.DataFrame(panel.low), pd.DataFrame(panel.open)
    moves = close.pct_change()
    market = moves.mean(axis=1)
    gain, loss = (part.ewm(alpha=1 / 14, adjust=False).mean() for part in (moves.clip(lower=0.0), -moves.clip(upper=0.0)))
    line = close.ewm(span=12).mean() - close.ewm(span=26).mean()
    tables = [
        *(close.shift(21) / close.shift(lag) - 1.0 for lag in (252, 126, 63)),
        *(-close.pct_change(lag) for lag in (5, 21)),
        *(moves.rolling(window).std() for window in (21, 63)),
        moves.clip(upper=0.0).pow(2).rolling(63).mean().pow(0.5),
        1.0 - close / close.rolling(252).max(),
        moves.rolling(252).cov(market).div(market.rolling(252).var(), axis=0),
        moves.rolling(63).corr(market),
        100.0 * gain / (gain + loss),
        (line - line.ewm(span=9).mean()) / close,
        (close - close.rolling(20).mean()) / close.rolling(20).std(),
        close / close.rolling(252).max() - 1.0,
        moves.rolling(63).skew(),
        moves.rolling(21).max(),
        (moves.abs() / (close * volume)).rolling(21).mean(),
        (opened / close.shift(1) - 1.0).rolling(21).mean(),
        (high / low).apply(np.log).pow(2).rolling(21).mean().pow(0.5),
    ]
    return [table.iloc[-1] for table in tables]
