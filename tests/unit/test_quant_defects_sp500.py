"""The detectors on five years of the S&P 500 with real defects (the shared data folder, where it is there)."""

from __future__ import annotations

import functools
import time
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest

from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.quant.defects import RING_ROWS, find_defects, live_findings
from hedgefund_core.quant.defects.rows import panel_of_rows
from hedgefund_core.quant.defects.sources import find_disagreements
from tests.defect_builders import FIELDS, shared

FILES = shared("sp500_daily_2013_2018.parquet")
PAIRS = [(bars, other) for bars in FILES for other in shared("stocknet_prices_2012_2017.parquet")]


@functools.cache
def panel_of(path):
    rows = pq.read_table(path, columns=["symbol", "date", *FIELDS])
    days = np.array(rows.column("date").to_numpy(), dtype="datetime64[D]")
    fields = {name: rows.column(name).to_numpy().astype(float) for name in FIELDS}
    symbols = np.array(rows.column("symbol").to_pylist())
    return panel_of_rows(symbols, days, fields, price_kind=PriceKind.SPLIT_ADJUSTED, tick=0.01)


@functools.cache
def found_in(path):
    panel = panel_of(path)
    started = time.perf_counter()
    found = find_defects(panel)
    return found, time.perf_counter() - started


def held_rows(found):
    return {(item.row, item.column) for item in found if item.severity == "error"}


@pytest.mark.parametrize("path", FILES)
def test_totals_of_the_quarantine(path):
    found, seconds = found_in(path)
    held, rules = held_rows(found), Counter(item.rule for item in found if item.severity == "error")
    assert int(np.isfinite(panel_of(path).close).sum()) == 619_040
    assert 900 <= len(held) <= 1_000
    assert rules["misdated"] >= 900
    assert rules["missing_price"] == 11
    assert rules["range_contradicts"] == 9
    assert seconds < 10.0


@pytest.mark.parametrize("path", FILES)
def test_large_moves_survive_unless_their_bar_or_the_one_before_is_proven_wrong(path):
    panel, (found, _) = panel_of(path), found_in(path)
    held = held_rows(found)
    proven = {(i.row, i.column) for i in found if i.severity == "error" and i.rule in {"misdated", "range_contradicts", "ticker_reuse"}}
    moves = np.abs(np.diff(np.log(panel.close), axis=0))
    order = [divmod(int(place), panel.shape[1]) for place in np.argsort(-np.nan_to_num(moves), axis=None)[:700]]
    real = [(row + 1, column) for row, column in order if not {(row, column), (row + 1, column)} & proven][:500]
    assert sum(cell not in held for cell in real) >= 0.98 * len(real)


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("day", ["2014-08-04", "2014-11-12", "2015-08-24", "2016-05-20", "2017-12-19"])
def test_live_findings_equal_those_of_the_history(path, day):
    panel, (found, _) = panel_of(path), found_in(path)
    row = int(np.searchsorted(panel.sessions, np.datetime64(day)))
    live = live_findings(panel.rows(max(0, row - RING_ROWS), row), panel.rows(row, row + 1))
    assert [(i.symbol, i.session, i.rule, i.severity, i.reason, i.evidence) for i in live] == [
        (i.symbol, i.session, i.rule, i.severity, i.reason, i.evidence) for i in found if i.known_row == row
    ]


@pytest.mark.parametrize(("path", "other"), PAIRS)
def test_an_independent_source_agrees_with_the_quarantine(path, other):
    panel, independent = panel_of(path), panel_of(other)
    found, _ = found_in(path)
    differ = [item for item in find_disagreements(panel, independent) if "close" in dict(item.evidence)]
    noted = {(item.row, item.column) for item in found}
    assert len(differ) >= 70
    assert sum((item.row, item.column) in noted for item in differ) >= 0.93 * len(differ)
