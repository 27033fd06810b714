"""Baselines, stresses, promises, targets and sentences."""

from dataclasses import replace

import numpy as np
import pytest

from hedgefund_core.backtest import run_target_weights
from hedgefund_core.backtest.baselines import all_baselines, equal_weight_targets
from hedgefund_core.backtest.conclusions import Evidence, conclusions, plausibility_alarm
from hedgefund_core.backtest.report import drawdown_series, exposure, monthly_costs, monthly_returns, promised_against_kept, rolling_sharpe
from hedgefund_core.backtest.stress import stress_book
from hedgefund_core.backtest.targets import mission_probabilities
from hedgefund_core.errors import DataInvalid
from tests.builders import close_only, mandate, momentum_weights, noisy_panel

START = 300


@pytest.fixture(scope="module")
def market():
    panel = close_only(noisy_panel(seed=4, n_sessions=460, n_symbols=10))
    return replace(panel, benchmark=panel.close.mean(axis=1), benchmark_name="Noise 10")


@pytest.fixture(scope="module")
def result(market):
    book = mandate()
    targets = momentum_weights(market, book)
    targets[:START] = np.nan
    return run_target_weights(market, targets, costs=book.costs, limits=book, fill="auto", initial_cash=1e6).since(START)


def baselines_of(panel, start=START):
    book = mandate()
    return all_baselines(panel, mandate=book, costs=book.costs, fill="auto", initial_cash=1e6, start=start)


def test_the_momentum_baseline_is_the_book_that_trades_its_weights(market):
    book, plain = mandate(), replace(market, benchmark=None)
    targets = momentum_weights(plain, book)
    targets[:START] = np.nan
    held = run_target_weights(plain, targets, costs=book.costs, limits=book, fill="auto", initial_cash=1e6)
    found = baselines_of(plain)
    assert list(found) == ["cash", "equal_weight", "momentum_12_1"]
    assert np.array_equal(found["momentum_12_1"].returns, held.returns[START:])


def test_every_baseline_covers_the_same_sessions_and_the_index_is_labelled(market, result):
    found = baselines_of(market)
    assert not found["cash"].returns.any()
    assert found["index"].label == "Noise 10 (price index)"
    assert found["index"].equity[-1] == pytest.approx(market.benchmark[-1] / market.benchmark[START])
    assert {len(baseline.equity) for baseline in found.values()} == {len(result.sessions)}
    with pytest.raises(DataInvalid):
        baselines_of(market, start=460)


def test_equal_weights_hold_what_trades_and_start_at_once(market):
    targets = equal_weight_targets(replace(market, close=np.where(np.arange(10) == 3, np.nan, market.close)), start=7)
    assert np.isnan(targets[:7]).all()
    assert targets[7].sum() == pytest.approx(1.0)
    assert targets[7, 3] == 0.0


def test_promises_by_construction_are_kept_and_the_rest_is_reported(result):
    promises = {promise.name: promise for promise in promised_against_kept(result, mandate())}
    constructed = [promise for promise in promises.values() if promise.by_construction]
    assert len(constructed) == 5
    assert {promise.kept_word for promise in constructed} == {"kept"}
    assert promises["realized volatility"].kept == pytest.approx(result.returns[1:].std(ddof=1) * 252**0.5, rel=0.02)
    assert 0.0 <= promises["sessions beyond VaR 95 %"].kept <= 1.0


def test_series_are_what_they_say(result):
    shown = exposure(result)
    assert (shown.gross >= np.abs(shown.net) - 1e-12).all()
    assert drawdown_series(result).max() == pytest.approx(result.measures()["max_drawdown"].value)
    table = monthly_returns(result.returns, result.sessions)
    assert np.nanprod(1 + table.values) == pytest.approx(result.equity[-1] / result.initial_cash)
    costs = monthly_costs(result)
    assert costs.turnover.sum() == pytest.approx(result.traded.sum())
    assert (costs.commission >= 0).all()
    rolling = rolling_sharpe(np.array([0.01, 0.02, 0.03, 0.03]), sessions_per_year=4.0, window=3)
    assert np.isnan(rolling[:2]).all()
    assert rolling[2] == pytest.approx(0.02 / 0.01 * 2)


