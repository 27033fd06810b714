"""What a backtest hands back: the books session by session, every fill and every denial, and the measures of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.measures import Measure, Track, all_measures
from hedgefund_core.risk.limits import Costs

Floats = NDArray[np.float64]

FILL_FIELDS = np.dtype(
    [("session", "i4"), ("symbol", "i4"), ("side", "i1"), ("quantity", "f8"), ("price", "f8"), ("commission", "f8")],
    align=True,
)
"""A fill: position of its session and symbol on the result's axes, side +1 buy or -1 sell, quantity positive."""

ORDER_FIELDS = np.dtype(
    [("session", "i4"), ("symbol", "i4"), ("side", "i1"), ("quantity", "f8"), ("opening", "?"), ("flatten", "?"), ("allowed", "?")]
)
"""An order: the session at whose close it was decided, whether its leg opens, whether it flattens, and the verdict."""

Records = NDArray[np.void]


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """An order that a risk rule refused."""

    session: int
    symbol: str
    side: int
    quantity: float
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitTrace:
    """What the mandate did, session by session; absent in a backtest without limits.

    Attributes
    ----------
    mandate : its name.
    ladder : int8 (n_sessions,), rung after the session's triggers (`hedgefund_core.trading.state.Level`).
    drawdown : float64 (n_sessions,), below the high-water mark since the last resume.
    volatility : float64 (n_sessions,), ex ante a year, of the positions after the session; NaN before there are any.
    scales : scaler -> float64 (n_sessions,), NaN where nothing was decided.
    measured : scaler -> float64 (n_sessions,), what it was measured from; ``volatility_decided``, ``beta_decided``,
        ``gross_decided``, ``net_decided`` and ``largest_decided`` are ex ante, of the book that came out of the scalers.
    decided : bool (n_sessions,), sessions at which target weights were turned into orders.
    capped : bool (n_sessions,), sessions at which a scaler, a cap or a verdict changed what was wanted.
    stand_ins : times that the stand-in resumed for a person after a flattening.
    """

    mandate: str
    ladder: NDArray[np.int8]
    drawdown: Floats
    volatility: Floats
    scales: Mapping[str, Floats]
    measured: Mapping[str, Floats]
    decided: NDArray[np.bool_]
    capped: NDArray[np.bool_]
    stand_ins: int

    def since(self, row: int) -> LimitTrace:
        """The trace from session ``row`` on."""
        return replace(
            self,
            ladder=self.ladder[row:],
            drawdown=self.drawdown[row:],
            volatility=self.volatility[row:],
            decided=self.decided[row:],
            capped=self.capped[row:],
            scales={name: values[row:] for name, values in self.scales.items()},
            measured={name: values[row:] for name, values in self.measured.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestResult:
    """A finished backtest on ``n`` sessions and ``m`` symbols.

    Attributes
    ----------
    equity, cash : float64 (n,), after each session. positions : float64 (n, m), signed shares after each session.
    marks : float64 (n, m), last good price of each, NaN = never traded yet.
    fills, orders : structured arrays, see `FILL_FIELDS` and `ORDER_FIELDS`; orders are kept only where rules judged them.
    borrow, income : float64 (n,), borrow fees paid (positive) and dividends with cash in lieu received (signed).
    benchmark : float64 (n,), level of the panel's benchmark, or None.
    trace : what the mandate did, or None.
    """

    sessions: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    sessions_per_year: float
    fill: str
    costs: Costs
    initial_cash: float
    equity: Floats
    cash: Floats
    positions: Floats
    marks: Floats
    fills: Records
    borrow: Floats
    income: Floats
    benchmark: Floats | None = None
    orders: Records = field(default_factory=lambda: np.zeros(0, dtype=ORDER_FIELDS))
    denied: tuple[Denial, ...] = ()
    trace: LimitTrace | None = None

    @property
    def stand_ins(self) -> int:
        """Times that the stand-in resumed for a person."""
        return 0 if self.trace is None else self.trace.stand_ins

    @property
    def returns(self) -> Floats:
        """Simple net returns, float64 (n,): the first is measured from the initial cash."""
        before = np.concatenate([[self.initial_cash], self.equity[:-1]])
        returns: Floats = self.equity / before - 1.0
        return returns

    @property
    def weights(self) -> Floats:
        """Value of each position over equity after each session, float64 (n, m)."""
        values = np.where(self.positions == 0.0, 0.0, self.positions * self.marks)
        weights: Floats = values / self.equity[:, None]
        return weights

    @property
    def commissions(self) -> Floats:
        """Commission paid at each session, float64 (n,)."""
        return self._by_session(self.fills["commission"])

    @property
    def traded(self) -> Floats:
        """Absolute notional traded at each session over equity, float64 (n,)."""
        fractions: Floats = self._by_session(self.fills["quantity"] * self.fills["price"]) / self.equity
        return fractions

    def _by_session(self, amounts: Floats) -> Floats:
        sums = np.bincount(self.fills["session"], weights=amounts, minlength=len(self.sessions))
        return np.asarray(sums, dtype=np.float64)

    def since(self, row: int) -> BacktestResult:
        """The result from session ``row`` on, started with the equity before it: a report begins where the book does."""
        if row == 0:
            return self
        cut = slice(row, None)
        return replace(
            self,
            sessions=self.sessions[cut],
            initial_cash=float(self.equity[row - 1]),
            equity=self.equity[cut],
            cash=self.cash[cut],
            positions=self.positions[cut],
            marks=self.marks[cut],
            fills=_records_since(self.fills, row),
            borrow=self.borrow[cut],
            income=self.income[cut],
            benchmark=None if self.benchmark is None else self.benchmark[cut],
            orders=_records_since(self.orders, row),
            denied=tuple(replace(denial, session=denial.session - row) for denial in self.denied if denial.session >= row),
            trace=None if self.trace is None else self.trace.since(row),
        )

    def measures(self) -> dict[str, Measure]:
        """Every measure of the track record, net of costs, each with its interval where one is known."""
        return all_measures(
            Track(
                returns=self.returns,
                sessions=self.sessions,
                sessions_per_year=self.sessions_per_year,
                benchmark=None if self.benchmark is None else _returns_of_level(self.benchmark),
                traded=self.traded,
            )
        )


def _records_since(records: Records, row: int) -> Records:
    kept = records[records["session"] >= row].copy()
    kept["session"] -= row
    return kept


def _returns_of_level(level: Floats) -> Floats:
    """Simple returns of a level, the first 0; a missing level counts as unchanged so that lengths agree."""
    known = np.where(np.isfinite(level), np.arange(len(level)), 0)
    filled = level[np.maximum.accumulate(known)]
    with np.errstate(invalid="ignore", divide="ignore"):
        returns = np.concatenate([[0.0], filled[1:] / filled[:-1] - 1.0])
    return np.where(np.isfinite(returns), returns, 0.0)
