"""What every construction owes: bounds, sums, and saying when there is no book. New ones in OPTIMIZERS are picked up by themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgefund_core.quant.portfolio import OPTIMIZERS

NAMES = sorted(OPTIMIZERS)


def cross_section(seed, n, missing):
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal(n).round(1)  # rounded: ties happen
    scores[rng.random(n) < missing] = np.nan
    return scores, 1.0 + 0.4 * rng.standard_normal(n), 0.1 + 0.3 * rng.random(n)


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 10_000), n=st.integers(0, 40), missing=st.sampled_from([0.0, 0.2, 0.9]), gross=st.sampled_from([0.5, 1.0, 1.5]))
def test_a_book_has_its_gross_or_says_that_there_is_none(name, seed, n, missing, gross):
    scores, betas, volatilities = cross_section(seed, n, missing)
    weights = OPTIMIZERS[name](scores, betas, volatilities, gross)
    assert weights.shape == (n,)
    assert weights.dtype == np.float64
    if np.isnan(weights).any():
        assert np.isnan(weights).all()
        return
    assert np.abs(weights).sum() == pytest.approx(gross if n else 0.0)
    assert (weights[np.isnan(scores)] == 0.0).all()


@pytest.mark.parametrize("name", NAMES)
def test_no_score_is_no_book_and_not_a_book_of_zeros(name):
    nothing = np.full(5, np.nan)
    assert np.isnan(OPTIMIZERS[name](nothing, np.ones(5), np.ones(5), 1.0)).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_book_does_not_change_its_arguments_and_is_the_same_twice(name):
    given_ = cross_section(3, 12, 0.1)
    before = [values.copy() for values in given_]
    first, second = (OPTIMIZERS[name](*given_, 1.0) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    for values, old in zip(given_, before, strict=True):
        np.testing.assert_array_equal(values, old)


@pytest.mark.parametrize("name", ["rank_long_only", "equal_weight", "inverse_volatility"])
@given(seed=st.integers(0, 10_000), n=st.integers(2, 40))
def test_long_only_books_hold_nothing_short(name, seed, n):
    weights = OPTIMIZERS[name](*cross_section(seed, n, 0.1), 1.0)
    assert np.isnan(weights).all() or (weights >= 0.0).all()


@given(seed=st.integers(0, 10_000), n=st.integers(3, 40))
def test_the_neutral_book_holds_no_dollars_and_no_beta(seed, n):
    scores, betas, volatilities = cross_section(seed, n, 0.1)
    weights = OPTIMIZERS["rank_neutral"](scores, betas, volatilities, 1.5)
    if np.isnan(weights).all():
        return
    assert abs(weights.sum()) < 1e-9
    assert abs((weights * betas).sum()) < 1e-9


def test_the_neutral_book_likes_what_scores_high():
    scores = np.arange(10.0)
    weights = OPTIMIZERS["rank_neutral"](scores, np.ones(10), np.ones(10), 1.0)
    assert (np.diff(weights) > 0.0).all()
    assert weights[-1] == pytest.approx(4.5 / 25.0)


def test_the_neutral_book_needs_three_names_and_scores_that_differ():
    three = np.array([1.0, 2.0, 3.0])
    assert np.isfinite(OPTIMIZERS["rank_neutral"](three, np.array([1.0, 1.5, 0.8]), np.ones(3), 1.0)).all()
    assert np.isnan(OPTIMIZERS["rank_neutral"](np.array([1.0, 2.0, np.nan]), np.ones(3), np.ones(3), 1.0)).all()
    assert np.isnan(OPTIMIZERS["rank_neutral"](np.ones(5), np.ones(5), np.ones(5), 1.0)).all()


def test_the_long_only_book_holds_the_better_half_by_rank():
    weights = OPTIMIZERS["rank_long_only"](np.array([3.0, 1.0, 4.0, 2.0, np.nan]), np.ones(5), np.ones(5), 1.0)
    np.testing.assert_allclose(weights, [0.25, 0.0, 0.75, 0.0, 0.0])


def test_inverse_volatility_leaves_out_what_has_no_volatility():
    volatilities = np.array([0.1, 0.2, np.nan, 0.0])
    weights = OPTIMIZERS["inverse_volatility"](np.ones(4), np.ones(4), volatilities, 0.9)
    np.testing.assert_allclose(weights, [0.6, 0.3, 0.0, 0.0])
