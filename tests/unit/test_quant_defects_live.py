"""Two hundred defects of every kind in a market of 500 names: the live path says of them what the batch says, word for word."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bar_rules import BarColumns
from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.quant.defects import RING_ROWS, find_defects
from hedgefund_core.quant.defects.live import CAPACITY, LiveRules
from hedgefund_core.quant.defects.live_rows import LiveValidation, told
from hedgefund_core.quant.defects.rows import check_bars, panel_of_rows, usable_rows
from hedgefund_core.quant.panel_build import action_grids
from tests.defect_builders import FIELDS, cells, clean_walk
from tests.defect_kinds import KINDS, planted_everywhere

SESSIONS, NAMES, FIRST = 440, 500, 330


@functools.cache
def spoilt():
    """Rows of a raw market with 200 defects at sessions 330 and later, its stated actions, and where what was planted."""
    return planted_everywhere(clean_walk(7, sessions=SESSIONS, symbols=NAMES), first=FIRST)


def columns_of(rows, mask, today):
    """The rows a mask chooses, as validation gets them."""
    chosen = np.flatnonzero(mask)
    chosen = chosen[np.lexsort((rows["source_row"][chosen], rows["session"][chosen], rows["symbol"][chosen]))]
    return BarColumns(
        symbol=rows["symbol"][chosen],
        session=rows["session"][chosen],
        fields={name: rows[name][chosen] for name in FIELDS},
        raw=np.full(len(chosen), "file"),
        source_row=rows["source_row"][chosen],
        is_session=np.is_busday(rows["session"][chosen]),
        today=today,
        tick=0.01,
    )


def as_words(items):
    return sorted(repr(item) for item in items)


@functools.cache
def both():
    """Findings of the batch, and those of the live path session by session."""
    made = spoilt()
    rows, actions, first, today, planted = made.rows, made.actions, made.first, made.today, made.defects
    whole = columns_of(rows, np.ones(len(rows["symbol"]), dtype=bool), today)
    batch = [told(item, whole) for item in check_bars(whole, PriceKind.RAW, actions=actions)]
    days = np.unique(rows["session"])
    kept = usable_rows(whole)
    chosen = {name: values[kept] for name, values in whole.fields.items()}
    panel = panel_of_rows(whole.symbol[kept], whole.session[kept], chosen, price_kind=PriceKind.RAW, tick=0.01)
    history = panel.until(first - 1)  # with the columns of those that come later
    _, splits = action_grids(actions, days, np.array(history.symbols))
    earlier = np.isin(days, history.sessions)
    live = LiveValidation(replace(history, split_ratios=splits[earlier]))
    found = []
    for place in np.flatnonzero(days >= first):
        today_rows = columns_of(rows, rows["session"] == days[place], today)
        found.extend(live.update(today_rows, splits=splits[place]))
    return batch, found, planted, first


def test_live_and_batch_raise_the_identical_set_of_findings():
    batch, live, planted, first = both()
    assert len(planted) == 200
    assert {kind for kind, _ in planted} == set(KINDS)
    assert as_words(live) == as_words(item for item in batch if item.known_session >= first)


def test_every_planted_kind_is_found_and_hardly_anything_else():
    _, live, planted, _ = both()
    found = {(item.symbol, item.session) for item in live}
    caught = Counter(kind for kind, places in planted if places & found)
    asked = Counter(kind for kind, _ in planted)
    assert {kind: (caught[kind], count) for kind, count in asked.items() if caught[kind] < 0.75 * count} == {}
    assert sum(caught.values()) >= 190
    places = {place for _, cells_of in planted for place in cells_of}
    assert len(found - places) <= 0.1 * len(planted)
    rules = {item.rule for item in live}
    assert len(rules) >= 20


def test_every_finding_names_instrument_time_rule_severity_reason_and_evidence():
    batch, _, _, _ = both()
    for item in batch:
        assert item.symbol
        assert item.known_session >= item.session
        assert item.rule
        assert item.severity in {"error", "warning"}
        assert item.reason
        assert item.evidence or item.rule in {
            "price_not_positive",
            "high_below_low",
            "close_outside_range",
            "open_outside_range",
            "duplicate",
            "unknown_session",
            "future_date",
        }, "a row rule's evidence is its value"


def test_the_ring_goes_on_when_its_buffers_are_full():
    panel = clean_walk(5, sessions=CAPACITY + 130, symbols=30)
    fields = {name: getattr(panel, name).copy() for name in FIELDS}
    for row, column in cells(panel, 60, margin=60):
        fields["close"][row, column] *= 1.6
    panel = replace(panel, **fields)
    live, found = LiveRules(panel.rows(0, 0)), []
    for row in range(panel.shape[0]):
        found.extend(live.update(panel.rows(row, row + 1)))
    assert CAPACITY > RING_ROWS
    expected = [(i.symbol, i.session, i.known_session, i.rule, i.reason, i.evidence) for i in find_defects(panel)]
    assert sorted(expected) == sorted((i.symbol, i.session, i.known_session, i.rule, i.reason, i.evidence) for i in found)
    assert len(expected) > 50


def test_sessions_out_of_order_and_strangers_are_refused():
    panel = clean_walk(5, sessions=60, symbols=5)
    live = LiveRules(panel.rows(0, 50))
    with pytest.raises(DataInvalid, match="not later than"):
        live.update(panel.rows(49, 50))
    with pytest.raises(DataInvalid, match="not one session"):
        live.update(panel.rows(50, 52))
    with pytest.raises(DataInvalid, match="not one session"):
        live.update(replace(panel.rows(50, 51), symbols=tuple("VWXYZ")))
    rows = BarColumns(
        symbol=np.array(["STRANGER"]),
        session=panel.sessions[50:51],
        fields={name: np.array([10.0]) for name in FIELDS},
        raw=np.array(["file"]),
        source_row=np.array([1]),
        is_session=np.array([True]),
        today=panel.sessions[-1],
        tick=0.01,
    )
    with pytest.raises(DataInvalid, match="unknown symbol STRANGER"):
        LiveValidation(panel.rows(0, 50)).update(rows)


def test_a_source_of_closes_only_has_its_live_rules_too():
    panel = clean_walk(6, sessions=120, symbols=20)
    close = panel.close.copy()
    close[90, 3] *= 1.7
    close[100:112, 4] = close[100, 4]
    panel = replace(panel, close=close, open=None, high=None, low=None, volume=None)
    live, found = LiveRules(panel.rows(0, 80)), []
    for row in range(80, 120):
        found.extend(live.update(panel.rows(row, row + 1)))
    assert [(item.rule, item.symbol, item.session) for item in sorted(found)] == [
        ("spike", "W003", panel.sessions[90]),
        ("stale", "W004", panel.sessions[109]),
    ]
