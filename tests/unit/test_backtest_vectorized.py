"""The fast engine without a mandate, worked out by hand."""

import numpy as np
import pytest

from hedgefund_core.backtest import run_target_weights
from hedgefund_core.backtest.costs import FREE, times
from hedgefund_core.errors import ConfigError, DataInvalid
from hedgefund_core.quant.bars import Panel, PriceKind
from hedgefund_core.risk.limits import Costs

NAN = np.nan
COSTS = Costs(commission_bps=10.0, borrow_bps_per_year=252.0, auction_participation=0.1)


def panel(close, **fields):
    rows = len(close)
    return Panel(
        sessions=np.datetime64("2020-01-06") + np.arange(rows),
        symbols=tuple("AB"[: len(close[0])]),
        price_kind=PriceKind.RAW,
        close=np.array(close, dtype=float),
        **{name: np.array(values, dtype=float) for name, values in fields.items()},
    )


def two_names(**fields):
    return panel([[10, 20], [12, 18], [12, 18], [13, 17]], open=[[10, 20], [11, 19], [12, 18], [12, 18]], **fields)


def decide_at(row, weights, n=4):
    targets = np.full((n, len(weights)), NAN)
    targets[row] = weights
    return targets


def run(market, targets, **changes):
    settings = {"costs": COSTS, "initial_cash": 10_000.0, "whole_shares": True, "fill": "next_open"}
    return run_target_weights(market, targets, **(settings | changes))


def test_a_decision_fills_at_the_next_open_with_commission_and_borrow_to_the_cent():
    result = run(two_names(), decide_at(0, [0.5, -0.5]))
    # 500 A bought at 11, 250 B sold at 19, 10 bp of 5,500 and 4,750
    assert result.cash.tolist() == [10_000.0, 9_239.75, 9_239.30, 9_238.85]  # then 1 bp a day of the short's 4,500 at 18
    assert result.equity.tolist() == [10_000.0, 10_739.75, 10_739.30, 11_488.85]
    assert result.positions[1].tolist() == [500.0, -250.0]
    assert result.fills.tolist() == [(1, 0, 1, 500.0, 11.0, 5.5), (1, 1, -1, 250.0, 19.0, 4.75)]
    assert result.borrow.tolist() == [0.0, 0.0, 0.45, 0.45]
    assert result.commissions.tolist() == [0.0, 10.25, 0.0, 0.0]


def test_nothing_trades_on_the_bar_that_was_decided_on_unless_asked():
    targets = decide_at(0, [1.0, 0.0])
    assert run(two_names(), targets).positions[0].tolist() == [0.0, 0.0]
    later = run(two_names(), targets, fill="next_close", costs=FREE)
    assert later.fills["price"].tolist() == [12.0]
    same = run(two_names(), targets, fill="close", costs=FREE)
    assert same.positions[0].tolist() == [1000.0, 0.0]
    assert same.fills["session"].tolist() == [0]


def test_dividends_are_paid_by_shorts_and_received_by_longs_on_shares_held_before_the_fills():
    market = two_names(dividends=[[0, 0], [5, 5], [0.1, 0.2], [0, 0]])
    result = run(market, decide_at(0, [0.5, -0.5]), costs=FREE)
    assert result.income.tolist() == [0.0, 0.0, 500 * 0.1 - 250 * 0.2, 0.0]


def test_a_split_leaves_whole_shares_and_pays_the_fraction_at_the_adjusted_close():
    market = panel([[10], [10], [4], [4]], open=[[10], [10], [4], [4]], split_ratios=[[1], [1], [2.5], [1]])
    result = run(market, decide_at(0, [0.1011]), costs=FREE)
    assert result.positions[1].tolist() == [101.0]
    assert result.positions[2].tolist() == [252.0]  # 252.5
    assert result.income[2] == pytest.approx(0.5 * 4.0)
    assert result.equity.tolist() == [10_000.0] * 4


