"""From target weights to tickets in float64: whole shares toward zero, a no-trade band, legs, and their order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.backtest.fills import cut_to_whole
from hedgefund_core.risk.limits import Rebalancing
from hedgefund_core.risk.reducing import reducing_trades

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tickets:
    """Orders of one decision, closing legs first, then by symbol.

    Attributes
    ----------
    symbol : int64 (k,), column of the instrument. sign : +1 buy, -1 sell. quantity : whole shares, positive.
    opening : bool (k,), the leg adds exposure. price : reference price. limit : worst price accepted, NaN until judged.
    flatten : whether they close the book by order of the ladder.
    """

    symbol: Ints
    sign: Floats
    quantity: Floats
    opening: NDArray[np.bool_]
    price: Floats
    limit: Floats
    flatten: bool

    def take(self, rows: NDArray[np.bool_]) -> Tickets:
        """The tickets of ``rows``."""
        return Tickets(
            symbol=self.symbol[rows],
            sign=self.sign[rows],
            quantity=self.quantity[rows],
            opening=self.opening[rows],
            price=self.price[rows],
            limit=self.limit[rows],
            flatten=self.flatten,
        )


def symbol_rank(symbols: tuple[str, ...]) -> Ints:
    """Place of each column in alphabetical order: int64 (n_symbols,)."""
    rank = np.empty(len(symbols), dtype=np.int64)
    rank[sorted(range(len(symbols)), key=lambda column: symbols[column])] = np.arange(len(symbols))
    return rank


def rebalance_tickets(weights: Floats, held: Floats, price: Floats, equity: float, rules: Rebalancing, rank: Ints) -> Tickets:
    """Tickets from ``held`` toward ``weights`` of ``equity``.

    Parameters
    ----------
    weights : float64 (m,) on the grid of 1e-6; NaN leaves an instrument alone, as does a price that is NaN.
    held : float64 (m,), signed whole shares. price : float64 (m,), last good price.
    rules : the no-trade band. rank : alphabetical place of each column.
    """
    known = ~(np.isnan(weights) | np.isnan(price))
    value = np.where(known, weights, 0.0) * equity
    at = np.where(known, price, 1.0)
    target = np.where(known, cut_to_whole(value / at), held)
    size = np.abs((target - held) * at)
    # an exit (target weight zero) is never too small to be worth its cost
    small = (size <= float(rules.minimum_change) * equity) & (size <= float(rules.relative_change) * np.abs(value)) & (value != 0.0)
    return _legs(held, np.where(small, held, target), price, rank, flatten=False)


def reducing_tickets(tickets: Tickets, held: Floats, price: Floats, betas: Floats, rank: Ints) -> Tickets:
    """Closing tickets as an account may trade them that may only reduce; opening ones stay, to be denied on record."""
    closing = np.zeros(len(held))
    closing[tickets.symbol[~tickets.opening]] = tickets.quantity[~tickets.opening]
    closes = _legs(held, held - np.sign(held) * np.trunc(reducing_trades(held, price, betas, closing)), price, rank, flatten=False)
    opens = tickets.take(tickets.opening)
    return Tickets(
        symbol=np.concatenate([closes.symbol, opens.symbol]),
        sign=np.concatenate([closes.sign, opens.sign]),
        quantity=np.concatenate([closes.quantity, opens.quantity]),
        opening=np.concatenate([closes.opening, opens.opening]),
        price=np.concatenate([closes.price, opens.price]),
        limit=np.concatenate([closes.limit, opens.limit]),
        flatten=False,
    )


def flatten_tickets(held: Floats, price: Floats, rank: Ints) -> Tickets:
    """Tickets that close every position whose price is known."""
    return _legs(held, np.where(np.isnan(price), held, 0.0), price, rank, flatten=True)


def _legs(held: Floats, target: Floats, price: Floats, rank: Ints, *, flatten: bool) -> Tickets:
    """A change that crosses zero takes a closing and an opening leg; one toward zero a closing leg; any other an opening one."""
    change = target - held
    crosses = held * target < 0.0
    shrinks = ~crosses & (np.abs(target) < np.abs(held))
    closing = np.where(crosses, np.abs(held), np.where(shrinks, np.abs(change), 0.0))
    opening = np.where(crosses, np.abs(target), np.where(shrinks, 0.0, np.abs(change)))
    by_name = np.argsort(rank)
    close_rows, open_rows = by_name[closing[by_name] > 0.0], by_name[opening[by_name] > 0.0]
    symbol = np.concatenate([close_rows, open_rows])
    return Tickets(
        symbol=symbol,
        sign=np.sign(change[symbol]),
        quantity=np.concatenate([closing[close_rows], opening[open_rows]]),
        opening=np.arange(len(symbol)) >= len(close_rows),
        price=price[symbol],
        limit=np.full(len(symbol), np.nan),
        flatten=flatten,
    )
