import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from hedgefund_core.backtest.gate import GateInputs, GateLimits, RefitInputs, RiskFigure, refit_approval, strategy_approval
from hedgefund_core.backtest.trials import TrialSummary
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.measures import probability_of_backtest_overfitting

N = 9 * 252
BASELINE = np.random.default_rng(1).normal(0.0002, 0.005, size=N)
EXCESS = np.random.default_rng(2).normal(0.0, 0.004, size=N)
CANDIDATE = BASELINE + EXCESS - EXCESS.mean() + 0.0003
TRIALS = TrialSummary(n=3, n_effective=3.0, sharpes=np.array([0.1, 0.4, 0.6]), highest_correlation=0.4)
GOOD = GateInputs(
    candidate="ridge",
    baseline="momentum_12_1",
    returns=CANDIDATE,
    baseline_returns=BASELINE,
    double_cost_returns=CANDIDATE - 0.0001,
    available_years=20.0,
    placebo_percentile=0.98,
    placebo_draws=500,
    leakage_findings=(),
    trials=TRIALS,
)
REFIT = RefitInputs(
    candidate="7",
    incumbent="6",
    leakage_findings=(),
    golden_vectors_equal=True,
    parity_difference=1e-12,
    turnover=20.0,
    incumbent_turnover=19.0,
    rank_correlation=0.9,
    recent_ic=0.02,
    recent_ic_error=0.01,
    expected_ic=0.03,
    risk={"volatility": RiskFigure(value=0.08, limit=0.1), "beta": RiskFigure(value=-0.1, limit=0.2)},
)


def test_good_evidence_is_approved_and_every_check_is_written_down():
    verdict = strategy_approval(GOOD)
    assert verdict.passed
    assert verdict.failed == ()
    assert {name for name, check in verdict.checks.items() if check.hard} == {
        "out_of_sample_years",
        "excess_probability",
        "placebo_percentile",
        "placebo_draws",
        "positive_at_double_cost",
        "leakage_findings",
        "plausible",
    }
    assert not verdict.checks["deflated_sharpe"].hard


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"returns": BASELINE, "double_cost_returns": BASELINE}, "excess_probability"),
        ({"returns": BASELINE + EXCESS - EXCESS.mean()}, "excess_probability"),
        ({"placebo_percentile": 0.9499}, "placebo_percentile"),
        ({"placebo_percentile": math.nan}, "placebo_percentile"),
        ({"placebo_draws": 499}, "placebo_draws"),
        ({"double_cost_returns": CANDIDATE - 0.01}, "positive_at_double_cost"),
        ({"double_cost_returns": np.full(N, np.nan)}, "positive_at_double_cost"),
        ({"leakage_findings": ("feature rsi reads t + 1",)}, "leakage_findings"),
        ({"leakage_findings": None}, "leakage_findings"),
        ({"returns": CANDIDATE + 0.01}, "plausible"),
        ({"returns": np.full(N, np.nan), "baseline_returns": np.full(N, np.nan)}, "plausible"),
        ({"trials": replace(TRIALS, n=400, n_effective=200.0)}, "deflated_sharpe"),
        ({"trials": replace(TRIALS, n=5, n_effective=5.0, sharpes=np.empty(0))}, "deflated_sharpe"),
    ],
)
def test_each_hard_check_stops_alone(change, check):
    verdict = strategy_approval(replace(GOOD, **change))
    assert not verdict.passed
    assert check in verdict.failed


def test_eight_years_where_the_data_has_them():
    short = {name: getattr(GOOD, name)[: 7 * 252] for name in ("returns", "baseline_returns", "double_cost_returns")}
    assert strategy_approval(replace(GOOD, **short)).failed == ("out_of_sample_years",)
    little = strategy_approval(replace(GOOD, **short, available_years=7.0)).checks["out_of_sample_years"]
    assert little.passed
    assert "weaker" in little.note


def test_an_implausible_result_waits_for_a_person():
    too_good = replace(GOOD, returns=CANDIDATE + 0.01, double_cost_returns=CANDIDATE + 0.01)
    assert strategy_approval(too_good).failed == ("plausible",)
    signed = strategy_approval(replace(too_good, signed_by="A. Person"))
    assert signed.passed
    assert "A. Person" in signed.checks["plausible"].note


def test_an_implausible_difference_is_seen_behind_an_ordinary_track():
    leak = replace(GOOD, returns=BASELINE + 0.002 + EXCESS / 10, baseline_returns=BASELINE)
    assert "plausible" in strategy_approval(leak).failed


def test_deflation_is_hard_from_five_ideas_on():
    checks = [strategy_approval(replace(GOOD, trials=replace(TRIALS, n_effective=n))).checks["deflated_sharpe"] for n in (4.9, 5.0)]
    assert [check.hard for check in checks] == [False, True]
    assert "3 trials" in checks[0].note


def test_reports_never_decide():
    noise = np.random.default_rng(3).normal(size=(640, 16))
    searched = replace(
        GOOD,
        overfitting=probability_of_backtest_overfitting(noise, blocks=8),
        in_sample_sharpe=50.0,
        trials=replace(TRIALS, n=16),
    )
    verdict = strategy_approval(searched)
    assert verdict.passed
    assert not verdict.checks["out_of_sample_ratio"].passed
    assert "overfitting_probability" in verdict.checks
    few = strategy_approval(replace(searched, trials=TRIALS)).checks
    assert "overfitting_probability" not in few


def test_series_that_are_not_paired_are_refused():
    with pytest.raises(DataInvalid, match="paired"):
        replace(GOOD, baseline_returns=BASELINE[1:])


def test_limits_come_from_configuration_and_a_misspelt_one_is_an_error():
    strict = msgspec.convert({"placebo_percentile": 0.99}, GateLimits)
    assert strategy_approval(GOOD, strict).failed == ("placebo_percentile",)
    with pytest.raises(msgspec.ValidationError, match="placebo_percentil"):
        msgspec.convert({"placebo_percentil": 0.5}, GateLimits)


def test_a_verdict_survives_json():
    verdict = strategy_approval(GOOD)
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=type(verdict)) == verdict


def test_a_refit_that_is_the_same_strategy_passes():
    verdict = refit_approval(REFIT)
    assert verdict.passed
    assert verdict.kind == "refit_approval"
    assert {"risk_volatility", "risk_beta"} <= set(verdict.checks)


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"leakage_findings": None}, "leakage_findings"),
        ({"leakage_findings": ("x",)}, "leakage_findings"),
        ({"golden_vectors_equal": False}, "golden_vectors"),
        ({"golden_vectors_equal": None}, "golden_vectors"),
        ({"parity_difference": -2e-9}, "parity"),
        ({"parity_difference": math.nan}, "parity"),
        ({"turnover": 25.0}, "turnover_change"),
        ({"turnover": 13.0}, "turnover_change"),
        ({"incumbent_turnover": 0.0}, "turnover_change"),
        ({"rank_correlation": 0.69}, "rank_correlation"),
        ({"rank_correlation": math.nan}, "rank_correlation"),
        ({"recent_ic": 0.0099}, "information_coefficient"),
        ({"recent_ic_error": 0.0}, "information_coefficient"),
        ({"risk": {"volatility": RiskFigure(value=0.11, limit=0.1)}}, "risk_volatility"),
        ({"risk": {"beta": RiskFigure(value=-0.3, limit=0.2)}}, "risk_beta"),
        ({"risk": {}}, "risk_figures"),
    ],
)
def test_each_difference_keeps_the_incumbent(change, check):
    verdict = refit_approval(replace(REFIT, **change))
    assert not verdict.passed
    assert verdict.failed == (check,)
