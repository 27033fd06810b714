"""The books of the vectorized engine: cash and shares in float64, moved by the same lines as the live ledger."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.backtest.costs import MICRO, borrow_fee, round_money
from hedgefund_core.backtest.fills import FillConvention, Market, cut_to_whole
from hedgefund_core.backtest.result import ORDER_FIELDS, BacktestResult, Denial, LimitTrace, Records
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import Panel
from hedgefund_core.risk.limits import Costs

Floats = NDArray[np.float64]


@dataclass(slots=True, kw_only=True)
class Books:
    """Cash and shares now, and their history; the only mutable thing of a run."""

    market: Market
    costs: Costs
    sessions_per_year: float
    whole_shares: bool
    initial_cash: float
    price: Floats
    """Marks with 0 where an instrument never traded, so that a value is a plain product; ``last`` the same before the auction."""
    last: Floats
    cash: float
    quantity: Floats
    equities: Floats
    cashes: Floats
    positions: Floats
    borrow: Floats
    income: Floats

    @classmethod
    def open(cls, panel: Panel, market: Market, costs: Costs, initial_cash: float, *, whole_shares: bool) -> Books:
        """Books with nothing but the initial cash."""
        n, m = panel.shape
        return cls(
            market=market,
            costs=costs,
            sessions_per_year=panel.sessions_per_year,
            whole_shares=whole_shares,
            initial_cash=initial_cash,
            price=np.nan_to_num(market.mark, nan=0.0),
            last=np.nan_to_num(market.before, nan=0.0),
            cash=initial_cash,
            quantity=np.zeros(m),
            equities=np.empty(n),
            cashes=np.empty(n),
            positions=np.empty((n, m)),
            borrow=np.zeros(n),
            income=np.zeros(n),
        )

    def begin(self, t: int) -> None:
        """What the broker books before the auction of session ``t``: splits, dividends, borrow of the night before."""
        if self.market.action_days[t]:
            self._split(t)
            self._pay_dividends(t)
        if self.costs.borrow_bps_per_year and float(self.quantity.min()) < 0.0:
            fee = float(borrow_fee(self.quantity, self.last[t], self.costs, self.sessions_per_year).sum())
            self.borrow[t] = fee
            self.cash -= fee

    def _split(self, t: int) -> None:
        if self.market.splits is None:
            return
        adjusted = self.quantity * self.market.splits[t]
        if self.whole_shares:
            whole = cut_to_whole(adjusted)
            # 10 shares 3:2 are 15 exactly; what is left after the cut is paid out at the adjusted previous close
            rest = np.where(np.abs(adjusted - whole) < 1e-9, 0.0, adjusted - whole)
            self._receive(t, round_money(rest * self.last[t]))
            adjusted = whole
        self.quantity = adjusted

    def _pay_dividends(self, t: int) -> None:
        if self.market.dividends is not None:
            self._receive(t, round_money(self.quantity * self.market.dividends[t]))

    def _receive(self, t: int, amounts: Floats) -> None:
        total = float(amounts.sum())
        self.income[t] += total
        self.cash += total

    def mark(self, t: int) -> float:
        """Record session ``t`` at its last good prices; returns equity."""
        value = self.quantity * self.price[t]
        value *= MICRO
        np.rint(value, out=value)
        self.cash = round(self.cash, 6)  # the ledger's cash is a whole number of 1e-6: binary dust must not pile up
        equity = self.cash + float(value.sum()) / MICRO
        if not equity > 0.0:
            message = f"equity is {equity:.2f} at session {t}: the account is ruined, nothing can be sized from it"
            raise DataInvalid(message, mend="lower the weights or raise the initial cash")
        self.equities[t] = equity
        self.cashes[t] = self.cash
        self.positions[t] = self.quantity
        return equity

    def result(
        self,
        panel: Panel,
        convention: FillConvention,
        fills: Records,
        *,
        orders: Records | None = None,
        denied: tuple[Denial, ...] = (),
        trace: LimitTrace | None = None,
    ) -> BacktestResult:
        """The finished run."""
        return BacktestResult(
            sessions=panel.sessions,
            symbols=panel.symbols,
            sessions_per_year=panel.sessions_per_year,
            fill=convention.value,
            costs=self.costs,
            initial_cash=self.initial_cash,
            equity=self.equities,
            cash=self.cashes,
            positions=self.positions,
            marks=self.market.mark,
            fills=fills,
            borrow=self.borrow,
            income=self.income,
            benchmark=panel.benchmark,
            orders=np.zeros(0, dtype=ORDER_FIELDS) if orders is None else orders,
            denied=denied,
            trace=trace,
        )
