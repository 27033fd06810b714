import numpy as np
import pytest

from hedgefund_core.backtest.placebo import SimpleBook, held_weights, net_returns, placebo_band, traded_fractions
from hedgefund_core.errors import DataInvalid

N, M = 600, 10


def book(skill=0.0, seed=1, **changes):
    generator = np.random.default_rng(seed)
    returns = generator.normal(0.0002, 0.01, size=(N, M))
    weights = np.full((N, M), np.nan)
    for session in range(20, N, 5):
        seen = generator.normal(size=M) + skill * returns[session + 2 : session + 7].sum(axis=0) / 0.02
        order = seen.argsort().argsort() - (M - 1) / 2
        weights[session] = order / np.abs(order).sum()
    return SimpleBook(**{"weights": weights, "asset_returns": returns, **changes})


def test_a_decision_earns_only_after_its_fill():
    weights, returns = np.full((6, 1), np.nan), np.arange(6, dtype=float)[:, None] / 100
    weights[1] = 1.0
    simple = SimpleBook(weights=weights, asset_returns=returns, cost_bps=0.0, borrow_bps_per_year=0.0)
    np.testing.assert_allclose(net_returns(simple), [0, 0, 0, 0.03, 0.04, 0.05])
    with pytest.raises(DataInvalid):
        SimpleBook(weights=weights, asset_returns=returns, fill_delay=0)


def test_costs_are_commission_on_the_trade_and_borrow_on_shorts():
    weights = np.array([[0.5, -0.5], [np.nan, np.nan], [np.nan, np.nan], [0.0, 0.0], [np.nan, np.nan], [np.nan, np.nan]])
    simple = SimpleBook(weights=weights, asset_returns=np.zeros((6, 2)), cost_bps=10.0, borrow_bps_per_year=252.0)
    borrow = 0.5 * 0.0252 / 252
    np.testing.assert_allclose(net_returns(simple), [0, 0, -0.001 - borrow, -borrow, -borrow, -0.001], atol=1e-15)
    np.testing.assert_allclose(traded_fractions(held_weights(simple)), [0, 0, 1, 0, 0, 1])


def test_a_bar_that_is_missing_earns_nothing_and_a_missing_weight_holds_nothing():
    weights = np.array([[1.0, np.nan]] + [[np.nan, np.nan]] * 3)
    returns = np.array([[0.0, 0.0], [0.0, 0.0], [np.nan, 0.5], [0.01, 0.5]])
    simple = SimpleBook(weights=weights, asset_returns=returns, cost_bps=0.0)
    np.testing.assert_allclose(net_returns(simple), [0, 0, 0, 0.01])


def test_every_draw_is_the_book_on_permuted_names():
    simple = book()
    result = placebo_band(simple, seed=5, draws=7)
    generator = np.random.default_rng(5)
    for draw in range(7):
        net = net_returns(simple, generator.permutation(M))[result.first :]
        assert result.sharpes[draw] == pytest.approx(net.mean() / net.std(ddof=1) * np.sqrt(252), rel=1e-9)
    own = net_returns(simple)[result.first :]
    assert result.candidate_sharpe == pytest.approx(own.mean() / own.std(ddof=1) * np.sqrt(252), rel=1e-9)
    np.testing.assert_allclose(result.candidate_equity, np.cumprod(1 + own), rtol=1e-12)


def test_the_same_seed_gives_the_same_band():
    one, two = (placebo_band(book(), seed=3, draws=50) for _ in range(2))
    assert one.band.tobytes() == two.band.tobytes()
    assert one.band.shape == (len(one.quantiles), N - one.first)
    assert (np.diff(one.band, axis=0) >= 0).all()


def test_skill_leaves_the_band_and_luck_stays_inside():
    assert placebo_band(book(skill=0.6), seed=1, draws=500).percentile > 0.99
    inside = [placebo_band(book(seed=seed), seed=1, draws=200).percentile for seed in range(10)]
    assert 0.2 < np.mean(inside) < 0.8


def test_sessions_before_the_start_do_not_count():
    simple = book(skill=0.6)
    late = placebo_band(simple, seed=1, draws=20, start=300)
    assert late.first == 300
    assert late.candidate_equity.shape == (N - 300,)
    assert late.draws == 20


def test_a_book_that_never_trades_is_said():
    with pytest.raises(DataInvalid, match="never"):
        placebo_band(SimpleBook(weights=np.full((N, M), np.nan), asset_returns=np.zeros((N, M))), seed=1)
    with pytest.raises(DataInvalid, match="fit"):
        SimpleBook(weights=np.zeros((3, 2)), asset_returns=np.zeros((3, 3)))