def test_fractional_books_keep_fractions_through_a_split():
    market = panel([[10], [10], [4], [4]], open=[[10], [10], [4], [4]], split_ratios=[[1], [1], [2.5], [1]])
    result = run(market, decide_at(0, [0.1015]), costs=FREE, whole_shares=False)
    assert result.positions[:, 0].tolist() == pytest.approx([0.0, 101.5, 253.75, 253.75])
    assert result.income.tolist() == [0.0] * 4


def test_an_auction_gives_a_share_of_the_volume_and_the_rest_expires():
    market = two_names(volume=[[9, 9], [2_505, 100_000], [1, 1], [1, 1]])
    result = run(market, decide_at(0, [0.5, -0.5]))
    assert result.positions[3].tolist() == [250.0, -250.0]


def test_without_an_auction_price_the_order_expires_and_the_last_good_price_marks():
    market = panel([[10, 20], [NAN, 18], [11, 18], [11, 18]], open=[[10, 20], [NAN, 19], [11, 18], [11, 18]])
    result = run(market, decide_at(0, [0.5, 0.0]), costs=FREE)
    assert len(result.fills) == 0
    held = run(market, decide_at(1, [0.5, 0.0]), costs=FREE)
    assert held.fills["quantity"].tolist() == [500.0]  # sized at 10, the last good close


def test_nan_leaves_an_instrument_alone_and_whole_numbers_survive_binary_fractions():
    targets = np.array([[0.3, 0.3], [NAN, 0.0], [NAN, NAN], [NAN, NAN]])
    flat = panel([[1, 1]] * 4, open=[[1, 1]] * 4)
    result = run(flat, targets, costs=FREE)
    assert result.positions[:, 0].tolist() == [0.0, 3000.0, 3000.0, 3000.0]  # 0.3 x 10,000 is 3,000, not 2,999
    assert result.positions[:, 1].tolist() == [0.0, 3000.0, 0.0, 0.0]


def test_fill_auto_picks_the_open_where_there_is_one():
    closes = panel([[10], [11], [12]])
    assert run(two_names(), decide_at(0, [1.0, 0.0]), fill="auto").fill == "next_open"
    assert run(closes, decide_at(0, [1.0], 3), fill="auto").fill == "next_close"
    with pytest.raises(DataInvalid, match="no opens"):
        run(closes, decide_at(0, [1.0], 3))
    with pytest.raises(ConfigError, match="none of"):
        run(closes, decide_at(0, [1.0], 3), fill="yesterday")


@pytest.mark.parametrize("targets", [np.full((3, 2), 0.5), np.full((4, 2), np.inf)])
def test_targets_that_do_not_fit_are_refused(targets):
    with pytest.raises(DataInvalid):
        run(two_names(), targets)


def test_a_price_of_zero_and_a_ruined_account_are_refused():
    with pytest.raises(DataInvalid, match="close of A"):
        run(panel([[0], [1]], open=[[1], [1]]), decide_at(0, [1.0], 2))
    crash = panel([[10], [10], [1]], open=[[10], [10], [1]])
    with pytest.raises(DataInvalid, match="ruined"):
        run(crash, decide_at(0, [3.0], 3))


def test_costs_multiplied_leave_the_auction_as_it_is():
    double = times(COSTS, 2.0)
    assert (double.commission_bps, double.borrow_bps_per_year, double.auction_participation) == (20.0, 504.0, 0.1)
    with pytest.raises(ConfigError):
        times(COSTS, -1.0)


def test_a_result_cut_at_a_session_starts_with_the_equity_before_it():
    result = run(two_names(), decide_at(0, [0.5, -0.5]))
    tail = result.since(1)
    assert tail.initial_cash == result.equity[0]
    assert tail.returns.tolist() == result.returns[1:].tolist()
    assert tail.fills["session"].tolist() == [0, 0]
    assert tail.measures()["max_drawdown"].value == pytest.approx(1 - 10_739.30 / 10_739.75)
