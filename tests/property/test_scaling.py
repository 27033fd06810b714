"""What the scalers promise by construction, on arbitrary books and returns."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hedgefund_core.quant.portfolio.scaling import (
    betas,
    book_beta,
    book_returns,
    book_volatility,
    daily_returns,
    historical_var,
    market_returns,
    scale_weights,
)

CAPS = {"target_volatility": 0.08, "max_beta": 0.2, "max_gross": 1.5, "max_net": 0.6, "max_position": 0.1}
FIXED = {"decay": 0.94, "sessions_per_year": 252.0}
seeds = st.integers(0, 100_000)


def world(seed, n=12, sessions=126, level=0.0):
    rng = np.random.default_rng(seed)
    market = 0.01 * rng.standard_normal((sessions, 1))
    returns = market * (0.5 + rng.random(n)) + (0.002 + 0.02 * rng.random(n)) * rng.standard_normal((sessions, n))
    raw = level + rng.choice([0.02, 0.2, 2.0]) * rng.standard_normal(n)
    return raw, returns, betas(returns, market[:, 0])


def scaled(raw, returns, instrument_betas, drawdown_scale=1.0, **changes):
    return scale_weights(raw, returns, instrument_betas, drawdown_scale=drawdown_scale, **FIXED, **(CAPS | changes))


@given(seed=seeds, level=st.sampled_from([0.0, 0.1, -0.3]), scale=st.sampled_from([1.0, 0.6, 0.25]))
def test_every_promise_is_kept(seed, level, scale):
    raw, returns, instrument_betas = world(seed, level=level)
    weights, _ = scaled(raw, returns, instrument_betas, scale)
    assert abs(book_beta(weights, instrument_betas)) <= CAPS["max_beta"]
    assert np.abs(weights).sum() <= CAPS["max_gross"]
    assert abs(weights.sum()) <= CAPS["max_net"]
    assert np.abs(weights).max() <= CAPS["max_position"] + 1e-12
    assert book_volatility(weights, returns, 0.94, 252.0) <= CAPS["target_volatility"] * (1 + 1e-3)  # rounding to the grid only


@given(seed=seeds, scale=st.sampled_from([1.0, 0.5]))
def test_it_never_levers_up_and_never_turns_a_position_round(seed, scale):
    raw, returns, instrument_betas = world(seed)
    weights, scalings = scaled(raw, returns, instrument_betas, scale)
    assert (np.abs(weights) <= np.abs(raw) + 1e-6).all()
    assert (weights * raw >= 0.0).all()
    assert all(0.0 <= scaling.scale <= 1.0 for scaling in scalings)


@given(seed=seeds)
@example(seed=237)  # the drawdown before the caps clipped this book less, and left more of it
def test_a_deeper_drawdown_never_makes_a_larger_book(seed):
    raw, returns, instrument_betas = world(seed)
    gross = [np.abs(scaled(raw, returns, instrument_betas, scale)[0]).sum() for scale in (1.0, 0.8, 0.5, 0.25, 0.0)]
    assert all(later <= earlier + 12e-6 for earlier, later in itertools.pairwise(gross))
    assert gross[-1] == 0.0


@given(seed=seeds)
def test_scalers_combine_by_their_minimum(seed):
    raw, returns, instrument_betas = world(seed)
    free = {"max_gross": 1e9, "max_net": 1e9, "max_position": 1e9}
    weights, scalings = scaled(raw, returns, instrument_betas, 0.7, **free)
    first = {scaling.name: scaling.scale for scaling in scalings[:3]}
    assert set(first) == {"volatility", "drawdown", "beta"}
    np.testing.assert_allclose(weights, raw * min(first.values()), atol=2e-5 + 1e-4 * np.abs(raw).max())


@given(seed=seeds)
def test_weights_lie_on_the_grid_and_do_not_depend_on_memory_layout(seed):
    raw, returns, instrument_betas = world(seed)
    weights, _ = scaled(raw, returns, instrument_betas)
    np.testing.assert_array_equal(weights, np.rint(weights * 1e6) / 1e6)
    again, _ = scaled(raw, np.asfortranarray(returns), instrument_betas)
    spread = np.empty((*returns.shape, 2))
    spread[..., 0] = returns
    third, _ = scaled(raw, spread[..., 0], instrument_betas)
    assert weights.tobytes() == again.tobytes() == third.tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_no_number_is_left_alone_and_counts_zero(value):
    raw, returns, instrument_betas = world(5)
    without = raw.copy()
    raw[3], without[3] = value, 0.0
    weights, _ = scaled(raw, returns, instrument_betas)
    expected, _ = scaled(without, returns, instrument_betas)
    assert np.isnan(weights[3])
    np.testing.assert_array_equal(np.nan_to_num(weights), expected)


def test_a_book_whose_risk_is_unknown_is_not_traded_into_but_may_be_left():
    raw, returns, instrument_betas = world(5)
    weights, scalings = scaled(raw, returns[:19], instrument_betas)
    assert np.isnan(weights).all()
    assert scalings[0].scale == 0.0
    assert np.isnan(scaled(raw, returns, instrument_betas, np.nan)[0]).all()
    assert (scaled(np.zeros(12), returns[:5], instrument_betas)[0] == 0.0).all()


def test_volatility_by_hand():
    returns = np.tile(np.array([[0.01], [-0.02]]), (20, 1))
    importance = 0.5 ** np.arange(40)[::-1]
    expected = np.sqrt((importance * returns[:, 0] ** 2).sum() / importance.sum() * 252)
    assert book_volatility(np.array([1.0]), returns, 0.5, 252.0) == pytest.approx(expected)
    assert book_volatility(np.array([0.5]), returns, 0.5, 252.0) == pytest.approx(expected / 2)
    assert np.isnan(book_volatility(np.array([1.0]), returns[:19], 0.5, 252.0))


def test_a_missing_return_counts_zero_for_its_instrument_only():
    returns = np.full((30, 2), 0.01)
    holes = returns.copy()
    holes[:, 1] = np.nan
    assert book_volatility(np.array([1.0, 1.0]), holes, 0.94, 252.0) == pytest.approx(
        book_volatility(np.array([1.0, 0.0]), returns, 0.94, 252.0)
    )


def test_betas_are_ols_shrunk_a_third_of_the_way_to_one():
    rng = np.random.default_rng(2)
    market = 0.01 * rng.standard_normal(200)
    noise = 0.01 * rng.standard_normal(200)
    returns = np.column_stack([2.0 * market, noise, np.where(np.arange(200) < 59, market, np.nan)])
    slope = np.polyfit(market, noise, 1)[0]
    np.testing.assert_allclose(betas(returns, market), [2.0 * 2 / 3 + 1 / 3, slope * 2 / 3 + 1 / 3, np.nan])
    assert np.isnan(betas(returns, np.zeros(200))).all()


def test_the_market_is_the_benchmark_or_the_mean_of_those_that_traded():
    returns = np.array([[0.01, 0.03], [0.02, np.nan], [np.nan, np.nan]])
    np.testing.assert_allclose(market_returns(returns, None), [0.02, 0.02, np.nan])
    np.testing.assert_array_equal(market_returns(returns, np.array([0.1, 0.2, 0.3])), [0.1, 0.2, 0.3])


def test_returns_need_both_prices_and_prices_above_zero():
    close = np.array([[100.0, 50.0, 10.0], [101.0, np.nan, 0.0], [99.99, 51.0, 10.0]])
    np.testing.assert_allclose(daily_returns(close), [[0.01, np.nan, np.nan], [-0.01, np.nan, np.nan]])


def test_value_at_risk_is_the_loss_in_the_worst_twentieth():
    returns = -np.arange(1.0, 101.0)[:, None] / 1000
    var, cvar = historical_var(np.array([1.0]), returns)
    assert (var, cvar) == (pytest.approx(0.096), pytest.approx(0.098))
    assert all(np.isnan(value) for value in historical_var(np.array([1.0]), returns[:19]))


@given(st.integers(2, 40), st.integers(60, 130), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_what_is_missing_in_some_columns_changes_no_bit_of_the_others(n: int, sessions: int, holes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole, market, weights = 0.01 * rng.standard_normal((sessions, n)), 0.01 * rng.standard_normal(sessions), rng.standard_normal(n)
    returns = whole.copy()
    for column in rng.integers(0, n, holes).tolist():
        returns[: int(rng.integers(1, sessions)), column] = np.nan
    longer, unknown = np.vstack([returns, np.zeros(n)]), np.append(market, np.nan)  # a session of no market counts for no instrument
    np.testing.assert_array_equal(betas(returns, market), betas(longer, unknown))
    np.testing.assert_array_equal(book_returns(weights, returns), book_returns(weights, np.nan_to_num(returns)))
