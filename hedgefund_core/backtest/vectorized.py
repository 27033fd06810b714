"""The fast backtest: a second implementation of what the live machine does, in float64 arrays, one vector step a session.

Order of a session, as in replay and live: splits and dividends -> borrow -> fills of the last decision -> mark ->
(with a mandate: triggers) -> decision on the close, for the next auction. Money is rounded to six places where the
ledger rounds it, so that whole-share books agree with the event-driven engine in shares exactly and in equity to 1e-9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.backtest.books import Books
from hedgefund_core.backtest.costs import BLOCK, MICRO, commission
from hedgefund_core.backtest.fills import INTEGER_GUARD, FillConvention, Market, choose_fill, given_rows, prepare
from hedgefund_core.backtest.mandated import run_mandated
from hedgefund_core.backtest.result import FILL_FIELDS, BacktestResult, Records
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import Panel
from hedgefund_core.risk import order_quantity
from hedgefund_core.risk.limits import Costs, Mandate

Floats = NDArray[np.float64]


def run_target_weights(  # noqa: PLR0913 - the public interface, each named by its keyword
    panel: Panel,
    target_weights: Floats,
    *,
    costs: Costs,
    limits: Mandate | None = None,
    fill: str = "next_open",
    initial_cash: float,
    whole_shares: bool = False,
    waived: frozenset[str] | None = None,
) -> BacktestResult:
    """Trade target weights over a panel.

    Parameters
    ----------
    panel : bars of ``n`` sessions and ``m`` symbols.
    target_weights : float64 (n, m), fractions of equity wanted, decided at the close of each session. A row of NaN = no
        decision; a NaN in a row = leave that instrument alone.
    costs : commission, borrow and the share of a session's volume that an auction order may get.
    limits : the mandate whose scalers, caps, no-trade band, rules and ladder apply; None trades the weights as they are.
    fill : next_open | next_close | close | auto (next_open where the panel has opens, else next_close).
    initial_cash : account currency, before the first session.
    whole_shares : cut targets toward zero to whole shares; with ``limits`` always so, as live.
    waived : rules declared not evaluable for this source; None waives the rule on volume where the panel has no volume.

    Returns
    -------
    BacktestResult on the panel's sessions and symbols. Weights at a session are never traded on prices before its close.

    Raises
    ------
    DataInvalid : shapes differ, a weight is infinite, a price is not positive, or next_open without opens.
    """
    weights = _checked(panel, target_weights, initial_cash)
    convention = choose_fill(panel, fill)
    market = prepare(panel, convention, costs, whole_shares=whole_shares or limits is not None)
    if limits is not None:
        return run_mandated(
            panel,
            market,
            weights,
            costs=costs,
            mandate=limits,
            convention=convention,
            initial_cash=initial_cash,
            waived=_default_waived(panel) if waived is None else waived,
        )
    return _run_free(panel, market, weights, costs, convention, initial_cash, whole_shares=whole_shares)


def _default_waived(panel: Panel) -> frozenset[str]:
    """Only what the panel cannot answer; a cap in money stands in for it (risk/order_value.py)."""
    return frozenset({order_quantity.RULE.name}) if panel.volume is None else frozenset()


def _checked(panel: Panel, target_weights: Floats, initial_cash: float) -> Floats:
    weights = np.ascontiguousarray(target_weights, dtype=np.float64)
    if weights.shape != panel.shape:
        message = f"target weights have shape {weights.shape}, the panel {panel.shape}"
        raise DataInvalid(message, mend="give one row a session and one column a symbol of the panel")
    if bool(np.isinf(weights).any()):
        raise DataInvalid("a target weight is infinite", mend="give fractions of equity; NaN leaves an instrument alone")
    if not initial_cash > 0.0:
        message = f"initial cash is {initial_cash}"
        raise DataInvalid(message, mend="start with money")
    return weights


@dataclass(slots=True)
class _Step:
    """Buffers and constants of the inner loop, allocated once: at 500 names a temporary costs as much as the arithmetic."""

    rate: float
    whole: bool
    value: Floats
    fee: Floats

    def trade_cash(self, delta: Floats, price: Floats) -> float:
        """Cash that the fills take, commission included: both rounded to six places a fill, as the ledger does."""
        value, fee = self.value, self.fee
        np.multiply(delta, price, out=value)
        np.multiply(value, MICRO, out=value)
        total = 0.0
        if self.rate:
            np.multiply(value, self.rate, out=fee)
            np.abs(fee, out=fee)
            np.rint(fee, out=fee)
            total = float(fee.sum())
        np.rint(value, out=value)
        return (total + float(value.sum())) / MICRO


def _run_free(
    panel: Panel,
    market: Market,
    weights: Floats,
    costs: Costs,
    convention: FillConvention,
    initial_cash: float,
    *,
    whole_shares: bool,
) -> BacktestResult:
    """Weights straight to shares: no scaler, cap, band, ladder or verdict."""
    books = Books.open(panel, market, costs, initial_cash, whole_shares=whole_shares)
    plan = _Plan.of(market, weights, whole_shares=whole_shares)
    step = _Step(rate=costs.commission_bps / 1e4, whole=whole_shares, value=np.empty(panel.shape[1]), fee=np.empty(panel.shape[1]))
    traded = np.zeros(panel.shape)
    wanted: Floats | None = None
    same_bar = convention is FillConvention.CLOSE
    for t in range(panel.shape[0]):
        books.begin(t)
        if wanted is not None:
            books.cash -= plan.fill(t, wanted, traded[t], step)
            books.quantity += traded[t]
            wanted = None
        equity = books.mark(t)
        if plan.decided[t]:
            wanted = plan.wanted(t, equity, books.quantity)
            if same_bar:
                books.cash -= plan.fill(t, wanted, traded[t], step)
                books.quantity += traded[t]
                books.mark(t)
                wanted = None
    return books.result(panel, convention, fill_ledger(traded, market.fill_price, costs))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What can be known before the loop: where weights stand, where auctions happen, which rows need care."""

    weights: Floats
    mark: Floats
    price: Floats
    capacity: Floats | None
    decided: list[bool]
    leaves: list[bool]
    gaps: list[bool]
    whole: bool

    @classmethod
    def of(cls, market: Market, weights: Floats, *, whole_shares: bool) -> _Plan:
        """Prepare flags of rows with gaps, so that rows without any skip the masks."""
        leave = np.isnan(weights) | np.isnan(market.mark)
        capacity = market.capacity
        return cls(
            weights=weights,
            mark=market.mark,
            price=market.fill_price,
            capacity=capacity,
            decided=given_rows(weights).tolist(),
            leaves=np.asarray(leave.any(axis=1)).tolist(),
            gaps=np.asarray(np.isnan(market.fill_price).any(axis=1)).tolist(),
            whole=whole_shares,
        )

    def wanted(self, t: int, equity: float, quantity: Floats) -> Floats:
        """Signed shares to trade toward the weights of session ``t``."""
        shares = self.weights[t] * equity
        shares /= self.mark[t]
        if self.whole:
            shares += np.copysign(INTEGER_GUARD, shares)
            np.trunc(shares, out=shares)
        shares -= quantity
        return np.where(np.isnan(shares), 0.0, shares) if self.leaves[t] else shares

    def fill(self, t: int, wanted: Floats, out: Floats, step: _Step) -> float:
        """Trade ``wanted`` at session ``t``'s auction into ``out``; returns the cash it takes."""
        price = self.price[t]
        out[:] = wanted
        if self.gaps[t]:
            out[np.isnan(price)] = 0.0
            price = np.where(np.isnan(price), 0.0, price)
        if self.capacity is not None:
            np.clip(out, -self.capacity[t], self.capacity[t], out=out)
        return step.trade_cash(out, price)


def fill_ledger(traded: Floats, price: Floats, costs: Costs) -> Records:
    """Every fill of a matrix of signed traded shares (n_sessions, n_symbols), by session and then symbol."""
    n, m = traded.shape
    ledger = np.empty(int(np.count_nonzero(traded)), dtype=FILL_FIELDS)
    rows, filled = max(1, BLOCK // m), 0
    for start in range(0, n, rows):
        block = traded[start : start + rows].ravel()
        cells = np.flatnonzero(block)
        signed, at = block[cells], price[start : start + rows].ravel()[cells]
        part = ledger[filled : filled + len(cells)]
        part["session"], part["symbol"] = start + cells // m, cells % m
        part["side"], part["quantity"], part["price"] = np.sign(signed), np.abs(signed), at
        part["commission"] = commission(signed, at, costs)
        filled += len(cells)
    return ledger
