"""Every detector finds what is planted, in made-up and in real prices, and says nothing about what is clean or real."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bar_rules import BarColumns
from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.quant.defects import DETECTORS, RING_ROWS, find_defects, live_findings
from hedgefund_core.quant.defects.jumps import Cause, explain_jumps, jump_scores
from hedgefund_core.quant.defects.rows import check_bars
from hedgefund_core.quant.defects.sources import find_disagreements
from tests.defect_builders import FIELDS, cells, changed, clean_walk, copies_of, real_bars

PRICES = ("open", "high", "low", "close")
PLANTED = 24


@functools.cache
def base(name):
    return clean_walk() if name == "walk" else real_bars()


@functools.cache
def clean_errors(name):
    return frozenset((item.row, item.column) for item in find_defects(base(name)) if item.severity == "error")


def held(panel):
    return {(item.row, item.column) for item in find_defects(panel) if item.severity == "error"}


def scaled(fields, cell, factor, names=PRICES):
    for name in names:
        fields[name][cell] *= factor


def plant_level(fields, cell, number):
    scaled(fields, cell, (0.5, 2.0, 1.45, 100.0)[number % 4])


def plant_half_close(fields, cell, number):
    fields["close"][cell] *= 0.5


def plant_late_open(fields, cell, number):
    fields["open"][cell] *= (0.55, 1.9)[number % 2]


def plant_wide_open(fields, cell, number):  # a feed that widens high and low with the bad open
    fields["open"][cell] *= (0.5, 2.1)[number % 2]
    fields["high"][cell] = max(fields["high"][cell], fields["open"][cell])
    fields["low"][cell] = min(fields["low"][cell], fields["open"][cell])


def plant_zero_open(fields, cell, number):
    fields[("open", "high", "low")[number % 3]][cell] = 0.0


def plant_no_open(fields, cell, number):
    fields["open"][cell] = np.nan


def plant_absurd_low(fields, cell, number):
    fields["low"][cell] *= 0.2


def plant_absurd_high(fields, cell, number):
    fields["high"][cell] *= 5.0


def plant_inverted(fields, cell, number):
    fields["high"][cell], fields["low"][cell] = fields["low"][cell] * 0.99, fields["high"][cell] * 1.01


def plant_no_volume(fields, cell, number):
    fields["volume"][cell] = 0.0


def plant_thin(fields, cell, number):
    fields["volume"][cell] = np.ceil(0.02 * fields["volume"][cell])


HELD = {
    "a level error": (plant_level, 0.95),
    "half a close": (plant_half_close, 1.0),
    "an open outside the range": (plant_late_open, 1.0),
    "an open that widens the range": (plant_wide_open, 0.9),
    "a zero price": (plant_zero_open, 1.0),
    "no open": (plant_no_open, 1.0),
    "an absurd low": (plant_absurd_low, 0.95),
    "an absurd high": (plant_absurd_high, 0.95),
    "high under low": (plant_inverted, 1.0),
    "no volume": (plant_no_volume, 0.9),
    "a sliver of volume": (plant_thin, 0.9),
}


@pytest.mark.parametrize("name", ["walk", "real"])
@pytest.mark.parametrize("kind", HELD)
def test_a_planted_row_is_held_and_no_other(kind, name):
    panel = base(name)
    plant, least = HELD[kind]
    fields, places = copies_of(panel), cells(panel, PLANTED)
    for number, cell in enumerate(places):
        plant(fields, cell, number)
    found = held(changed(panel, **fields))
    assert len(found & set(places)) >= least * PLANTED
    assert not found - set(places) - clean_errors(name)


def carry(fields, cell, source, names=FIELDS):
    for name in names:
        fields[name][cell] = fields[name][source]


@pytest.mark.parametrize("name", ["walk", "real"])
@pytest.mark.parametrize("lag", [1, 2, 5, 10])
def test_a_later_bar_on_an_earlier_day_is_held(lag, name):
    panel = base(name)
    fields, places = copies_of(panel), cells(panel, PLANTED)
    for row, column in places:
        carry(fields, (row, column), (row + lag, column))
    found = held(changed(panel, **fields))
    twins = {(row + lag, column) for row, column in places}
    assert len(found & set(places)) >= 0.9 * PLANTED, "look-ahead inside the data"
    assert not found - set(places) - twins - clean_errors(name)


def test_the_same_pair_of_dates_in_many_symbols_settles_which_day_is_wrong():
    panel = base("walk")
    later, stale = copies_of(panel), copies_of(panel)
    row, some = 200, range(0, 40, 2)
    for column in some:
        carry(later, (row, column), (row + 1, column))
        carry(stale, (row + 1, column), (row, column))
    assert held(changed(panel, **later)) == {(row, column) for column in some}
    assert held(changed(panel, **stale)) == {(row + 1, column) for column in some}


def test_a_provisional_bar_of_another_day_is_held_although_its_volume_differs():
    panel = base("walk")
    fields = copies_of(panel)
    for column in range(12):
        carry(fields, (300, column), (309, column))
        fields["volume"][300, column] = np.floor(0.97 * fields["volume"][309, column])
    found = find_defects(changed(panel, **fields))
    assert {(item.row, item.column) for item in found if item.rule == "misdated"} == {(300, column) for column in range(12)}
    assert sum(item.severity == "error" for item in found) >= 9, "those that move the price"


@pytest.mark.parametrize("name", ["walk", "real"])
def test_a_stale_repeat_is_held(name):
    panel = base(name)
    fields, places = copies_of(panel), cells(panel, PLANTED)
    for row, column in places:
        carry(fields, (row, column), (row - 1, column))
        carry(fields, (row + 1, column), (row - 1, column))
    found = held(changed(panel, **fields))
    repeats = {(row + more, column) for row, column in places for more in (0, 1)}
    originals = {(row - 1, column) for row, column in places}
    assert len(found & repeats) >= 0.85 * len(repeats)
    assert not found - repeats - originals - clean_errors(name)


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_clean_bars_raise_nothing(seed):
    assert find_defects(clean_walk(seed, sessions=700, symbols=50)) == []


def test_real_bars_are_kept():
    panel = base("real")
    assert find_defects(panel) == []
    assert int(np.isfinite(panel.close).sum()) > 12_000


def gap_from(fields, cell, factor, *, volume=1.0):
    row, column = cell
    for name in PRICES:
        fields[name][row:, column] *= factor
    fields["volume"][row, column] *= volume


def rules_at(panel, places):
    found = find_defects(panel)
    return {cell: {item.rule for item in found if (item.row, item.column) == cell} for cell in places}, found


def test_a_crash_a_rise_and_a_flash_crash_of_the_whole_market_survive():
    panel = base("walk")
    fields, places = copies_of(panel), cells(panel, PLANTED)
    for number, cell in enumerate(places):
        gap_from(fields, cell, (0.7, 1.35, 0.85)[number % 3], volume=8.0)
    flash = 250
    fields["low"][flash] *= 0.8
    found = find_defects(changed(panel, **fields))
    assert [item for item in found if item.severity == "error"] == []


def test_a_spin_off_is_told_from_a_crash_and_a_split_from_both():
    panel = base("walk")
    places = cells(panel, 18)
    fields = copies_of(panel)
    for number, (row, column) in enumerate(places):
        for name in ("open", "high", "low", "close"):
            fields[name][row:, column] *= (0.8, 0.5, 0.8)[number % 3]
        if number % 3 == 2:  # the crash trades: ten times the volume, down and half back
            fields["volume"][row, column] *= 10
            fields["low"][row, column] *= 0.9
    rules, found = rules_at(changed(panel, **fields), places)
    assert sum("distribution" in rules[cell] for cell in places[0::3]) >= 5
    assert sum("unadjusted_split" in rules[cell] for cell in places[1::3]) >= 5
    assert not any(rules[cell] for cell in places[2::3])
    assert not any(item.severity == "error" for item in found), "the prices are right; the return is not one"


def test_a_stated_split_must_show_in_the_price():
    panel = base("walk")
    splits = np.ones(panel.shape)
    splits[200, 3] = splits[260, 4] = 2.0
    fields = copies_of(panel)
    for name in PRICES:
        fields[name][200:, 3] /= 2.0  # taken; column 4 is not
    raw = changed(panel, price_kind=PriceKind.RAW, split_ratios=splits, **fields)
    found = find_defects(raw)
    assert [(item.rule, item.row, item.column) for item in found] == [("split_not_in_price", 260, 4)]
    causes = {(jump.row, jump.column): jump.cause for jump in explain_jumps(raw, found)}
    assert causes[200, 3] is Cause.ACTION


def test_where_payments_are_stated_a_quiet_drop_is_news():
    panel = base("walk")
    fields = copies_of(panel)
    gap_from(fields, (200, 5), 0.8)
    spoilt = changed(panel, price_kind=PriceKind.RAW, split_ratios=np.ones(panel.shape), **fields)
    assert [item.rule for item in find_defects(spoilt)] == ["distribution"]
    assert find_defects(changed(spoilt, dividends=np.zeros(panel.shape))) == []


def test_first_bars_of_another_security_are_held():
    panel = base("walk")
    fields = copies_of(panel)
    for name in FIELDS:
        fields[name][:150, 7] = np.nan
    for name in PRICES:
        fields[name][150:152, 7] *= 3.0
    found = [item for item in find_defects(changed(panel, **fields)) if item.severity == "error"]
    assert [(item.rule, item.row) for item in found] == [("ticker_reuse", 150), ("ticker_reuse", 151)]
    assert {item.known_row for item in found} == {152}


def test_a_when_issued_start_and_another_company_after_a_hole_are_noted():
    panel = base("walk")
    fields = copies_of(panel)
    for name in FIELDS:
        fields[name][:150, 7] = np.nan
        fields[name][200:260, 8] = np.nan
    fields["volume"][150:153, 7] = 300.0
    for name in PRICES:
        fields[name][260:, 8] *= 6.0
    fields["volume"][260:, 8] *= 40.0
    found = {(item.rule, item.row, item.column, item.severity) for item in find_defects(changed(panel, **fields))}
    assert {("thin_start", row, 7, "warning") for row in (150, 151, 152)} <= found
    assert ("ticker_reuse", 260, 8, "warning") in found
    assert ("missing_session", 260, 8, "warning") in found


def test_missing_sessions_are_counted_at_the_bar_after_them():
    panel = base("walk")
    fields = copies_of(panel)
    for name in FIELDS:
        fields[name][100:103, 2] = np.nan
    found = find_defects(changed(panel, **fields))
    assert [(item.rule, item.row, item.column, item.evidence) for item in found] == [("missing_session", 103, 2, (("missing", 3.0),))]


def test_lots_for_shares_are_noted():
    panel = base("walk")
    fields, places = copies_of(panel), cells(panel, 10)
    for cell in places:
        fields["volume"][cell] *= 1000.0
    found = {(item.row, item.column, item.severity) for item in find_defects(changed(panel, **fields)) if item.rule == "volume_unit"}
    assert len(found & {(*cell, "warning") for cell in places}) >= 8


def spoiled():
    """Every class at once."""
    panel = base("walk")
    fields, places = copies_of(panel), cells(panel, 90, seed=9)
    for number, (row, column) in enumerate(places):
        kinds = list(HELD.values())
        if number % 3 == 0:
            carry(fields, (row, column), (row + 1 + number % 7, column))
        elif number % 3 == 1:
            kinds[number % len(kinds)][0](fields, (row, column), number)
        else:
            gap_from(fields, (row, column), 0.8)
    return changed(panel, **fields)


def told(items):
    return sorted((i.symbol, str(i.session), str(i.known_session), i.rule, str(i.severity), i.reason, i.evidence) for i in items)


def test_live_findings_equal_those_of_the_whole_history():
    panel = spoiled()
    by_row = {}
    for item in find_defects(panel):
        by_row.setdefault(item.known_row, []).append(item)
    rows = [row for row in sorted(by_row) if row > RING_ROWS]
    assert len(rows) >= 15
    for row in rows:
        live = live_findings(panel.rows(row - RING_ROWS, row), panel.rows(row, row + 1))
        assert told(live) == told(by_row[row])


def test_a_finding_rests_on_nothing_later_than_its_known_row():
    panel = spoiled()
    everything = find_defects(panel)
    for end in (150, 233, 301, 404):
        assert told(find_defects(panel.rows(0, end))) == told(item for item in everything if item.known_row < end)
    waits = {detector.name: detector.look_ahead for detector in DETECTORS}
    assert all(item.known_row == item.row for item in everything if waits.get(item.rule) == 0 and item.rule != "misdated")


def test_findings_name_instrument_session_reason_and_evidence():
    for item in find_defects(spoiled()):
        assert item.symbol.startswith("W")
        assert item.known_session >= item.session
        assert any(character.isdigit() for character in item.reason) or item.rule in {"missing_price", "thin_start"}
        assert all(np.isfinite(value) for _, value in item.evidence)


def test_the_source_that_errs_is_named():
    panel = base("walk")
    fields, places = copies_of(panel), cells(panel, PLANTED)
    for cell in places:
        scaled(fields, cell, 1.06)
    wrong = changed(panel, source="bad", **fields)
    own = {(item.row, item.column): item.severity for item in find_disagreements(wrong, panel)}
    assert set(own) == set(places)
    assert sum(severity == "error" for severity in own.values()) >= 0.8 * PLANTED
    theirs = [item.severity for item in find_disagreements(panel, wrong)]
    assert sum(severity == "warning" for severity in theirs) >= 0.8 * PLANTED


def test_another_adjustment_is_no_disagreement_and_strangers_are_refused():
    panel = base("walk")
    halved = changed(panel, **{name: getattr(panel, name) / 2.0 for name in PRICES})
    assert find_disagreements(panel, halved) == []
    with pytest.raises(DataInvalid, match="no bar in common"):
        find_disagreements(panel, replace(panel, symbols=tuple(f"X{i}" for i in range(len(panel.symbols)))))


def test_jump_scores_are_large_where_a_jump_is_and_its_cause_is_named():
    panel = base("walk")
    fields = copies_of(panel)
    gap_from(fields, (200, 5), 0.6, volume=9.0)
    scaled(fields, (300, 6), 2.0)
    spoilt = changed(panel, **fields)
    in_time, across = jump_scores(spoilt)
    assert in_time[200, 5] < -10
    assert across[200, 5] < -10
    causes = {(jump.row, jump.column): jump.cause for jump in explain_jumps(spoilt, find_defects(spoilt))}
    assert causes[200, 5] is Cause.NEWS
    assert (causes[300, 6], causes[301, 6]) == (Cause.DEFECT, Cause.DEFECT_BEFORE)


def columns_of(panel, **changes):
    cell = np.argwhere(np.isfinite(panel.close.T))
    rows, columns = cell[:, 1], cell[:, 0]
    made = {
        "symbol": np.array(panel.symbols)[columns],
        "session": panel.sessions[rows],
        "fields": {name: getattr(panel, name)[rows, columns] for name in FIELDS},
        "raw": np.full(len(rows), "file"),
        "source_row": np.arange(1, len(rows) + 1),
        "is_session": np.ones(len(rows), dtype=bool),
        "today": np.datetime64("2100-01-01"),
        "tick": panel.tick,
    }
    return BarColumns(**{**made, **changes})


def test_long_rows_give_the_findings_of_the_panel():
    panel = spoiled()
    columns = columns_of(panel)
    rows = check_bars(columns)
    got = {(str(columns.symbol[f.row]), str(columns.session[f.row]), f.rule) for f in rows}
    assert got >= {(item.symbol, str(item.session), item.rule) for item in find_defects(panel)}
    assert all(finding.known_row >= finding.row for finding in rows)


def test_rows_without_volume_meet_the_row_rules_only():
    panel = spoiled()
    columns = columns_of(panel)
    lacking = columns_of(panel, fields={**columns.fields, "volume": np.full(len(columns.session), np.nan)})
    assert not {finding.rule for finding in check_bars(lacking)} & {"misdated", "isolated_level", "thin_bar"}


@pytest.mark.parametrize("sessions", [0, 1, 2, 5])
def test_short_panels_are_no_trouble(sessions):
    assert find_defects(base("walk").rows(0, sessions)) == []


def test_a_panel_of_closes_only_is_no_trouble():
    panel = base("walk")
    assert find_defects(replace(panel, open=None, high=None, low=None, volume=None)) == []


def test_a_copy_that_kept_its_own_open_is_held():
    panel = base("walk")
    fields, places = copies_of(panel), cells(panel, PLANTED)
    for row, column in places:
        carry(fields, (row, column), (row + 3, column), ("high", "low", "close", "volume"))
    assert len(held(changed(panel, **fields)) & set(places)) >= 0.9 * PLANTED
