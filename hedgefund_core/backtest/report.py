"""The numbers of a report: risk promised against kept, and the series behind the plots. ``conclusions`` puts them in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.backtest.result import BacktestResult, LimitTrace
from hedgefund_core.quant.measures import drawdowns
from hedgefund_core.quant.measures.measure import NORMAL
from hedgefund_core.risk.limits import Mandate, promised

Floats = NDArray[np.float64]

ROLLING_SESSIONS = 252
KEPT_WINDOW = 63
"""Sessions of realized volatility set beside the promise: a quarter."""
TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One risk figure: what the mandate promised, what was measured, and how.

    Attributes
    ----------
    promised : the limit or target. kept : the figure measured. share_within : share of sessions within the promise.
    by_construction : held by the scalers at each decision (ex ante), not merely hoped for.
    unit : "a year", "of equity", "share" (fractions) or "absolute" (a plain number).
    """

    name: str
    unit: str
    promised: float
    kept: float
    share_within: float
    by_construction: bool
    detail: str

    def shown(self, value: float) -> str:
        """A value of this figure as people read it: fractions in percent, a dash where nothing was measured."""
        if np.isnan(value):
            return "-"
        return f"{value:.2f}" if self.unit == "absolute" else f"{value:.1%}"

    @property
    def kept_word(self) -> str:
        """Verdict in a word."""
        if np.isnan(self.kept):
            return "not measured"
        return "kept" if self.kept <= self.promised * (1.0 + TOLERANCE) else "exceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """Exposure after each session, float64 (n,): gross, net and largest weight as fractions of equity."""

    gross: Floats
    net: Floats
    largest: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthlyTable:
    """``values`` float64 (n_years, 12), compound return of each month; NaN = no session in it."""

    years: tuple[int, ...]
    values: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthlyCosts:
    """Per month, float64 (k,): notional traded, commission and borrow as fractions of mean equity."""

    months: NDArray[np.datetime64]
    turnover: Floats
    commission: Floats
    borrow: Floats


# ---- series -----------------------------------------------------------------------------------------------------------


def exposure(result: BacktestResult) -> Exposure:
    """Gross, net and largest weight after each session."""
    weights = result.weights
    size = np.abs(weights)
    return Exposure(gross=size.sum(axis=1), net=weights.sum(axis=1), largest=size.max(axis=1))


def drawdown_series(result: BacktestResult) -> Floats:
    """Loss below the high-water mark since the start, the initial cash included: float64 (n,), positive."""
    return drawdowns(np.concatenate([[result.initial_cash], result.equity]))[1:]


def rolling_sharpe(returns: Floats, *, sessions_per_year: float, window: int = ROLLING_SESSIONS) -> Floats:
    """Annual Sharpe ratio of the last ``window`` returns, float64 (n,); NaN before the window is full or where nothing moved."""
    mean, spread = _rolling(returns, window)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = mean / spread * np.sqrt(sessions_per_year)
    return np.where(spread > 1e-12, ratio, np.nan)


def rolling_volatility(returns: Floats, *, sessions_per_year: float, window: int = KEPT_WINDOW) -> Floats:
    """Annual standard deviation of the last ``window`` returns, float64 (n,); NaN before the window is full."""
    return np.asarray(_rolling(returns, window)[1] * np.sqrt(sessions_per_year), dtype=np.float64)


def _rolling(returns: Floats, window: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation (n - 1) of the last ``window`` values; NaN before."""
    mean, spread = np.full(len(returns), np.nan), np.full(len(returns), np.nan)
    if len(returns) >= window:
        windows = np.lib.stride_tricks.sliding_window_view(returns, window)
        mean[window - 1 :], spread[window - 1 :] = windows.mean(axis=1), windows.std(axis=1, ddof=1)
    return mean, spread


def monthly_returns(returns: Floats, sessions: NDArray[np.datetime64]) -> MonthlyTable:
    """Compound return of each calendar month."""
    months = sessions.astype("datetime64[M]").astype(np.int64)
    first = np.flatnonzero(np.r_[True, months[1:] != months[:-1]])
    compound = np.multiply.reduceat(1.0 + returns, first) - 1.0
    year, month = months[first] // 12 + 1970, months[first] % 12
    years = tuple(range(int(year[0]), int(year[-1]) + 1))
    values = np.full((len(years), 12), np.nan)
    values[year - years[0], month] = compound
    return MonthlyTable(years=years, values=values)


def monthly_costs(result: BacktestResult) -> MonthlyCosts:
    """Turnover and what it cost, month by month."""
    months = result.sessions.astype("datetime64[M]")
    first = np.flatnonzero(np.r_[True, months[1:] != months[:-1]])

    def fractions(amounts: Floats) -> Floats:
        return np.asarray(np.add.reduceat(amounts / result.equity, first), dtype=np.float64)

    return MonthlyCosts(
        months=months[first],
        turnover=np.asarray(np.add.reduceat(result.traded, first), dtype=np.float64),
        commission=fractions(result.commissions),
        borrow=fractions(result.borrow),
    )


