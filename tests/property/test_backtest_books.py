"""Whatever is traded, the books add up."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgefund_core.backtest import run_target_weights
from hedgefund_core.risk.limits import Costs
from tests.builders import noisy_panel

PANELS = {seed: noisy_panel(seed=seed, n_sessions=40, n_symbols=4, hole_share=0.05) for seed in range(3)}


@settings(max_examples=40, deadline=None)
@given(
    seed=st.sampled_from(sorted(PANELS)),
    weights=st.lists(st.floats(-0.4, 0.4) | st.just(float("nan")), min_size=4, max_size=4),
    every=st.integers(1, 9),
    fill=st.sampled_from(["next_open", "next_close", "close"]),
    whole=st.booleans(),
    commission=st.sampled_from([0.0, 3.0, 25.0]),
    borrow=st.sampled_from([0.0, 50.0]),
)
def test_cash_is_the_sum_of_its_lines_and_equity_the_sum_of_cash_and_positions(seed, weights, every, fill, whole, commission, borrow):
    panel = PANELS[seed]
    targets = np.full(panel.shape, np.nan)
    targets[::every] = weights
    costs = Costs(commission_bps=commission, borrow_bps_per_year=borrow, auction_participation=0.01)
    result = run_target_weights(panel, targets, costs=costs, fill=fill, initial_cash=250_000.0, whole_shares=whole)
    signed = result.fills["side"] * result.fills["quantity"]
    flows = np.bincount(result.fills["session"], weights=signed * result.fills["price"], minlength=40)
    cash = 250_000.0 + np.cumsum(result.income - result.borrow - flows - result.commissions)
    np.testing.assert_allclose(result.cash, cash, atol=1e-3)
    values = np.where(result.positions == 0, 0.0, result.positions * result.marks).sum(axis=1)
    np.testing.assert_allclose(result.equity, result.cash + values, atol=1e-3)
    if whole:
        assert np.array_equal(result.positions, np.trunc(result.positions))


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(5, 38), fill=st.sampled_from(["next_open", "next_close"]))
def test_what_comes_later_changes_nothing_before_it(cut, fill):
    panel = PANELS[0]
    targets = np.full(panel.shape, np.nan)
    targets[::3] = [0.2, -0.1, 0.3, -0.2]
    costs = Costs(commission_bps=3.0, borrow_bps_per_year=50.0, auction_participation=0.01)
    whole = run_target_weights(panel, targets, costs=costs, fill=fill, initial_cash=1e6)
    start = run_target_weights(panel.rows(0, cut), targets[:cut], costs=costs, fill=fill, initial_cash=1e6)
    assert np.array_equal(whole.equity[:cut], start.equity)
    assert np.array_equal(whole.positions[:cut], start.positions)
