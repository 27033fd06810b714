"""The gate: a strategy is approved rarely and on evidence; a refit of an approved one automatically and on sameness.

Pure functions from figures to a verdict (contracts: Gate). A figure that is missing or NaN fails its check.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from hedgefund_core.backtest.trials import TrialSummary
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.measures.measure import Measure
from hedgefund_core.quant.measures.sharpe import deflated_sharpe_ratio, is_flat, probabilistic_sharpe_ratio, sharpe_ratio

Floats = NDArray[np.float64]


class GateLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds of both gates; a misspelt one is an error, not a lost limit."""

    minimum_years: float = 8.0
    excess_probability: float = 0.95
    placebo_percentile: float = 0.95
    minimum_placebos: int = 500
    deflated_probability: float = 0.95
    deflated_hard_from_effective_trials: float = 5.0
    implausible_sharpe: float = 3.0
    overfitting_minimum_trials: int = 16
    overfitting_maximum_correlation: float = 0.9
    overfitting_probability: float = 0.5
    parity_tolerance: float = 1e-9
    turnover_tolerance: float = 0.30
    rank_correlation: float = 0.70
    information_coefficient_errors: float = 2.0


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a verdict. Only hard checks decide; the others are reports."""

    value: float
    limit: float
    passed: bool
    hard: bool
    note: str


class GateVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate says; signed into the bundle by the shell. ``passed`` = every hard check passed."""

    kind: Literal["strategy_approval", "refit_approval"]
    candidate: str
    reference: str
    passed: bool
    checks: dict[str, Check]

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the hard checks that failed."""
        return tuple(name for name, check in self.checks.items() if check.hard and not check.passed)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateInputs:
    """Evidence for a strategy, all out of sample and net of costs.

    Attributes
    ----------
    candidate, baseline : names; the baseline is declared in advance and of the same mandate ("cash" for the bootstrap).
    returns : float64 (n,), net returns per session of the candidate.
    baseline_returns : float64 (n,), of the baseline on the same sessions; zeros for cash.
    double_cost_returns : float64 (n,), the candidate's with every cost doubled.
    available_years : years out of sample that the data could give; less than the minimum lowers the demand to it.
    placebo_percentile, placebo_draws : rank among the placebos (``backtest.placebo``).
    leakage_findings : what the look-ahead checks found; None = they did not run, which fails.
    trials : the search so far, the candidate included.
    overfitting : probability of backtest overfitting where it was computed (a report).
    in_sample_sharpe : Sharpe ratio on the training sessions where known (a report).
    signed_by : the person who looked at an implausible result and signed for it.
    """

    candidate: str
    baseline: str
    returns: Floats
    baseline_returns: Floats
    double_cost_returns: Floats
    available_years: float
    placebo_percentile: float
    placebo_draws: int
    leakage_findings: tuple[str, ...] | None
    trials: TrialSummary
    sessions_per_year: float = 252.0
    overfitting: Measure | None = None
    in_sample_sharpe: float | None = None
    signed_by: str | None = None

    def __post_init__(self) -> None:
        """Refuse series that are not paired: a difference of unlike sessions says nothing."""
        shapes = {self.returns.shape, self.baseline_returns.shape, self.double_cost_returns.shape}
        if len(shapes) != 1 or self.returns.ndim != 1:
            raise DataInvalid(f"candidate, baseline and double-cost returns are not paired: {sorted(shapes)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskFigure:
    """A promised risk figure: passes while value <= limit (absolute values, so that a short beta counts too)."""

    value: float
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitInputs:
    """Evidence that a refit is the strategy that was approved.

    Attributes
    ----------
    candidate, incumbent : versions.
    leakage_findings : None = the checks did not run, which fails.
    golden_vectors_equal : result of a fresh process that loaded the bundle; None = not run, which fails.
    parity_difference : largest relative difference of the two engines' equity.
    risk : name -> figure with its limit from the mandate.
    turnover, incumbent_turnover : notional a year over equity.
    rank_correlation : mean Spearman correlation of the two models' scores on recent sessions.
    recent_ic, expected_ic : recent information coefficient and the one it was approved with.
    recent_ic_error : standard error of the recent one.
    """

    candidate: str
    incumbent: str
    leakage_findings: tuple[str, ...] | None
    golden_vectors_equal: bool | None
    parity_difference: float
    turnover: float
    incumbent_turnover: float
    rank_correlation: float
    recent_ic: float
    recent_ic_error: float
    expected_ic: float
    risk: dict[str, RiskFigure] = field(default_factory=dict)


def strategy_approval(inputs: GateInputs, limits: GateLimits | None = None) -> GateVerdict:
    """Judge a strategy: every hard check must pass (contracts: Gate, strategy approval)."""
    limits = limits or GateLimits()
    checks = {
        "out_of_sample_years": _years(inputs, limits),
        "excess_probability": _excess(inputs, limits),
        "placebo_percentile": _at_least(
            inputs.placebo_percentile, limits.placebo_percentile, "share of books with permuted names below the candidate"
        ),
        "placebo_draws": _at_least(float(inputs.placebo_draws), float(limits.minimum_placebos), "placebos drawn"),
        "positive_at_double_cost": _double_cost(inputs),
        "leakage_findings": _leakage(inputs.leakage_findings),
        "deflated_sharpe": _deflated(inputs, limits),
        "plausible": _plausible(inputs, limits),
        **_reports(inputs, limits),
    }
    return _verdict("strategy_approval", inputs.candidate, inputs.baseline, checks)


def refit_approval(inputs: RefitInputs, limits: GateLimits | None = None) -> GateVerdict:
    """Judge a refit of an approved strategy; refused = the incumbent continues (contracts: Gate, refit)."""
    limits = limits or GateLimits()
    change = inputs.turnover / inputs.incumbent_turnover - 1.0 if inputs.incumbent_turnover > 0 else math.nan
    shortfall = (inputs.expected_ic - inputs.recent_ic) / inputs.recent_ic_error if inputs.recent_ic_error > 0 else math.nan
    golden = math.nan if inputs.golden_vectors_equal is None else float(inputs.golden_vectors_equal)
    checks = {
        "leakage_findings": _leakage(inputs.leakage_findings),
        "golden_vectors": _at_least(golden, 1.0, "golden vectors equal in a fresh process (1 = yes)"),
        "parity": _at_most(abs(inputs.parity_difference), limits.parity_tolerance, "largest relative difference of the engines"),
        "risk_figures": _at_least(float(len(inputs.risk)), 1.0, "risk figures given"),
        "turnover_change": _at_most(abs(change), limits.turnover_tolerance, "relative change of turnover against the incumbent"),
        "rank_correlation": _at_least(inputs.rank_correlation, limits.rank_correlation, "mean rank correlation with the incumbent"),
        "information_coefficient": _at_most(
            shortfall, limits.information_coefficient_errors, "standard errors by which the recent IC falls short of the expected"
        ),
    }
    for name, figure in inputs.risk.items():
        checks[f"risk_{name}"] = _at_most(abs(figure.value), figure.limit, f"{name} against the mandate's limit")
    return _verdict("refit_approval", inputs.candidate, inputs.incumbent, checks)


def _verdict(kind: Literal["strategy_approval", "refit_approval"], candidate: str, reference: str, checks: dict[str, Check]) -> GateVerdict:
    passed = all(check.passed for check in checks.values() if check.hard)
    return GateVerdict(kind=kind, candidate=candidate, reference=reference, passed=passed, checks=checks)


def _at_least(value: float, limit: float, note: str, *, hard: bool = True) -> Check:
    return Check(value=value, limit=limit, passed=value >= limit, hard=hard, note=note)  # NaN compares false: not evaluable fails


def _at_most(value: float, limit: float, note: str, *, hard: bool = True) -> Check:
    return Check(value=value, limit=limit, passed=value <= limit, hard=hard, note=note)


def _years(inputs: GateInputs, limits: GateLimits) -> Check:
    years = inputs.returns.size / inputs.sessions_per_year
    demanded = min(limits.minimum_years, inputs.available_years)
    note = "years out of sample"
    if demanded < limits.minimum_years:
        note += f"; the data has only {inputs.available_years:.1f} of the {limits.minimum_years:g} wanted: weaker evidence"
    # Half a session of slack: 8 years of 252 sessions must not fail on a rounded calendar.
    slack = 0.5 / inputs.sessions_per_year
    return Check(value=years, limit=demanded, passed=years + slack >= demanded, hard=True, note=note)


def _excess(inputs: GateInputs, limits: GateLimits) -> Check:
    excess = inputs.returns - inputs.baseline_returns
    probability = _probability(excess, inputs.sessions_per_year)
    note = f"probability that the paired difference to {inputs.baseline} is truly positive"
    return _at_least(probability, limits.excess_probability, note)


def _probability(returns: Floats, sessions_per_year: float) -> float:
    if returns.size < 3 or not bool(np.all(np.isfinite(returns))) or is_flat(returns):
        return math.nan
    return probabilistic_sharpe_ratio(returns, sessions_per_year=sessions_per_year).value


def _double_cost(inputs: GateInputs) -> Check:
    mean = float(inputs.double_cost_returns.mean()) * inputs.sessions_per_year if inputs.returns.size else math.nan
    return Check(value=mean, limit=0.0, passed=mean > 0.0, hard=True, note="annual mean net return with every cost doubled")


def _leakage(findings: tuple[str, ...] | None) -> Check:
    if findings is None:
        return Check(value=math.nan, limit=0.0, passed=False, hard=True, note="the look-ahead checks did not run")
    note = "; ".join(findings) if findings else "no look-ahead found"
    return _at_most(float(len(findings)), 0.0, note)


def _deflated(inputs: GateInputs, limits: GateLimits) -> Check:
    trials, excess = inputs.trials, inputs.returns - inputs.baseline_returns
    hard = trials.n_effective >= limits.deflated_hard_from_effective_trials
    value = math.nan
    if not math.isnan(_probability(excess, inputs.sessions_per_year)) and trials.sharpes.size:
        value = deflated_sharpe_ratio(
            excess, trial_sharpes=trials.sharpes, effective_trials=trials.n_effective, sessions_per_year=inputs.sessions_per_year
        ).value
    note = f"{trials.n} trials, {trials.n_effective:.1f} effective"
    note += "" if hard else f"; a report below {limits.deflated_hard_from_effective_trials:g} effective trials"
    return _at_least(value, limits.deflated_probability, note, hard=hard)


def _plausible(inputs: GateInputs, limits: GateLimits) -> Check:
    series = (inputs.returns, inputs.returns - inputs.baseline_returns)
    known = [one for one in series if not math.isnan(_probability(one, inputs.sessions_per_year))]
    highest = max((sharpe_ratio(one, sessions_per_year=inputs.sessions_per_year).value for one in known), default=math.nan)
    note = "highest annual Sharpe ratio shown, alone or over the baseline"
    if highest > limits.implausible_sharpe:
        note += f"; too good to be true: {'signed by ' + inputs.signed_by if inputs.signed_by else 'stops until a person signs'}"
    passed = highest <= limits.implausible_sharpe or (highest > limits.implausible_sharpe and bool(inputs.signed_by))
    return Check(value=highest, limit=limits.implausible_sharpe, passed=passed, hard=True, note=note)


def _reports(inputs: GateInputs, limits: GateLimits) -> dict[str, Check]:
    """Figures that inform and never decide."""
    reports: dict[str, Check] = {}
    distinct = not inputs.trials.highest_correlation > limits.overfitting_maximum_correlation
    if inputs.overfitting is not None and inputs.trials.n >= limits.overfitting_minimum_trials and distinct:
        note = "probability of backtest overfitting of the selection (a report)"
        reports["overfitting_probability"] = _at_most(inputs.overfitting.value, limits.overfitting_probability, note, hard=False)
    if inputs.in_sample_sharpe is not None and inputs.in_sample_sharpe > 0 and inputs.returns.size >= 3 and not is_flat(inputs.returns):
        ratio = sharpe_ratio(inputs.returns, sessions_per_year=inputs.sessions_per_year).value / inputs.in_sample_sharpe
        reports["out_of_sample_ratio"] = _at_least(ratio, 0.5, "Sharpe ratio out of sample / in sample (a report)", hard=False)
    return reports
