"""Stated factors, applied as of any date: equal to the vendor's own, and a later split changes nothing that was computed before."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from hedgefund_core.quant.adjustment import StatedFactors, adjusted, scale_as_of
from hedgefund_core.quant.bars import Panel, PriceKind
from hedgefund_core.quant.features import FEATURES

SESSIONS = np.arange("2020-01-01", "2020-01-11", dtype="datetime64[D]")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def cumulative() -> StatedFactors:
    """A dividend of a tenth after the 3rd, a 4:1 split after the 6th, and the sentinel far away."""
    return StatedFactors(
        through=np.array(["2020-01-03", "2020-01-06", "2050-12-31"], dtype="datetime64[D]"),
        price_factor=np.array([0.9, 1.0, 1.0]),
        split_factor=np.array([0.25, 0.25, 1.0]),
        cumulative=True,
    )


def test_all_events_give_the_vendors_own_factors():
    scale = scale_as_of(cumulative(), SESSIONS, SESSIONS[-1], dividends=True)
    assert scale == pytest.approx([0.225] * 3 + [0.25] * 3 + [1.0] * 4)
    assert scale_as_of(cumulative(), SESSIONS, SESSIONS[-1], dividends=False) == pytest.approx([0.25] * 6 + [1.0] * 4)


def test_an_event_after_the_date_does_not_exist_yet():
    scale = scale_as_of(cumulative(), SESSIONS, np.datetime64("2020-01-06"), dividends=True)
    assert scale == pytest.approx([0.9] * 3 + [1.0] * 7)
    assert (scale_as_of(cumulative(), SESSIONS, np.datetime64("2020-01-03"), dividends=True) == 1.0).all()


def test_factors_of_single_events_compound_to_the_same():
    single = StatedFactors(
        through=cumulative().through[:2], price_factor=np.array([0.9, 1.0]), split_factor=np.array([1.0, 0.25]), cumulative=False
    )
    for day in SESSIONS:
        assert scale_as_of(single, SESSIONS, day, dividends=True) == pytest.approx(scale_as_of(cumulative(), SESSIONS, day, dividends=True))


def panel(close: np.ndarray, splits: np.ndarray) -> Panel:
    return Panel(
        sessions=np.arange("2018-01-01", len(close), dtype="datetime64[D]"),
        symbols=("A", "B", "C"),
        price_kind=PriceKind.RAW,
        close=close,
        open=close * 0.99,
        high=close * 1.02,
        low=close * 0.98,
        volume=np.full(close.shape, 1e6),
        split_ratios=splits,
    )


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_a_later_split_changes_no_feature_of_before(name):
    close = 50 * np.cumprod(1 + np.random.default_rng(5).normal(0, 0.02, (400, 3)), axis=0)
    none, split = np.ones_like(close), np.ones_like(close)
    split[380, 1] = 4.0
    later = close.copy()
    later[380:, 1] /= 4.0
    spec = FEATURES[name].spec()
    day = panel(close, none).sessions[370]
    before = FEATURES[name].values(adjusted(panel(close, none), day), spec.params)[-1]
    after = FEATURES[name].values(adjusted(panel(later, split), day), spec.params)[-1]
    assert before.tobytes() == after.tobytes(), "as of the day the split does not exist"
    known = replace(panel(later, split))
    whole = FEATURES[name].values(adjusted(known, known.sessions[-1]), spec.params)[370]
    assert whole == pytest.approx(before, rel=1e-9, nan_ok=True), "and adjusting by it scales prices, not features"


@pytest.mark.parametrize("symbol", ["AAPL"] if (SHARED / "lean_factor_files.csv.gz").exists() else [])
def test_real_factors_undo_a_real_split(symbol):
    import pandas as pd

    stated = pd.read_csv(SHARED / "lean_factor_files.csv.gz")
    stated = stated[stated["symbol"] == symbol].sort_values("date")
    bars = pd.read_parquet(SHARED / "lean_us_daily.parquet")
    bars = bars[bars["symbol"] == symbol].sort_values("date")
    sessions = bars["date"].to_numpy().astype("datetime64[D]")
    factors = StatedFactors(
        through=np.array([date.fromisoformat(str(day)) for day in stated["date"]], dtype="datetime64[D]"),
        price_factor=stated["price_factor"].to_numpy(),
        split_factor=stated["split_factor"].to_numpy(),
        cumulative=True,
    )
    place = int(np.searchsorted(sessions, np.datetime64("2014-06-09")))
    raw, close = bars["close"].to_numpy(), bars["close"].to_numpy() * scale_as_of(factors, sessions, sessions[-1], dividends=False)
    assert raw[place] / raw[place - 1] == pytest.approx(1 / 7, rel=0.05)
    assert close[place] / close[place - 1] == pytest.approx(1.0, rel=0.05)
    assert (scale_as_of(factors, sessions, sessions[place - 1], dividends=False)[place - 5 : place] == 1.0).all()
