"""The fast engine under a mandate: scalers, band, ladder, stand-in, and its twin, the live machine."""

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as with_changes

from hedgefund_core.backtest import run_target_weights
from hedgefund_core.backtest.event_driven import run_events
from hedgefund_core.trading.state import Level
from tests.builders import close_only, mandate, noisy_panel

SESSIONS, NAMES, WARM_UP = 330, 8, 130


def random_targets(n=SESSIONS, names=NAMES, seed=3, first=WARM_UP):
    """A neutral book at full gross every five sessions, one name left alone now and then."""
    rng = np.random.default_rng(seed)
    targets = np.full((n, names), np.nan)
    for row in range(first, n, 5):
        signal = rng.standard_normal(names)
        signal -= signal.mean()
        targets[row] = 1.5 * signal / np.abs(signal).sum()
        if row % 3 == 0:
            targets[row, row % names] = np.nan
    return targets


def panel(kind, seed=11):
    bars = noisy_panel(seed=seed, n_sessions=SESSIONS, n_symbols=NAMES, hole_share=0.01)
    if kind == "closes":
        whole = close_only(bars)
        jumps = np.ones(whole.shape)
        jumps[[180, 185, 240], [1, 2, 3]] = 0.6
        return replace(whole, close=whole.close * np.cumprod(jumps, axis=0) * np.cumprod(bars.split_ratios, axis=0))
    dividends = np.where(np.random.default_rng(5).random(bars.shape) < 0.02, 0.25, 0.0)
    return replace(bars, volume=bars.volume * 20, dividends=dividends)


@pytest.fixture(scope="module", params=["closes", "bars"])
def twins(request):
    market, book = panel(request.param), mandate()
    settings = {"costs": book.costs, "limits": book, "fill": "auto", "initial_cash": 1_000_000.0}
    return run_target_weights(market, random_targets(), **settings), run_events(market, random_targets(), **settings)


def test_both_engines_hold_the_same_shares_and_the_same_equity(twins):
    fast, live = twins
    assert np.array_equal(fast.positions, live.positions)
    np.testing.assert_allclose(fast.equity, live.equity, rtol=1e-9)
    assert len(fast.fills) == len(live.fills) > 100


def test_limits_bind_on_many_days_and_what_was_decided_stays_inside_them(twins):
    fast, book = twins[0], mandate()
    trace = fast.trace
    assert trace.capped[trace.decided].mean() >= 0.10
    decided = {name: np.abs(values[np.isfinite(values)]) for name, values in trace.measured.items()}
    slack = 1 + 1e-9
    assert decided["volatility_decided"].max() <= book.target_volatility * slack
    assert decided["beta_decided"].max() <= book.max_beta * slack
    assert decided["gross_decided"].max() <= book.limits.max_gross * slack
    assert decided["largest_decided"].max() <= book.limits.max_position_weight * slack


def test_denials_name_rule_and_reason(twins):
    for denial in twins[0].denied:
        assert denial.rule
        assert denial.reason
        assert denial.quantity > 0
    allowed = twins[0].orders["allowed"]
    assert int((~allowed).sum()) == len(twins[0].denied)


def falling(n=SESSIONS, names=NAMES):
    """A market that loses 0.5 % a session after the warm-up, with enough noise to have a volatility before."""
    rng = np.random.default_rng(2)
    steps = 1 + 0.004 * rng.standard_normal((n, names))
    steps[WARM_UP + 10 : WARM_UP + 60] -= 0.005
    bars = close_only(noisy_panel(n_sessions=n, n_symbols=names))
    return replace(bars, close=50.0 * np.cumprod(steps, axis=0))


def long_book():
    return with_changes(mandate("long_only"), max_beta=2.0)


def test_a_long_fall_flattens_and_the_stand_in_resumes_after_its_sessions():
    book = long_book()
    targets = np.full((SESSIONS, NAMES), np.nan)
    targets[WARM_UP::5] = 0.1
    result = run_target_weights(falling(), targets, costs=book.costs, limits=book, fill="auto", initial_cash=1e6)
    ladder = result.trace.ladder
    assert result.stand_ins >= 1
    first = int(np.flatnonzero(ladder == Level.FLATTENING)[0])
    flat = first + int(np.flatnonzero(~result.positions[first:].any(axis=1))[0])
    resumed = flat + book.stand_in_sessions
    assert (ladder[first:resumed] == Level.FLATTENING).all()
    assert ladder[resumed] == Level.ACTIVE
    assert not result.positions[flat : resumed + 1].any()
    assert result.orders[result.orders["session"] == first]["flatten"].all()
    assert result.trace.drawdown[resumed] == 0.0


def test_in_reducing_only_closing_legs_pass_and_the_state_ends_with_the_session():
    book = long_book()
    market = falling()
    close = market.close.copy()
    close[200:] *= 0.96  # one bad session, far beyond 2.5 sigma of this quiet market
    targets = np.full((SESSIONS, NAMES), np.nan)
    targets[190:203] = 0.05
    targets[200] = [0.10, 0.0] * (NAMES // 2)
    calm = with_changes(book, limits=with_changes(book.limits, drawdown_flatten=0.9, intraday_loss_flatten_sigmas=90.0))
    result = run_target_weights(replace(market, close=close), targets, costs=book.costs, limits=calm, fill="auto", initial_cash=1e6)
    assert result.trace.ladder[200] == Level.REDUCING
    assert result.trace.ladder[201] == Level.ACTIVE
    orders = result.orders[result.orders["session"] == 200]
    assert orders["opening"].any()
    assert np.array_equal(orders["allowed"], ~orders["opening"])


def test_small_changes_stay_inside_the_band_and_exits_never_do():
    book = long_book()
    targets = np.full((SESSIONS, NAMES), np.nan)
    targets[WARM_UP] = 0.02
    targets[WARM_UP + 3] = 0.0202
    targets[WARM_UP + 6] = 0.0
    market = close_only(noisy_panel(n_sessions=SESSIONS, n_symbols=NAMES))
    result = run_target_weights(market, targets, costs=book.costs, limits=book, fill="auto", initial_cash=1e6)
    assert set(result.fills["session"]) == {WARM_UP + 1, WARM_UP + 7}
    assert not result.positions[-1].any()