# ---- risk promised against kept ---------------------------------------------------------------------------------------


def promised_against_kept(result: BacktestResult, mandate: Mandate) -> tuple[Promise, ...]:
    """Every figure the mandate promises beside what was measured.

    By construction are promised: ex-ante volatility and beta at each decision, gross, net and position weight. Realized volatility,
    tail losses and drawdown follow from them only as far as the past resembles the future, so they are reported beside.
    """
    decided = [] if result.trace is None else _at_decisions(result.trace, mandate)
    return (*decided, *_realized(result, mandate))


def _promise(name: str, unit: str, promised: float, values: Floats, detail: str, *, constructed: bool = True) -> Promise:
    known = values[np.isfinite(values)]
    return Promise(
        name=name,
        unit=unit,
        promised=promised,
        kept=float(known.max()) if known.size else np.nan,
        share_within=float((known <= promised * (1.0 + TOLERANCE)).mean()) if known.size else np.nan,
        by_construction=constructed,
        detail=detail,
    )


def _at_decisions(trace: LimitTrace, mandate: Mandate) -> list[Promise]:
    """Ex-ante risk of every book that was decided on."""
    limits = mandate.limits
    target = promised(mandate.target_volatility, "volatility", mandate)
    nothing = np.full(len(trace.decided), np.nan)
    rows = (
        ("ex-ante volatility", "a year", target, "volatility", "exponentially weighted"),
        ("ex-ante beta", "absolute", promised(mandate.max_beta, "beta", mandate), "beta", "shrunk one third to 1"),
        ("gross exposure", "of equity", limits.max_gross, "gross", "sum of absolute weights"),
        ("net exposure", "of equity", limits.max_net, "net", "absolute sum of weights"),
        ("largest position", "of equity", limits.max_position_weight, "largest", "absolute weight"),
    )
    return [
        _promise(name, unit, bound, np.abs(trace.measured.get(f"{key}_decided", nothing)), f"of each decided book, {detail}")
        for name, unit, bound, key, detail in rows
    ]


def _realized(result: BacktestResult, mandate: Mandate) -> list[Promise]:
    """What came of it: nothing of this is promised by construction."""
    years = result.sessions_per_year
    target = promised(mandate.target_volatility, "volatility", mandate)
    from_start = _from_first_fill(result)
    returns = result.returns[from_start:]
    volatility = float(returns.std(ddof=1) * np.sqrt(years)) if len(returns) > 1 else np.nan
    rolling = rolling_volatility(returns, sessions_per_year=years)
    within = float((rolling[np.isfinite(rolling)] <= target).mean()) if np.isfinite(rolling).any() else np.nan
    promises = [
        Promise(
            name="realized volatility",
            unit="a year",
            promised=target,
            kept=volatility,
            share_within=within,
            by_construction=False,
            detail=f"whole record; share of {KEPT_WINDOW}-session windows within the target",
        )
    ]
    falls = drawdown_series(result)
    shown = exposure(result)
    drift = "after each session at marked prices; drifts between rebalances"
    promises.append(_promise("gross exposure, marked", "of equity", mandate.limits.max_gross, shown.gross, drift, constructed=False))
    promises.append(_promise("net exposure, marked", "of equity", mandate.limits.max_net, np.abs(shown.net), drift, constructed=False))
    since = falls if result.trace is None else result.trace.drawdown
    cut = mandate.limits.drawdown_flatten
    detail = "flattening begins here; gaps and the exit's own fills come on top"
    promises.append(_promise("drawdown since resume", "of equity", cut, since, detail, constructed=False))
    promises.append(_promise("drawdown, whole record", "of equity", cut, falls, "limits apply to each episode only", constructed=False))
    exceptions = _var_exceptions(result)
    return promises if exceptions is None else [*promises, exceptions]


def _var_exceptions(result: BacktestResult) -> Promise | None:
    """Share of sessions that lost more than yesterday's ex-ante 95 % value at risk: 5 % if the forecast is right (Kupiec 1995)."""
    if result.trace is None:
        return None
    forecast = NORMAL.inv_cdf(0.95) * result.trace.volatility[:-1] / np.sqrt(result.sessions_per_year)
    known = np.isfinite(forecast) & (forecast > 0.0)
    if not known.any():
        return None
    beyond = float((-result.returns[1:][known] > forecast[known]).mean())
    return Promise(
        name="sessions beyond VaR 95 %",
        unit="share",
        promised=0.05,
        kept=beyond,
        share_within=1.0 - beyond,
        by_construction=False,
        detail="loss larger than the parametric VaR of the book held; a right forecast gives 5 %",
    )


def _from_first_fill(result: BacktestResult) -> int:
    """Session of the first fill: before it there was no book to measure."""
    return int(result.fills["session"][0]) if len(result.fills) else 0
