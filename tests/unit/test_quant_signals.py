from __future__ import annotations

import numpy as np
import pytest

from hedgefund_core.quant.signals import quantize_scores, ranks_with_ties_by_id, signal_statistics

nan = np.nan
ALL = np.ones(5, dtype=np.bool_)


def test_scores_that_differ_by_less_than_the_grid_are_equal():
    scores = quantize_scores(np.array([0.1, 0.1 + 1e-12, nan, -0.0, np.inf, 1e12]))
    assert scores[0] == scores[1] == 0.1
    assert np.isnan(scores[[2, 4]]).all()
    assert not np.signbit(scores[3])
    assert scores[5] == 1e12


def test_quantizing_twice_changes_nothing():
    scores = quantize_scores(np.random.default_rng(0).standard_normal(1000))
    np.testing.assert_array_equal(quantize_scores(scores), scores)


def test_ties_are_broken_by_instrument_order():
    assert ranks_with_ties_by_id(np.array([2.0, 1.0, 2.0, nan, 1.0])).tolist() == [2, 0, 3, -1, 1]


def test_statistics_of_ordinary_scores():
    found = signal_statistics(np.array([1.0, 2.0, 3.0, nan, 10.0]), ALL)
    assert found.coverage == pytest.approx(0.8)
    assert found.dispersion == pytest.approx(np.std([1.0, 2.0, 3.0, 10.0]))
    assert found.same_sign == pytest.approx(0.75)


def test_what_is_not_expected_is_not_counted():
    found = signal_statistics(np.array([1.0, 2.0, nan, nan, 7.0]), np.array([True, True, False, False, False]))
    assert (found.coverage, found.dispersion, found.same_sign) == (1.0, 0.5, 0.5)


def test_a_rising_market_is_no_broken_signal():
    assert signal_statistics(np.array([0.1, 0.2, 0.3, 0.4, 0.5]), ALL).same_sign == 0.5


def test_equal_scores_have_no_dispersion_and_no_sign():
    found = signal_statistics(np.full(5, 0.3), ALL)
    assert found.dispersion == pytest.approx(0.0)


def test_nothing_scored_and_nothing_expected():
    nothing = signal_statistics(np.full(5, nan), ALL)
    assert nothing.coverage == 0.0
    assert np.isnan([nothing.dispersion, nothing.same_sign]).all()
    assert np.isnan(signal_statistics(np.ones(5), ~ALL).coverage)
