"""Clean bars to plant defects into, and the planting."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hedgefund_core.quant.bars import Panel, PriceKind
from hedgefund_core.quant.defects.rows import panel_of_rows
from hedgefund_dagster.sources.bundled_ohlcv import BundledOhlcv

FIELDS = ("open", "high", "low", "close", "volume")
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared(*names):
    """Files of the shared data folder that are there: tests are parametrized over them."""
    return [path for path in (SHARED_DATA / name for name in names) if path.exists()]


def clean_walk(seed=1, sessions=500, symbols=40):
    """A market with fat tails, overnight gaps, ranges, volume that follows moves, and prices in cents."""
    rng = np.random.default_rng(seed)
    shape = (sessions, symbols)
    market = 0.007 * rng.standard_t(4, sessions)
    own = rng.uniform(0.008, 0.025, symbols)
    moves = market[:, None] + own * rng.standard_t(4, shape) / 1.41
    close = np.cumsum(moves, axis=0) + np.log(rng.uniform(12.0, 300.0, symbols))
    before = np.vstack([close[0] - moves[0], close[:-1]])
    opened = before + 0.4 * moves + 0.003 * rng.standard_normal(shape)
    top, bottom = np.maximum(opened, close), np.minimum(opened, close)
    high = top + np.abs(0.5 * own * rng.standard_normal(shape))
    low = bottom - np.abs(0.5 * own * rng.standard_normal(shape))
    steady = rng.uniform(12.0, 17.0, symbols) + 0.3 * rng.standard_normal(shape) + 0.2 * rng.standard_normal(sessions)[:, None]
    prices = {name: np.round(np.exp(values), 2) for name, values in (("open", opened), ("high", high), ("low", low), ("close", close))}
    days = np.datetime64("2010-01-04") + np.arange(sessions) + 2 * (np.arange(sessions) // 5)
    return Panel(
        sessions=days.astype("datetime64[D]"),
        symbols=tuple(f"W{number:03d}" for number in range(symbols)),
        price_kind=PriceKind.SPLIT_ADJUSTED,
        volume=np.round(np.exp(steady + 6.0 * np.abs(moves))),
        tick=0.01,
        source="walk",
        **prices,
    )


def real_bars():
    """The five raw OHLCV stocks of the bundled source, as a panel."""
    source = BundledOhlcv()
    payload = source.fetch(datetime(2020, 1, 1, tzinfo=UTC))[0]
    rows = source.bars({payload.dataset: payload})
    return panel_of_rows(rows.symbol, rows.session, rows.fields, price_kind=PriceKind.RAW, tick=0.01)


def changed(panel, **fields):
    """The panel with fields replaced."""
    return replace(panel, **fields)


def copies_of(panel):
    """Writable arrays of the fields."""
    return {name: getattr(panel, name).copy() for name in FIELDS}


def cells(panel, count, seed=5, *, margin=80):
    """Places to plant: apart from each other and from the ends, where bars are present all around."""
    rng = np.random.default_rng(seed)
    present = np.isfinite(panel.close)
    found = []
    taken = np.zeros(panel.shape, dtype=bool)
    while len(found) < count:
        row, column = int(rng.integers(margin, panel.shape[0] - 20)), int(rng.integers(panel.shape[1]))
        if present[row - margin : row + 20, column].all() and not taken[row - 15 : row + 16, column].any():
            taken[row, column] = True
            found.append((row, column))
    return found
