"""Corporate actions are read off the adjustment factor, to the cent, and never out of rounding."""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.derived_actions import derive_actions


def adjusted_of(close, events):
    """Back-adjusted closes for events {row: (split, dividend)}."""
    factor = np.ones(len(close))
    for row, (split, dividend) in events.items():
        factor[row:] *= split * (1.0 + dividend / close[row])
    return close * factor / factor[-1]


def test_split_dividend_and_both_at_once_are_recovered():
    close = np.round(50.0 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, 200))), 2)
    events = {40: (2.0, 0.0), 80: (1.0, 0.35), 120: (3.0, 0.5), 160: (0.1, 0.0)}
    found = [(a.row, a.kind, round(a.value, 4)) for a in derive_actions(close, adjusted_of(close, events))]
    assert found == [(40, "split", 2.0), (80, "dividend", 0.35), (120, "split", 3.0), (120, "dividend", 0.5), (160, "split", 0.1)]


def test_a_special_dividend_is_not_taken_for_a_split():
    close = np.full(20, 27.39)
    found = derive_actions(close, adjusted_of(close, {10: (1.0, 3.08)}))
    assert [(a.kind, round(a.value, 6)) for a in found] == [("dividend", 3.08)]


def test_adjusted_closes_in_cents_hide_small_dividends_and_invent_none():
    close = np.round(20.0 * np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.01, 500))), 2)
    assert derive_actions(close, np.round(close * 0.37, 2)) == []
    assert derive_actions(close, np.round(adjusted_of(close, {250: (1.0, 0.004)}), 2)) == []


def test_a_later_split_is_a_constant_factor_and_derives_nothing():
    close = np.linspace(10, 20, 50)
    assert derive_actions(close, close / 7.0) == []


def test_too_little_derives_nothing():
    assert derive_actions(np.array([1.0]), np.array([1.0])) == []
    assert derive_actions(np.full(3, np.nan), np.ones(3)) == []
