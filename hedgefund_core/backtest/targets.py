"""The mission's targets against a track record: the figure, its interval, and the probability that the target is met.

Resampled histories (stationary bootstrap, Politis & Romano 1994) of the same length as the record say how far the figure
could have come out otherwise. They know nothing of regimes that the record did not see, and of nothing before its start.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.measures import annual_sharpes, stationary_indices
from hedgefund_core.quant.measures.measure import Z_95, clean

Floats = NDArray[np.float64]
Statistic = Callable[[Floats, Floats | None, float], Floats]

TAIL = 0.05
_ROWS_AT_ONCE = 1_500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A target of the mission: ``statistic`` maps (draws, n) returns and benchmark returns to (draws,)."""

    name: str
    label: str
    bound: float
    above: bool
    statistic: Statistic
    needs_benchmark: bool = False
    percent: bool = False

    def met(self, values: Floats) -> NDArray[np.bool_]:
        """Whether each value meets the bound; NaN does not."""
        return np.asarray(values > self.bound if self.above else values < self.bound, dtype=np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetChance:
    """How likely a target is met.

    Attributes
    ----------
    value : of the record. low, high : central 95 % of the resampled histories.
    probability : share of resampled histories that meet the target, with its 95 % Monte Carlo interval (Wilson 1927).
    """

    name: str
    label: str
    bound: float
    above: bool
    percent: bool
    value: float
    low: float
    high: float
    probability: float
    probability_low: float
    probability_high: float

    def shown(self, value: float) -> str:
        """A value of this figure as people read it."""
        return f"{value:.1%}" if self.percent else f"{value:.2f}"


def _growth(returns: Floats) -> Floats:
    return np.asarray(np.cumprod(1.0 + returns, axis=1), dtype=np.float64)


def _drawdown(returns: Floats, benchmark: Floats | None, years: float) -> Floats:
    growth = _growth(returns)
    peak = np.maximum(np.maximum.accumulate(growth, axis=1), 1.0)
    return np.asarray((1.0 - growth / peak).max(axis=1), dtype=np.float64)


def _calmar(returns: Floats, benchmark: Floats | None, years: float) -> Floats:
    annual = _growth(returns)[:, -1] ** (years / returns.shape[1]) - 1.0
    fall = _drawdown(returns, benchmark, years)
    return np.where(fall > 0.0, annual / np.where(fall > 0.0, fall, 1.0), np.nan)


def _wins(returns: Floats, benchmark: Floats | None, years: float) -> Floats:
    moved = np.maximum((returns != 0.0).sum(axis=1), 1)
    return np.asarray((returns > 0.0).sum(axis=1) / moved, dtype=np.float64)


def _profit_factor(returns: Floats, benchmark: Floats | None, years: float) -> Floats:
    lost = -np.minimum(returns, 0.0).sum(axis=1)
    return np.where(lost > 0.0, np.maximum(returns, 0.0).sum(axis=1) / np.where(lost > 0.0, lost, 1.0), np.nan)


def _tail(returns: Floats) -> Floats:
    """The worst 5 % of sessions of each row, ascending: (draws, k)."""
    count = max(1, math.ceil(TAIL * returns.shape[1] - 1e-9))
    return np.sort(np.partition(returns, count - 1, axis=1)[:, :count], axis=1)


def _value_at_risk(returns: Floats, benchmark: Floats | None, years: float) -> Floats:
    return -_tail(returns)[:, -1]


def _tail_loss(returns: Floats, benchmark: Floats | None, years: float) -> Floats:
    return np.asarray(-_tail(returns).mean(axis=1), dtype=np.float64)


def _joint(returns: Floats, benchmark: Floats | None) -> tuple[Floats, Floats, Floats]:
    """Covariance with the benchmark and both variances, each (draws,)."""
    other = np.zeros_like(returns) if benchmark is None else benchmark
    mine, theirs = returns - returns.mean(axis=1, keepdims=True), other - other.mean(axis=1, keepdims=True)
    return (mine * theirs).mean(axis=1), (mine * mine).mean(axis=1), (theirs * theirs).mean(axis=1)


def _beta(returns: Floats, benchmark: Floats | None, years: float) -> Floats:
    covariance, _, variance = _joint(returns, benchmark)
    return np.where(variance > 0.0, np.abs(covariance) / np.where(variance > 0.0, variance, 1.0), np.nan)


def _correlation(returns: Floats, benchmark: Floats | None, years: float) -> Floats:
    covariance, mine, theirs = _joint(returns, benchmark)
    scale = np.sqrt(mine * theirs)
    return np.where(scale > 0.0, np.abs(covariance) / np.where(scale > 0.0, scale, 1.0), np.nan)


TARGETS: tuple[Target, ...] = (
    Target(name="sharpe", label="Sharpe ratio", bound=1.5, above=True, statistic=lambda r, _, y: annual_sharpes(r, y)),
    Target(name="max_drawdown", label="Maximum drawdown", bound=0.10, above=False, statistic=_drawdown, percent=True),
    Target(name="win_rate", label="Winning sessions", bound=0.55, above=True, statistic=_wins, percent=True),
    Target(name="profit_factor", label="Profit factor", bound=1.5, above=True, statistic=_profit_factor),
    Target(name="calmar", label="Calmar ratio", bound=2.0, above=True, statistic=_calmar),
    Target(name="var_95", label="VaR 95 %, one session", bound=0.02, above=False, statistic=_value_at_risk, percent=True),
    Target(name="cvar_95", label="CVaR 95 %, one session", bound=0.03, above=False, statistic=_tail_loss, percent=True),
    Target(
        name="volatility",
        label="Volatility a year",
        bound=0.15,
        above=False,
        statistic=lambda r, _, y: np.asarray(r.std(axis=1, ddof=1) * np.sqrt(y)),
        percent=True,
    ),
    Target(name="beta", label="Beta to the benchmark, absolute", bound=0.5, above=False, statistic=_beta, needs_benchmark=True),
    Target(name="correlation", label="Correlation, absolute", bound=0.3, above=False, statistic=_correlation, needs_benchmark=True),
)


def mission_probabilities(
    returns: Floats,
    *,
    benchmark: Floats | None = None,
    sessions_per_year: float = 252.0,
    seed: int = 0,
    draws: int = 1000,
    mean_block: float = 21.0,
) -> tuple[TargetChance, ...]:
    """Probability of meeting each target of the mission.

    Parameters
    ----------
    returns : float64 (n,), simple net returns per session, finite. benchmark : float64 (n,), or None.
    seed, draws : of the bootstrap; the same seed gives the same answer. mean_block : mean block length in sessions.

    Returns
    -------
    One `TargetChance` a target, in the order of ``TARGETS``; those that need a benchmark are left out without one.

    Raises
    ------
    DataInvalid : fewer than 20 returns, or a benchmark of another length.
    """
    checked = clean(returns, minimum=20)
    other = None if benchmark is None else clean(benchmark, name="benchmark returns", minimum=20)
    if other is not None and other.size != checked.size:
        raise DataInvalid(f"{checked.size} returns and {other.size} of the benchmark")
    asked = [target for target in TARGETS if other is not None or not target.needs_benchmark]
    samples: dict[str, list[Floats]] = {target.name: [] for target in asked}
    generator = np.random.default_rng(seed)
    chunk = max(1, _ROWS_AT_ONCE // checked.size)
    for start in range(0, draws, chunk):
        rows = stationary_indices(checked.size, min(chunk, draws - start), mean_block=mean_block, generator=generator)
        drawn, beside = checked[rows], None if other is None else other[rows]
        for target in asked:
            samples[target.name].append(target.statistic(drawn, beside, sessions_per_year))
    record, beside = checked[None, :], None if other is None else other[None, :]
    return tuple(
        _chance(target, float(target.statistic(record, beside, sessions_per_year)[0]), np.concatenate(samples[target.name]))
        for target in asked
    )


def _chance(target: Target, value: float, drawn: Floats) -> TargetChance:
    known = drawn[np.isfinite(drawn)]
    low, high = np.quantile(known, [0.025, 0.975]) if known.size else (math.nan, math.nan)
    share, n = float(target.met(drawn).mean()), drawn.size
    centre = (share + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    half = Z_95 / (1 + Z_95**2 / n) * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n * n))
    return TargetChance(
        name=target.name,
        label=target.label,
        bound=target.bound,
        above=target.above,
        percent=target.percent,
        value=value,
        low=float(low),
        high=float(high),
        probability=share,
        probability_low=max(0.0, centre - half),
        probability_high=min(1.0, centre + half),
    )
