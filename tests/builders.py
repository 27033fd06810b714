"""Shared builders of test data. Append functions; do not change those of others."""

from __future__ import annotations

import gzip
import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np

from hedgefund_core.quant.bars import Panel, PriceKind


def noisy_panel(  # a random walk with opens, ranges, volumes, two splits and optional holes
    seed: int = 7,
    n_sessions: int = 320,
    n_symbols: int = 4,
    price_kind: PriceKind = PriceKind.RAW,
    hole_share: float = 0.0,
) -> Panel:
    rng = np.random.default_rng(seed)
    shape = (n_sessions, n_symbols)
    growth = 1.0 + 0.0003 + 0.012 * rng.standard_normal(shape)
    splits = np.ones(shape)
    if price_kind is PriceKind.RAW:
        splits[n_sessions // 2, 0] = 2.0
        splits[n_sessions - 5, -1] = 1.5
    close = 50.0 * np.cumprod(growth / splits, axis=0)
    opened = close * (1.0 + 0.003 * rng.standard_normal(shape))
    high = np.maximum(opened, close) * (1.0 + 0.004 * rng.random(shape))
    low = np.minimum(opened, close) * (1.0 - 0.004 * rng.random(shape))
    volume = np.round(1e6 * (0.5 + rng.random(shape)))
    fields = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
    holes = rng.random(shape) < hole_share
    sessions = np.datetime64("2001-01-01") + np.arange(n_sessions) + 2 * (np.arange(n_sessions) // 5)  # Monday to Friday
    return Panel(
        sessions=sessions.astype("datetime64[D]"),
        symbols=tuple(f"S{column}" for column in range(n_symbols)),
        price_kind=price_kind,
        split_ratios=splits,
        source="noise",
        **{name: np.where(holes, np.nan, values) for name, values in fields.items()},
    )


def close_only(panel: Panel) -> Panel:
    return replace(panel, open=None, high=None, low=None, volume=None, split_ratios=None, price_kind=PriceKind.TOTAL_RETURN)


def skfolio_panel(last_sessions: int | None = None) -> Panel | None:
    """The real closes shipped with skfolio, read without importing it; None where the package is not installed."""
    found = importlib.util.find_spec("skfolio")
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / "datasets" / "data" / "sp500_dataset.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        header, *lines = file.read().splitlines()
    cells = [line.split(",") for line in lines][-(last_sessions or 0) :]
    return Panel(
        sessions=np.array([row[0] for row in cells], dtype="datetime64[D]"),
        symbols=tuple(header.split(",")[1:]),
        price_kind=PriceKind.TOTAL_RETURN,
        close=np.array([[float(cell) if cell else np.nan for cell in row[1:]] for row in cells]),
        source="bundled_sp500",
    )
