"""The report in words, always in one order.

What you may conclude -> risk promised against kept -> costs -> return with its interval -> bias and its direction.
Return comes late on purpose: it is the least certain of the five.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hedgefund_core.backtest.report import Promise
from hedgefund_core.backtest.result import BacktestResult
from hedgefund_core.backtest.targets import TargetChance
from hedgefund_core.quant.measures import Measure, implausible


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the report: its title and its sentences."""

    title: str
    lines: tuple[str, ...]


def plausibility_alarm(sharpe: float) -> str | None:
    """The sentence that stops a report whose Sharpe ratio is too good; None where it is not."""
    if not implausible(sharpe):
        return None
    return f"Sharpe ratio {sharpe:.2f} is above 3: implausible. Look for a leak first; nothing is promoted until a person signs."


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the sentences are written from.

    Attributes
    ----------
    baseline_sharpes : label of each baseline -> its Sharpe ratio. placebo_percentile : share of placebos below, or None.
    trials : number of trials made so far. biases : sentences on the data set, each with its direction.
    not_evaluable : rules waived for this source.
    """

    result: BacktestResult
    measures: Mapping[str, Measure]
    promises: Sequence[Promise]
    chances: Sequence[TargetChance]
    baseline_sharpes: Mapping[str, float]
    placebo_percentile: float | None
    trials: int
    biases: Sequence[str]
    not_evaluable: Sequence[str] = ()


def conclusions(evidence: Evidence) -> tuple[Section, ...]:
    """The report in words, always in this order."""
    return (
        Section(title="What you may conclude", lines=tuple(_what_to_conclude(evidence))),
        Section(title="Risk promised against kept", lines=tuple(_risk_lines(evidence))),
        Section(title="Costs", lines=tuple(_cost_lines(evidence))),
        Section(title="Return, with its interval", lines=tuple(_return_lines(evidence))),
        Section(
            title="Bias and its direction",
            lines=tuple(evidence.biases) or ("No bias of this data set is declared; that is not the same as none.",),
        ),
    )


def _interval(measure: Measure, scale: float = 1.0, digits: int = 2, unit: str = "") -> str:
    text = f"{measure.value * scale:.{digits}f}{unit}"
    if measure.low is None or measure.high is None:
        return text
    return f"{text} (95 %: {measure.low * scale:.{digits}f} to {measure.high * scale:.{digits}f}{unit})"


def _what_to_conclude(evidence: Evidence) -> list[str]:
    sharpe = evidence.measures["sharpe_ratio"]
    lines = []
    alarm = plausibility_alarm(sharpe.value)
    if alarm is not None:
        lines.append(alarm)
    if sharpe.low is None or np.isnan(sharpe.value):
        lines.append("The book did not move enough to say anything.")
    elif sharpe.low > 0.0:
        lines.append(f"Net of costs the Sharpe ratio is above zero with 95 % confidence: {_interval(sharpe)}.")
    else:
        lines.append(f"Net of costs the Sharpe ratio is {_interval(sharpe)}: zero is inside the interval, so skill is not shown.")
    if evidence.placebo_percentile is not None:
        share = evidence.placebo_percentile
        word = "more than" if share >= 0.95 else "not more than"
        lines.append(f"{share:.0%} of placebo books with shuffled signals did worse: {word} luck explains (the bar is 95 %).")
    better = [label for label, value in evidence.baseline_sharpes.items() if value >= sharpe.value]
    if better:
        lines.append(f"These baselines did as well or better by Sharpe ratio: {', '.join(better)}.")
    plural = "trial" if evidence.trials == 1 else "trials"
    lines.append(f"{evidence.trials} {plural} went into this result; more trials make a lucky best one more likely.")
    return lines


def _risk_lines(evidence: Evidence) -> list[str]:
    constructed = [promise for promise in evidence.promises if promise.by_construction and promise.kept_word != "not measured"]
    exceeded = [promise for promise in constructed if promise.kept_word == "exceeded"]
    lines = [f"{len(constructed) - len(exceeded)} of {len(constructed)} limits promised by construction held at every decision."]
    lines += [f"{promise.name}: promised {promise.promised:.3g}, worst {promise.kept:.3g} ({promise.detail})." for promise in exceeded]
    lines += [
        f"Beyond its limit: {promise.name}, {promise.shown(promise.kept)} against {promise.shown(promise.promised)} ({promise.detail})."
        for promise in evidence.promises
        if not promise.by_construction and promise.kept_word == "exceeded"
    ]
    denied, stand_ins = len(evidence.result.denied), evidence.result.stand_ins
    lines.append(f"{denied} orders were denied by the rules; the stand-in resumed {stand_ins} times after a flattening.")
    if evidence.not_evaluable:
        lines.append(f"Not evaluable on this source and replaced by a cap in money: {', '.join(evidence.not_evaluable)}.")
    return lines


def _cost_lines(evidence: Evidence) -> list[str]:
    result, costs = evidence.result, evidence.result.costs
    years = len(result.sessions) / result.sessions_per_year
    mean = float(result.equity.mean())
    commission, borrow = float(result.commissions.sum()), float(result.borrow.sum())
    return [
        f"Commission {costs.commission_bps:g} bp of notional: {commission:,.0f}, {commission / mean / years:.2%} of equity a year.",
        f"Borrow {costs.borrow_bps_per_year:g} bp a year on shorts: {borrow:,.0f}, {borrow / mean / years:.2%} of equity a year.",
        f"Turnover {float(result.traded.sum()) / years:.1f} times equity a year, both sides counted; orders fill at {result.fill}.",
    ]


def _return_lines(evidence: Evidence) -> list[str]:
    measures = evidence.measures
    lines = [
        f"Compound return {_interval(measures['annual_return'], 100, 1, ' %')} a year.",
        f"Volatility {_interval(measures['volatility'], 100, 1, ' %')} a year, maximum drawdown {measures['max_drawdown'].value:.1%}.",
        f"Sharpe ratio {_interval(measures['sharpe_ratio'])}; over zero, no bill rates are subtracted.",
    ]
    return lines if not evidence.chances else [*lines, _chance_line(evidence.chances)]


def _chance_line(chances: Sequence[TargetChance]) -> str:
    """The mission's targets in one sentence; each with its interval stands in the table."""
    likely = [chance.label for chance in chances if chance.probability >= 0.5]
    unlikely = [f"{chance.label} ({chance.probability:.0%})" for chance in chances if chance.probability < 0.5]
    met = f"More likely met than not: {', '.join(likely)}. " if likely else ""
    return f"Targets of the mission. {met}" + (f"Less likely than not: {', '.join(unlikely)}." if unlikely else "")
