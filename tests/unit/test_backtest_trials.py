import math

import msgspec
import numpy as np
import pytest

from hedgefund_core.backtest.trials import TrialIdentity, TrialRecord, ledger, summarise_trials, trial_key
from hedgefund_core.errors import DataInvalid

IDENTITY = TrialIdentity(
    features={"momentum_12_1": {"skip": 21}},
    model="ridge",
    params={"alpha": 1000},
    universe=("AAPL", "MSFT"),
    first_session="1995-01-03",
    last_session="2022-12-28",
    costs={"commission_bps": 3},
)


def record(key, seed, n=300, first="2020-01-01", mean=0.0):
    returns = np.random.default_rng(seed).normal(mean, 0.01, size=n)
    return TrialRecord(key=key, returns=returns, sessions=np.datetime64(first) + np.arange(n))


def test_a_rerun_is_the_same_trial():
    again = msgspec.structs.replace(IDENTITY, params={"alpha": 1000.0}, universe=("MSFT", "AAPL"), costs={"commission_bps": 3.0})
    assert trial_key(again) == trial_key(IDENTITY)
    assert len(trial_key(IDENTITY)) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"features": {"momentum_12_1": {"skip": 20}}},
        {"features": {"momentum_6_1": {"skip": 21}}},
        {"model": "hist_gradient_boosting"},
        {"params": {"alpha": 100}},
        {"universe": ("AAPL",)},
        {"last_session": "2022-12-29"},
        {"costs": {"commission_bps": 6}},
    ],
)
def test_anything_else_is_another_trial(change):
    assert trial_key(msgspec.structs.replace(IDENTITY, **change)) != trial_key(IDENTITY)


def test_the_ledger_counts_a_key_once():
    assert list(ledger([record("a", 1), record("b", 2), record("a", 3)])) == ["a", "b"]
    summary = summarise_trials([record("a", 1), record("b", 2), record("a", 1)])
    assert (summary.n, summary.n_effective) == (2, 2.0)
    assert summary.sharpes.shape == (2,)
    assert abs(summary.highest_correlation) < 0.2


def test_variants_of_one_idea_are_one_effective_trial():
    base = record("a", 1)
    noise = np.random.default_rng(9).normal(0, 0.001, size=300)
    variant = TrialRecord(key="b", returns=base.returns + noise, sessions=base.sessions)
    summary = summarise_trials([base, variant, record("c", 2)])
    assert (summary.n, summary.n_effective) == (3, 2.0)
    assert summary.highest_correlation > 0.9


def test_prior_trials_count_whole():
    summary = summarise_trials([record("a", 1)], prior_trials=4)
    assert (summary.n, summary.n_effective) == (5, 5.0)
    assert math.isnan(summary.highest_correlation)
    with pytest.raises(DataInvalid):
        summarise_trials([], prior_trials=-1)


def test_trials_without_common_sessions_count_whole():
    summary = summarise_trials([record("a", 1), record("b", 1, first="2022-01-01")])
    assert summary.n_effective == 2.0


def test_trials_are_compared_on_their_common_sessions():
    longer = record("a", 1)
    later = TrialRecord(key="b", returns=longer.returns[100:], sessions=longer.sessions[100:])
    assert summarise_trials([longer, later]).n_effective == 1.0


def test_sharpe_ratios_are_over_the_declared_baseline():
    base = record("base", 1, mean=0.001)
    same = TrialRecord(key="a", returns=base.returns + 1e-4, sessions=base.sessions)
    assert summarise_trials([same], baseline=base).sharpes[0] == 0.0  # a constant difference has no spread to divide by
    own = same.returns.mean() / same.returns.std(ddof=1) * np.sqrt(252)
    assert summarise_trials([same]).sharpes[0] == pytest.approx(own)
    with pytest.raises(DataInvalid, match="baseline"):
        summarise_trials([record("a", 1, first="2019-01-01")], baseline=base)


def test_no_trials_are_no_trials():
    summary = summarise_trials([])
    assert (summary.n, summary.n_effective, summary.sharpes.size) == (0, 0.0, 0)
