"""Fill conventions: at which auction an order decided at a session's close trades, at what price, and how much of it.

``next_open`` and ``next_close`` are the two honest ones: the decision is made on bars that are already known, the fill
comes from the next session. ``close`` fills on the very bar that was decided on; it exists to be compared with engines
that do so, and every result names its convention.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.backtest.costs import round_money
from hedgefund_core.errors import ConfigError, DataInvalid
from hedgefund_core.quant.bars import Panel
from hedgefund_core.risk.limits import Costs

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

INTEGER_GUARD = 1e-9
"""A quotient such as 0.1 x 1e6 / 10 may come out as 9999.999999999998 in binary: cut only after adding this much, so
that a whole number is never lost. The Decimal ledger has no such error; a true fraction this close below a whole number
has odds of one in a thousand million."""


class FillConvention(StrEnum):
    """When orders decided at the close of a session trade."""

    NEXT_OPEN = "next_open"
    NEXT_CLOSE = "next_close"
    CLOSE = "close"


def choose_fill(panel: Panel, fill: str) -> FillConvention:
    """The convention; ``auto`` is next_open where opens exist, else next_close.

    Raises
    ------
    DataInvalid : next_open on a panel that has no opens.
    ConfigError : a word that is no convention.
    """
    has_opens = panel.open is not None and bool(np.isfinite(panel.open).any())
    if fill == "auto":
        return FillConvention.NEXT_OPEN if has_opens else FillConvention.NEXT_CLOSE
    if fill not in set(FillConvention):
        message = f"fill {fill!r} is none of {', '.join(FillConvention)}, auto"
        raise ConfigError(message, mend="set fill to next_open, next_close, close or auto")
    if fill == FillConvention.NEXT_OPEN and not has_opens:
        message = f"source {panel.source} has no opens: orders cannot fill at the next open"
        raise DataInvalid(message, mend="use fill='next_close' or 'auto', or a source with opens")
    return FillConvention(fill)


def given_rows(weights: Floats) -> Bools:
    """Sessions at which anything was decided: bool (n_sessions,)."""
    return np.asarray(np.isfinite(weights).any(axis=1), dtype=np.bool_)


def cut_to_whole(quantity: Floats) -> Floats:
    """Signed quantities cut toward zero to whole shares, with `INTEGER_GUARD`."""
    whole: Floats = np.trunc(quantity + np.copysign(INTEGER_GUARD, quantity))
    return whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """A panel prepared for an engine: prices rounded to six places, absent ones decided on once.

    Attributes
    ----------
    fill_price : float64 (n_sessions, n_symbols), price of the auction in which orders trade; NaN = it does not happen.
    mark : last good price after the session's close, adjusted for later splits as they come; NaN = never traded yet.
    before : last good price before the session's auction, after its split; NaN = never traded yet.
    capacity : most shares an order gets in the auction, or None where the source has no volume (orders fill whole).
    splits, dividends : as in the panel, 1 and 0 where nothing happens; None where the source has none.
    action_days : bool (n_sessions,), sessions with a split or a dividend.
    """

    fill_price: Floats
    mark: Floats
    before: Floats
    capacity: Floats | None
    splits: Floats | None
    dividends: Floats | None
    action_days: Bools


def last_good(close: Floats, splits: Floats | None) -> tuple[Floats, Floats]:
    """Last price after and before each session (n_sessions, n_symbols), a missing bar keeps the last one through splits."""
    after = np.empty_like(close)
    before = np.empty_like(close)
    last = np.full(close.shape[1], np.nan)
    for t in range(close.shape[0]):
        if splits is not None:
            last = round_money(last / splits[t])
        before[t] = last
        last = np.where(np.isnan(close[t]), last, close[t])
        after[t] = last
    return after, before


def prepare(panel: Panel, fill: FillConvention, costs: Costs, *, whole_shares: bool) -> Market:
    """Arrays of a panel as the engines need them.

    Raises
    ------
    DataInvalid : a price, volume or split ratio that is not positive (volume: negative).
    """
    _check(panel)
    close = round_money(panel.close)
    splits = None if panel.split_ratios is None else np.where(np.isfinite(panel.split_ratios), panel.split_ratios, 1.0)
    dividends = None if panel.dividends is None else round_money(np.nan_to_num(panel.dividends, nan=0.0))
    mark, before = last_good(close, splits)
    action_days = np.zeros(len(close), dtype=np.bool_)
    if splits is not None:
        action_days |= (splits != 1.0).any(axis=1)
    if dividends is not None:
        action_days |= (dividends != 0.0).any(axis=1)
    return Market(
        fill_price=round_money(panel.field("open")) if fill is FillConvention.NEXT_OPEN else close,
        mark=mark,
        before=before,
        capacity=_capacity(panel, costs, whole_shares=whole_shares),
        splits=splits,
        dividends=dividends,
        action_days=action_days,
    )


def _check(panel: Panel) -> None:
    for name in ("open", "close", "split_ratios"):
        values: Floats | None = getattr(panel, name)
        if values is not None and bool((values <= 0.0).any()):
            session, column = (int(index[0]) for index in np.nonzero(values <= 0.0))
            message = f"{name} of {panel.symbols[column]} at {panel.sessions[session]} is {values[session, column]}"
            raise DataInvalid(message, mend="quarantine the row: executor doctor")


def _capacity(panel: Panel, costs: Costs, *, whole_shares: bool) -> Floats | None:
    """Shares of an instrument that an auction gives; where a source has volumes, an absent one is no volume at all."""
    if panel.volume is None:
        return None
    share = panel.volume * costs.auction_participation
    return np.nan_to_num(np.floor(share + INTEGER_GUARD) if whole_shares else share, nan=0.0)


def fill_legs(symbol: NDArray[np.int64], wanted: Floats, price: Floats, capacity: Floats | None) -> Floats:
    """What of each order trades, the rest expires.

    Parameters
    ----------
    symbol : int64 (k,), column of each order, in the order in which they came: two legs share one auction.
    wanted : float64 (k,), shares, positive. price : float64 (k,), NaN = cannot trade.
    capacity : float64 (m,), shares that the auction gives a symbol, or None.
    """
    got = np.where(np.isnan(price), 0.0, wanted)
    if capacity is None:
        return got
    left = capacity.copy()
    for row, column in enumerate(symbol.tolist()):
        got[row] = min(got[row], left[column])
        left[column] -= got[row]
    return got
