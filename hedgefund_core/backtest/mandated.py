"""The vectorized engine under a mandate: scalers, caps, no-trade band, legs, verdicts, ladder and stand-in.

Sizing, books, order of orders and ladder are written here a second time, in float64, beside ``decision`` and ``machine``;
only the rules themselves, the measures and the scalers are shared, because they are the contract. A test holds both
engines to the same shares and the same equity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.backtest.books import Books
from hedgefund_core.backtest.costs import commission, round_money
from hedgefund_core.backtest.episode import Account, History
from hedgefund_core.backtest.fills import FillConvention, Market, fill_legs, given_rows
from hedgefund_core.backtest.result import FILL_FIELDS, ORDER_FIELDS, BacktestResult
from hedgefund_core.backtest.rulebook import Rulebook
from hedgefund_core.backtest.sizing import Tickets, flatten_tickets, rebalance_tickets, reducing_tickets
from hedgefund_core.quant.bars import Panel
from hedgefund_core.quant.features.kernels import returns_of
from hedgefund_core.quant.portfolio.scaling import betas, book_volatility, known_betas, market_returns, scale_weights
from hedgefund_core.risk.limits import Costs, Mandate, drawdown_multiplier, promised
from hedgefund_core.risk.triggers import triggers
from hedgefund_core.trading.state import Level, Scope

Floats = NDArray[np.float64]

BINDING = 1e-6
"""A change of a weight beyond this counts as a scaler or a cap that bound: one step of the grid is rounding."""


def run_mandated(  # noqa: PLR0913 - the arguments of run_target_weights, prepared
    panel: Panel,
    market: Market,
    weights: Floats,
    *,
    costs: Costs,
    mandate: Mandate,
    convention: FillConvention,
    initial_cash: float,
    waived: frozenset[str],
) -> BacktestResult:
    """Trade checked target weights under ``mandate``; the arguments are those of ``run_target_weights``, prepared."""
    run = _Run.begin(panel, market, weights, costs=costs, mandate=mandate, initial_cash=initial_cash, waived=waived)
    same_bar = convention is FillConvention.CLOSE
    for t in range(panel.shape[0]):
        run.open(t)
        run.close(t)
        if same_bar or t + 1 < panel.shape[0]:  # after the last session there is no auction to decide for
            run.decide(t)
        if same_bar:
            run.trade(t)
            run.account.equity = run.books.mark(t)
        run.measure(t)
    return run.result(panel, convention)


@dataclass(slots=True, kw_only=True)
class _Run:
    """One backtest under way; a session is `open`, `close`, `decide`, `measure`."""

    mandate: Mandate
    market: Market
    weights: Floats
    row_given: NDArray[np.bool_]
    returns: Floats
    market_moves: Floats
    books: Books
    rulebook: Rulebook
    account: Account
    history: History
    pending: Tickets | None = None

    @classmethod
    def begin(
        cls,
        panel: Panel,
        market: Market,
        weights: Floats,
        *,
        costs: Costs,
        mandate: Mandate,
        initial_cash: float,
        waived: frozenset[str],
    ) -> _Run:
        """Books with cash only, and every return of the panel; a session looks at its own past of them only."""
        returns = returns_of(panel)
        level = panel.benchmark
        moves = None if level is None else np.concatenate([[np.nan], level[1:] / level[:-1] - 1.0])
        return cls(
            mandate=mandate,
            market=market,
            weights=weights,
            row_given=given_rows(weights),
            returns=returns,
            market_moves=market_returns(returns, moves),
            books=Books.open(panel, market, costs, initial_cash, whole_shares=True),
            rulebook=Rulebook.of(panel, market.mark, mandate, waived),
            account=Account(equity=initial_cash, resume_mark=initial_cash),
            history=History.of(panel.shape[0]),
        )

    def window(self, t: int, length: int) -> slice:
        """The last ``length`` returns known at the close of session ``t``; the first session has none."""
        return slice(max(1, t + 1 - length), t + 1)

    def open(self, t: int) -> None:
        """Session-scoped states expire; splits, dividends and borrow are booked; the last decision's orders trade."""
        self.account.begin_session(t)
        self.books.begin(t)
        self._cancel_over_split(t)
        self.trade(t)

    def _cancel_over_split(self, t: int) -> None:
        """An order in old shares has no meaning in new ones: the exchange cancels it."""
        if self.pending is not None and self.market.splits is not None:
            self.pending = self.pending.take(self.market.splits[t][self.pending.symbol] == 1.0)

    def trade(self, t: int) -> None:
        """Fill what is pending at session ``t``'s auction; what does not fill there expires."""
        tickets, self.pending = self.pending, None
        if tickets is None or len(tickets.symbol) == 0:
            return
        price = self.market.fill_price[t][tickets.symbol]
        capacity = None if self.market.capacity is None else self.market.capacity[t]
        # the order carries the collar's edge as its limit: an auction beyond it does not fill
        beyond = tickets.sign * (price - tickets.limit) > 0.0
        signed = tickets.sign * fill_legs(tickets.symbol, tickets.quantity, np.where(beyond, np.nan, price), capacity)
        done = np.flatnonzero(signed)
        symbol, signed, price = tickets.symbol[done], signed[done], price[done]
        fees = commission(signed, price, self.books.costs)
        self.books.cash -= float(round_money(signed * price).sum() + fees.sum())
        np.add.at(self.books.quantity, symbol, signed)
        fills = np.empty(len(done), dtype=FILL_FIELDS)
        fills["session"], fills["symbol"], fills["side"] = t, symbol, np.sign(signed)
        fills["quantity"], fills["price"], fills["commission"] = np.abs(signed), price, fees
        self.history.fills.append(fills)

    def close(self, t: int) -> None:
        """Mark, then triggers, then the stand-in."""
        account = self.account
        equity = self.books.mark(t)
        day_return = equity / account.equity - 1.0
        account.equity = equity
        account.resume_mark = max(account.resume_mark, equity)
        flat = not bool(self.books.quantity.any())
        account.sessions_flat = account.sessions_flat + 1 if flat and account.level is Level.FLATTENING else -1
        account.started = account.started or bool(self.row_given[t])
        if account.started:
            self._trigger(t, day_return)
        if account.level is Level.FLATTENING and account.sessions_flat >= self.mandate.stand_in_sessions:
            account.resume(t)
        self.history.ladder[t] = account.level
        self.history.drawdown[t] = account.drawdown

    def _trigger(self, t: int, day_return: float) -> None:
        years = self.books.sessions_per_year
        daily = self.account.expected_volatility / years**0.5
        for trigger in triggers(day_return, daily, self.account.drawdown, self.mandate, years):
            self.account.escalate(t, Level[trigger.level_name], Scope(trigger.scope))

    def decide(self, t: int) -> None:
        """Close everything while FLATTENING; else, where a row of weights is given, trade toward it."""
        account, history = self.account, self.history
        held, mark = self.books.quantity, self.market.mark[t]
        if account.level is Level.FLATTENING:
            tickets = flatten_tickets(held, mark, self.rulebook.rank)
        elif self.row_given[t]:
            history.decided[t] = True
            target = self._scaled(t)
            tickets = rebalance_tickets(target, held, mark, account.equity, self.mandate.rebalancing, self.rulebook.rank)
            if account.level is not Level.ACTIVE:
                tickets = reducing_tickets(tickets, held, mark, known_betas(self._betas(t)), self.rulebook.rank)
        else:
            return
        if len(tickets.symbol) == 0:
            return
        returns = self.returns[self.window(t, self.mandate.volatility_window)]
        judged = self.rulebook.judge(t, tickets, self.books, account.equity, returns, admits_entries=account.level is Level.ACTIVE)
        history.orders.append(judged.orders)
        history.denied.extend(judged.denied)
        history.capped[t] |= len(judged.denied) > 0
        self.pending = judged.allowed

    def _betas(self, t: int) -> Floats:
        wide = self.window(t, self.mandate.beta_window)
        found: Floats = betas(self.returns[wide], self.market_moves[wide])
        return found

    def _scaled(self, t: int) -> Floats:
        """Target weights of session ``t`` under scalers and caps, on the grid of 1e-6."""
        mandate, limits = self.mandate, self.mandate.limits
        scaled, scalings = scale_weights(
            self.weights[t],
            self.returns[self.window(t, mandate.volatility_window)],
            self._betas(t),
            target_volatility=promised(mandate.target_volatility, "volatility", mandate),
            decay=mandate.volatility_decay,
            sessions_per_year=self.books.sessions_per_year,
            max_beta=promised(mandate.max_beta, "beta", mandate),
            drawdown_scale=drawdown_multiplier(self.account.drawdown, limits),
            max_gross=limits.max_gross,
            max_net=limits.max_net,
            max_position=limits.max_position_weight,
        )
        self.history.note(t, scalings)
        self.history.note_book(t, scaled, scalings)
        with np.errstate(invalid="ignore"):
            self.history.capped[t] |= bool((np.abs(scaled - self.weights[t]) > BINDING).any())
        return scaled

    def measure(self, t: int) -> None:
        """Ex-ante volatility of what is held now: tomorrow's triggers measure the day's loss in it."""
        if not self.account.started:
            return
        value = self.books.quantity * self.books.price[t]
        window = self.returns[self.window(t, self.mandate.volatility_window)]
        self.account.expected_volatility = book_volatility(
            value / self.account.equity, window, self.mandate.volatility_decay, self.books.sessions_per_year
        )
        self.history.volatility[t] = self.account.expected_volatility

    def result(self, panel: Panel, convention: FillConvention) -> BacktestResult:
        """The finished run with its trace."""
        history = self.history
        trace = history.trace(self.mandate.name, self.account.stand_ins)
        fills = np.concatenate([np.zeros(0, dtype=FILL_FIELDS), *history.fills])
        orders = np.concatenate([np.zeros(0, dtype=ORDER_FIELDS), *history.orders])
        return self.books.result(panel, convention, fills, orders=orders, denied=tuple(history.denied), trace=trace)
