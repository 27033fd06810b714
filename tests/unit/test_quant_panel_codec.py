"""A panel survives its bytes, and the bytes are its version."""

from __future__ import annotations

import numpy as np
import pytest

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.quant.panel_build import (
    BenchmarkLevel,
    LongActions,
    LongBars,
    PanelFacts,
    build_panel,
    equal_weight_level,
    with_benchmark,
)
from hedgefund_core.quant.panel_codec import data_version, pack_panel, unpack_panel

DAYS = np.array(["2020-01-02", "2020-01-03", "2020-01-06"], dtype="datetime64[D]")
FACTS = PanelFacts(source="memory", price_kind=PriceKind.RAW, currency="USD", tick=0.01, sessions_per_year=252.0)


def long_bars(symbols=("B", "B", "A", "A", "A"), days=(0, 2, 0, 1, 2), close=(1.0, 2.0, 3.0, 4.0, 5.0), volume=None):
    session = DAYS[list(days)]
    closes = session.astype("datetime64[us]") + np.timedelta64(21, "h")
    fields = {"close": np.array(close), "volume": np.full(len(close), np.nan) if volume is None else np.array(volume)}
    return LongBars(symbol=np.array(symbols), session=session, close_at=closes, known_at=closes + np.timedelta64(15, "m"), fields=fields)


def panel():
    actions = LongActions(symbol=np.array(["A", "Z"]), session=DAYS[[1, 1]], kind=np.array(["split", "split"]), value=np.array([2.0, 3.0]))
    return build_panel(long_bars(), FACTS, actions=actions)


def test_rows_are_pivoted_absent_is_nan_and_an_empty_field_is_none():
    built = panel()
    assert built.symbols == ("A", "B")
    assert np.array_equal(built.close, [[3.0, 1.0], [4.0, np.nan], [5.0, 2.0]], equal_nan=True)
    assert built.volume is None
    assert built.open is None
    assert np.array_equal(built.split_ratios, [[1, 1], [2, 1], [1, 1]])
    assert built.dividends is None, "unknown dividends are not zero"
    assert built.known_at is not None
    assert built.close_at is not None
    assert (built.known_at - built.close_at == np.timedelta64(15, "m")).all()


def test_bytes_are_stable_and_restore_the_panel():
    built = with_benchmark(panel(), BenchmarkLevel(name="index", session=DAYS[:2], level=np.array([10.0, 11.0])))
    content = pack_panel(built)
    assert content == pack_panel(built)
    again = unpack_panel(content)
    assert again.data_version == data_version(content)
    assert np.array_equal(again.close, built.close, equal_nan=True)
    assert np.array_equal(again.benchmark, [10.0, 11.0, np.nan], equal_nan=True)
    assert (again.benchmark_name, again.price_kind, again.tick, again.source) == ("index", PriceKind.RAW, 0.01, "memory")
    assert pack_panel(again) == content, "the version is of the content, not of itself"


def test_damaged_bytes_are_refused():
    content = pack_panel(panel())
    for broken in (content[:40], b"", b"nonsense"):
        with pytest.raises(DataInvalid):
            unpack_panel(broken)


def test_a_key_twice_and_no_rows_are_refused():
    with pytest.raises(DataInvalid, match="twice"):
        build_panel(long_bars(symbols=("A", "A", "A", "A", "A"), days=(0, 0, 1, 1, 2)), FACTS)
    with pytest.raises(DataInvalid, match="no valid bar"):
        build_panel(long_bars(symbols=(), days=(), close=()), FACTS)


def test_equal_weight_counts_only_names_with_a_return():
    level = equal_weight_level(np.array([[10.0, np.nan], [11.0, 5.0], [11.0, 6.0], [np.nan, np.nan]]))
    assert level == pytest.approx([100.0, 110.0, 121.0, 121.0])