def test_stresses_are_positive_losses_of_todays_book():
    returns = np.zeros((60, 2))
    returns[10], returns[11] = [-0.10, 0.0], [-0.05, 0.02]
    sessions = np.datetime64("2008-09-01") + 2 * np.arange(60)
    losses = stress_book(np.array([0.5, -0.4]), returns, sessions, np.array([1.2, np.nan]), decay=0.94, sessions_per_year=252)
    by_name = {loss.name: loss for loss in losses}
    assert by_name["worst 1 session of history"].loss == pytest.approx(0.05)
    assert by_name["worst 5 sessions of history"].loss == pytest.approx(0.05 + 0.025 + 0.008)
    assert by_name["market moves 20 % in a day"].loss == pytest.approx(0.2 * (0.5 * 1.2 - 0.4))
    assert by_name["largest position gaps 30 %"].loss == pytest.approx(0.15)
    assert not by_name["largest position gaps 30 %"].within
    assert "crisis of autumn 2008" in by_name
    assert "pandemic fall of 2020" not in by_name
    with pytest.raises(DataInvalid):
        stress_book(np.ones(3), returns, sessions, np.ones(3), decay=0.94, sessions_per_year=252)


def test_probabilities_are_seeded_and_know_good_from_bad():
    rng = np.random.default_rng(1)
    good, bad = rng.normal(0.002, 0.004, 1500), rng.normal(-0.001, 0.02, 1500)
    first = {chance.name: chance for chance in mission_probabilities(good, benchmark=bad, seed=3, draws=200)}
    again = {chance.name: chance for chance in mission_probabilities(good, benchmark=bad, seed=3, draws=200)}
    assert first == again
    assert first["sharpe"].probability > 0.95
    assert first["sharpe"].low < first["sharpe"].value < first["sharpe"].high
    worse = {chance.name: chance for chance in mission_probabilities(bad, draws=200)}
    assert worse["sharpe"].probability < 0.05
    assert worse["max_drawdown"].probability_high < 0.05
    assert "beta" not in worse
    with pytest.raises(DataInvalid):
        mission_probabilities(good, benchmark=bad[:-1])


def evidence(result, **changes):
    base = Evidence(
        result=result,
        measures=result.measures(),
        promises=promised_against_kept(result, mandate()),
        chances=mission_probabilities(result.returns, draws=100),
        baseline_sharpes={"Equal weight": 9.0, "Cash": -9.0},
        placebo_percentile=0.5,
        trials=2,
        biases=("Survivors only: flatters long books.",),
        not_evaluable=("order_quantity",),
    )
    return replace(base, **changes)


def test_the_report_keeps_its_order_and_names_what_is_weak(result):
    sections = conclusions(evidence(result))
    titles = [section.title for section in sections]
    assert titles == [
        "What you may conclude",
        "Risk promised against kept",
        "Costs",
        "Return, with its interval",
        "Bias and its direction",
    ]
    first = " ".join(sections[0].lines)
    assert "not more than luck" in first
    assert "Equal weight" in first
    assert "Cash" not in first
    assert "order_quantity" in " ".join(sections[1].lines)
    assert sections[4].lines == ("Survivors only: flatters long books.",)


def test_an_implausible_sharpe_ratio_is_the_first_thing_said(result):
    assert plausibility_alarm(2.9) is None
    measures = result.measures()
    wild = {**measures, "sharpe_ratio": replace(measures["sharpe_ratio"], value=4.2, low=3.0, high=5.0)}
    assert "implausible" in conclusions(evidence(result, measures=wild))[0].lines[0]
