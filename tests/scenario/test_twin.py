"""The twin: the vectorized engine and the machine agree in every share and in equity to 1e-9, also where limits bind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as restate

from hedgefund_core.backtest.event_driven import EventRun, run_events
from hedgefund_core.backtest.result import BacktestResult
from hedgefund_core.backtest.vectorized import run_target_weights
from hedgefund_core.errors import ConfigError
from hedgefund_core.quant.bars import Panel, PriceKind
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.trading.events import LadderMoved, OrdersDenied, OrdersIntended
from tests.builders import mandate, momentum_weights, noisy_panel, skfolio_panel


def both(panel: Panel, weights: np.ndarray, book: Mandate) -> tuple[BacktestResult, EventRun]:
    fast = run_target_weights(panel, weights, costs=book.costs, limits=book, fill="auto", initial_cash=1_000_000.0)
    slow = run_events(panel, weights, costs=book.costs, limits=book, fill="auto", initial_cash=1_000_000.0)
    return fast, slow


def assert_twins(fast: BacktestResult, slow: EventRun) -> None:
    np.testing.assert_array_equal(fast.positions, slow.positions)
    np.testing.assert_allclose(fast.equity, slow.equity, rtol=1e-9, atol=0.0)
    assert len(fast.fills) == len(slow.fills)
    assert len(fast.denied) == sum(len(frame.orders) for frame in slow.outputs(OrdersDenied))
    assert fast.stand_ins == slow.state.stand_ins


def real_panel(sessions: int) -> Panel:
    panel = skfolio_panel(sessions)
    if panel is None:
        pytest.fail("the locked environment carries skfolio's data")
    return panel


@pytest.mark.parametrize("name", ["market_neutral", "long_only"])
def test_twins_on_real_prices_with_limits_binding_on_a_tenth_of_the_days(name: str) -> None:
    book, panel = mandate(name), real_panel(760)
    fast, slow = both(panel, momentum_weights(panel, book), book)
    assert_twins(fast, slow)
    assert fast.trace is not None
    traded = fast.trace.capped[260:]
    assert traded.mean() >= 0.10
    assert len(slow.fills) > 200


def test_twins_through_the_whole_ladder() -> None:
    """Tight triggers: the account reduces, flattens, stands in and trades on; both engines at the same sessions."""
    book, panel = mandate(), real_panel(700)
    limits = restate(book.limits, drawdown_flatten=0.015, drawdown_start=0.002, drawdown_end=0.012, intraday_loss_reduce_sigmas=1.2)
    tight = restate(book, limits=limits, stand_in_sessions=5)
    fast, slow = both(panel, momentum_weights(panel, tight), tight)
    assert_twins(fast, slow)
    assert slow.state.stand_ins >= 2
    seen = {frame.after for frame in slow.frames if isinstance(frame, LadderMoved)}
    assert seen == {"active", "reducing", "flattening"}


def test_twins_on_raw_prices_with_opens_splits_dividends_partial_fills_and_holes() -> None:
    panel = noisy_panel(seed=3, n_sessions=420, n_symbols=8, hole_share=0.01)
    dividends = np.zeros(panel.shape)
    dividends[::63, ::2] = 0.25
    volume = None if panel.volume is None else panel.volume * 0.5
    panel = replace(panel, dividends=dividends, volume=volume, price_kind=PriceKind.RAW)
    book = mandate()
    limits = restate(book.limits, max_order_adv=1.0)  # let orders meet the auction's capacity instead of the rule
    fast, slow = both(panel, momentum_weights(panel, restate(book, limits=limits)), restate(book, limits=limits))
    assert_twins(fast, slow)
    intended = {order.client_order_id: order.quantity for frame in slow.outputs(OrdersIntended) for order in frame.orders}
    assert any(fill.quantity < intended[fill.client_order_id] for fill in slow.fills)  # the auction's capacity was met
    assert {fill.quantity % 1 for fill in slow.fills} == {0}


def test_a_run_is_the_same_twice_and_its_digest_says_so() -> None:
    panel = noisy_panel(seed=5, n_sessions=330, n_symbols=6)
    book = mandate()
    weights = momentum_weights(panel, book)
    first = run_events(panel, weights, costs=book.costs, limits=book, fill="auto", initial_cash=1_000_000.0)
    again = run_events(panel, weights, costs=book.costs, limits=book, fill="auto", initial_cash=1_000_000.0)
    assert first.digest == again.digest
    nudged = panel.close.copy()
    nudged[300, 0] *= 1.0001
    other = run_events(replace(panel, close=nudged), weights, costs=book.costs, limits=book, fill="auto", initial_cash=1_000_000.0)
    assert other.digest != first.digest


def test_the_machine_never_fills_on_the_bar_that_was_decided_on() -> None:
    panel, book = noisy_panel(n_sessions=20), mandate()
    with pytest.raises(ConfigError, match="never fills on the bar"):
        run_events(panel, np.full(panel.shape, np.nan), costs=book.costs, limits=book, fill="close", initial_cash=1e6)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["market_neutral", "long_only"])
def test_twins_over_the_whole_history(name: str) -> None:
    book, panel = mandate(name), real_panel(7000)
    fast, slow = both(panel, momentum_weights(panel, book), book)
    assert_twins(fast, slow)
