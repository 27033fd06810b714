"""Each row rule finds its fault, and spares what is real."""

from __future__ import annotations

import numpy as np
import pytest

from hedgefund_core.quant.bar_rules import BarColumns, check_rows, unit_breaks

START = np.datetime64("2020-01-01")


def bars(close, *, symbols=1, tick=None, is_session=None, source_row=None, session=None, today="2100-01-01", **fields):
    close = np.asarray(close, dtype=float)
    per = len(close) // symbols
    days = np.tile(START + np.arange(per), symbols) if session is None else np.array(session, dtype="datetime64[D]")
    return BarColumns(
        symbol=np.repeat([f"S{i}" for i in range(symbols)], per),
        session=days,
        fields={"close": close, **{name: np.asarray(values, dtype=float) for name, values in fields.items()}},
        raw=np.full(len(close), "file"),
        source_row=np.tile(np.arange(1, per + 1), symbols) if source_row is None else np.array(source_row),
        is_session=np.ones(len(close), dtype=bool) if is_session is None else np.array(is_session),
        today=np.datetime64(today),
        tick=tick,
    )


def walk(n, seed, scale=0.01):
    return 100.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0, scale, n)))


def rules_of(findings):
    return [(f.rule, f.row, f.severity) for f in findings]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -3.0])
def test_a_close_that_is_no_price_is_held(bad):
    close = walk(30, 1)
    close[7] = bad
    assert ("price_not_positive", 7, "error") in rules_of(check_rows(bars(close)))


def test_absent_fields_other_than_close_are_no_fault():
    close = walk(30, 2)
    assert check_rows(bars(close, open=np.full(30, np.nan), volume=np.full(30, np.nan))) == []


def test_negative_volume_is_held_and_zero_volume_is_not():
    close, volume = walk(30, 2), np.full(30, 5.0)
    volume[3], volume[4] = -1.0, 0.0
    assert rules_of(check_rows(bars(close, volume=volume))) == [("price_not_positive", 3, "error")]


def test_high_below_low_and_close_outside_the_range():
    close = walk(30, 3)
    high, low = close * 1.01, close * 0.99
    high[4], low[4] = low[4], high[4]
    high[9] = close[9] * 0.995
    assert rules_of(check_rows(bars(close, high=high, low=low))) == [("high_below_low", 4, "error"), ("close_outside_range", 9, "error")]


def test_an_open_outside_the_range_is_noted_only():
    close = walk(30, 3)
    opened = close.copy()
    opened[5] = close[5] * 1.5
    findings = rules_of(check_rows(bars(close, open=opened, high=close * 1.01, low=close * 0.99)))
    assert findings == [("open_outside_range", 5, "warning")]


def test_an_equal_duplicate_keeps_one_row_and_contradicting_ones_keep_none():
    session = START + np.array([0, 1, 1, 2, 3, 3])
    findings = rules_of(check_rows(bars([1.0, 2.0, 2.0, 2.1, 3.0, 3.1], session=session)))
    assert findings == [("duplicate", 2, "error"), ("duplicate", 4, "error"), ("duplicate", 5, "error")]


def test_rows_out_of_order_are_noted_but_a_descending_file_is_not():
    close = walk(12, 4)
    shuffled = [1, 2, 3, 5, 4, 6, 7, 8, 9, 10, 11, 12]
    assert [f[0] for f in rules_of(check_rows(bars(close, source_row=shuffled)))] == ["out_of_order"]
    assert check_rows(bars(close, source_row=list(range(12, 0, -1)))) == []


def test_no_session_and_the_future_are_held():
    close = walk(12, 5)
    known = np.ones(12, dtype=bool)
    known[3] = False
    findings = rules_of(check_rows(bars(close, is_session=known, today=str(START + 10))))
    assert findings == [("unknown_session", 3, "error"), ("future_date", 11, "error")]


def test_cents_for_dollars_is_a_fault_of_the_table():
    close = walk(60, 7)
    assert unit_breaks(bars(close)) == []
    close[30:] *= 100.0
    assert unit_breaks(bars(close)) == [f"S0 changes scale at {START + 30}"]


def test_no_rows_no_findings():
    assert check_rows(bars([])) == []
