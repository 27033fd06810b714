"""The rules as the vectorized engine asks them: arrays in, the verdicts of ``risk.engine`` out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.backtest.books import Books
from hedgefund_core.backtest.costs import round_money
from hedgefund_core.backtest.result import ORDER_FIELDS, Denial, Records
from hedgefund_core.backtest.sizing import Tickets, symbol_rank
from hedgefund_core.quant.bars import Panel
from hedgefund_core.risk.engine import judge
from hedgefund_core.risk.limits import Mandate, collar_width, reduction_widening
from hedgefund_core.risk.rule import OrderBatch, RiskContext

Floats = NDArray[np.float64]
ADV_SESSIONS = 20
MINIMUM_RETURNS = 20
"""Fewer returns than this state no standard deviation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What the rules said of one decision's tickets."""

    orders: Records
    allowed: Tickets
    denied: tuple[Denial, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rulebook:
    """Everything about a panel that the rules read, computed once.

    Attributes
    ----------
    ages : float64 (n, m), sessions since the last bar. adv : float64 (n, m), mean volume of 20 sessions, NaN = unknown.
    rank : int64 (m,), alphabetical place of each symbol. waived : rules declared not evaluable for this source.
    """

    symbols: tuple[str, ...]
    mandate: Mandate
    waived: frozenset[str]
    mark: Floats
    ages: Floats
    adv: Floats
    rank: NDArray[np.int64]

    @classmethod
    def of(cls, panel: Panel, mark: Floats, mandate: Mandate, waived: frozenset[str]) -> Rulebook:
        """Prepare a panel; ``mark`` are its last good prices."""
        return cls(
            symbols=panel.symbols,
            mandate=mandate,
            waived=waived,
            mark=mark,
            ages=bar_ages(panel.close),
            adv=average_volume(panel),
            rank=symbol_rank(panel.symbols),
        )

    def judge(self, t: int, tickets: Tickets, books: Books, equity: float, returns: Floats, *, admits_entries: bool) -> Ruling:
        """Judge the tickets of session ``t`` on ``returns`` (T, m) known by then."""
        sigma = daily_sigma(returns)
        priced = replace(tickets, limit=self._limits(t, tickets, sigma))
        batch = _batch(priced)
        turnover = float((priced.quantity * priced.price).sum()) / equity
        context = self._context(t, books, equity, sigma, turnover, admits_entries=admits_entries)
        judged = judge(batch, context, self.mandate, self.waived)
        allowed = np.asarray(judged.allowed, dtype=np.bool_)
        denied = []
        for row in np.flatnonzero(~allowed):
            first = next(result for result in judged.results if result.verdict[row] == "deny")
            denied.append(
                Denial(
                    session=t,
                    symbol=self.symbols[priced.symbol[row]],
                    side=int(priced.sign[row]),
                    quantity=float(priced.quantity[row]),
                    rule=first.rule,
                    reason=first.reason,
                )
            )
        return Ruling(orders=_records(t, priced, allowed), allowed=priced.take(allowed), denied=tuple(denied))

    def _limits(self, t: int, tickets: Tickets, sigma: Floats) -> Floats:
        """Edge of the collar of each ticket: the wider of the table and so many daily sigmas, on the adverse side.

        Without a fresh price that of a reduction widens.
        """
        limits = self.mandate.limits
        table = np.array([collar_width(price, limits) for price in tickets.price.tolist()])
        width = np.fmax(table, limits.collar_daily_sigmas * sigma[tickets.symbol])
        ages = self.ages[t][tickets.symbol].tolist()
        width = width + np.where(tickets.opening, 0.0, np.array([reduction_widening(age, limits) for age in ages]))
        return round_money(tickets.price * (1.0 + tickets.sign * width))

    def _context(self, t: int, books: Books, equity: float, sigma: Floats, turnover: float, *, admits_entries: bool) -> RiskContext:
        m = len(self.symbols)
        return RiskContext(
            equity=equity,
            cash=books.cash,
            quantity=books.quantity,
            working_buy=np.zeros(m),
            working_sell=np.zeros(m),
            working_orders=np.zeros(m, dtype=np.int64),
            price=self.mark[t],
            bar_age=self.ages[t],
            daily_sigma=sigma,
            adv=self.adv[t],
            frozen=np.zeros(m, dtype=np.bool_),
            admits_entries=admits_entries,
            model_age_days=np.nan,
            model_expires_days=np.nan,
            signal_coverage=np.nan,
            signal_dispersion=np.nan,
            signal_same_sign=np.nan,
            batch_turnover=turnover,
            session_open=True,
        )


def _batch(tickets: Tickets) -> OrderBatch:
    k = len(tickets.symbol)
    return OrderBatch(
        instrument=tickets.symbol,
        sign=tickets.sign,
        quantity=tickets.quantity,
        price=tickets.price,
        limit_price=tickets.limit,
        reduction=~tickets.opening,
        auction=np.ones(k, dtype=np.bool_),
        duplicate=np.zeros(k, dtype=np.bool_),
        lot=np.ones(k),
    )


def _records(t: int, tickets: Tickets, allowed: NDArray[np.bool_]) -> Records:
    orders = np.empty(len(tickets.symbol), dtype=ORDER_FIELDS)
    orders["session"], orders["symbol"], orders["side"] = t, tickets.symbol, tickets.sign
    orders["quantity"], orders["opening"] = tickets.quantity, tickets.opening
    orders["flatten"], orders["allowed"] = tickets.flatten, allowed
    return orders


def bar_ages(close: Floats) -> Floats:
    """Completed sessions since each instrument's last bar: float64 (n, m), 0 = it has one; before the first it counts from the start."""
    row = np.arange(len(close), dtype=np.float64)[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(close), -1.0, row), axis=0)
    ages: Floats = row - last
    return ages


def average_volume(panel: Panel) -> Floats:
    """Mean volume of the last 20 sessions, float64 (n, m); NaN where one of them is missing or the source has none."""
    if panel.volume is None:
        return np.full(panel.shape, np.nan)
    average = np.full(panel.shape, np.nan)
    if panel.shape[0] >= ADV_SESSIONS:
        windows = np.lib.stride_tricks.sliding_window_view(panel.volume, ADV_SESSIONS, axis=0)
        average[ADV_SESSIONS - 1 :] = windows.mean(axis=-1)
    return average


def daily_sigma(returns: Floats) -> Floats:
    """Standard deviation of each column of (T, m), ignoring missing returns; NaN with fewer than 20."""
    known = np.isfinite(returns)
    count = known.sum(axis=0)
    stated = count >= MINIMUM_RETURNS
    divisor = np.maximum(count, 2)
    mean = np.where(known, returns, 0.0).sum(axis=0) / divisor
    variance = (np.where(known, returns - mean, 0.0) ** 2).sum(axis=0) / (divisor - 1)
    return np.where(stated, np.sqrt(variance), np.nan)
