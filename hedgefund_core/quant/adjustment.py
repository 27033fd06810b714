"""Raw prices adjusted for splits and dividends, as of a session, by factors known by then.

Raw prices and factors are what is stored; an adjusted price exists only as of a date, since every later split changes all
of it. Adjusting as of today and then testing a decision of last year would show that decision a split it could not know.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import Floats, Panel, PriceKind


def split_factors(split_ratios: Floats) -> Floats:
    """New shares that one share of each session has become by the last one, float64 (n_sessions, n_symbols).

    ``split_ratios``: new shares per old share effective before the session's open; NaN counts as none (1).
    """
    steps = np.where(np.isnan(split_ratios), 1.0, split_ratios)
    after = np.ones_like(steps)
    after[:-1] = np.cumprod(steps[:0:-1], axis=0)[::-1]
    return after


def dividend_factors(close: Floats, dividends: Floats, split_ratios: Floats) -> Floats:
    """What dividends after each session leave of its price, float64 (n_sessions, n_symbols) in (0, 1].

    Each dividend takes 1 - dividend / last close before it (in the shares of the ex-session); NaN counts as none.
    """
    shares = np.where(np.isnan(split_ratios), 1.0, split_ratios)
    before = np.full_like(close, np.nan)
    held = np.full(close.shape[1], np.nan)
    for row in range(close.shape[0]):
        before[row] = held / shares[row]
        held = np.where(np.isnan(close[row]), before[row], close[row])
    paid = np.where(np.isnan(dividends) | np.isnan(before), 0.0, dividends)
    step = 1.0 - paid / np.where(np.isnan(before), 1.0, before)
    after = np.ones_like(close)
    after[:-1] = np.cumprod(step[:0:-1], axis=0)[::-1]
    return after


def adjusted(panel: Panel, as_of: np.datetime64, kind: PriceKind = PriceKind.SPLIT_ADJUSTED) -> Panel:
    """A raw panel up to ``as_of``, adjusted by the splits (and dividends) effective by then only.

    Parameters
    ----------
    panel : raw prices with ``split_ratios`` (and ``dividends`` for a total return).
    as_of : last session; later rows are not read at all.
    kind : SPLIT_ADJUSTED, or TOTAL_RETURN (dividends reinvested at the last close before the ex-session).

    Returns
    -------
    Panel of the sessions up to ``as_of``; the last row's prices are the raw ones. Volumes are in shares as of ``as_of``.
    Dividends of a split-adjusted panel are per share as of ``as_of``; split ratios, already applied, are None.

    Raises
    ------
    DataInvalid
        If the panel is not raw, or lacks the factors: absent factors are never taken to be 1.
    """
    known = panel.until(as_of)
    if panel.price_kind is not PriceKind.RAW or kind is PriceKind.RAW:
        message = f"prices of {panel.source} are {panel.price_kind.value}: only raw prices can be adjusted to another kind"
        raise DataInvalid(message)
    splits = known.field("split_ratios")
    shares = split_factors(splits)
    scale = 1.0 / shares
    dividends = None if known.dividends is None else known.dividends / shares
    if kind is PriceKind.TOTAL_RETURN:
        scale *= dividend_factors(known.close, known.field("dividends"), splits)
        dividends = None
    return replace(
        known,
        price_kind=kind,
        close=known.close * scale,
        open=_scaled(known.open, scale),
        high=_scaled(known.high, scale),
        low=_scaled(known.low, scale),
        volume=_scaled(known.volume, shares),
        dividends=dividends,
        split_ratios=None,
    )


def _scaled(values: Floats | None, factors: Floats) -> Floats | None:
    return None if values is None else values * factors


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedFactors:
    """Adjustment factors of one symbol as a vendor states them, (n_rows,) each, ``through`` strictly increasing.

    Attributes
    ----------
    through : datetime64[D], last session each row applies to.
    price_factor : what dividends leave of a price. split_factor : old shares per new share.
    cumulative : True: of all that happens after ``through``; False: of what happens right after it alone.
    """

    through: NDArray[np.datetime64]
    price_factor: Floats
    split_factor: Floats
    cumulative: bool


def factor_steps(factors: StatedFactors) -> tuple[Floats, Floats]:
    """What each row's own event does: (price step, split step), 1 = nothing.

    A cumulative factor is divided by the one after it; what the last cumulative row states belongs to no event before it.
    """
    if not factors.cumulative:
        return factors.price_factor.copy(), factors.split_factor.copy()
    price, split = np.ones(len(factors.through)), np.ones(len(factors.through))
    price[:-1] = factors.price_factor[:-1] / factors.price_factor[1:]
    split[:-1] = factors.split_factor[:-1] / factors.split_factor[1:]
    return price, split


def scale_as_of(factors: StatedFactors, sessions: NDArray[np.datetime64], as_of: np.datetime64, *, dividends: bool) -> Floats:
    """What raw prices of ``sessions`` are multiplied by as of a session: the events after each and no later than ``as_of``.

    Parameters
    ----------
    factors : the vendor's factors; an event takes effect on the first session after its ``through``.
    sessions : datetime64[D] (n_sessions,), strictly increasing.
    as_of : events that take effect later are not applied, so a value computed as of a session never changes by a later split.
    dividends : whether dividends count (total return), or splits only.

    Returns
    -------
    float64 (n_sessions,): 1 at ``as_of`` and after it.
    """
    price, split = factor_steps(factors)
    step = price * split if dividends else split
    effective = np.searchsorted(sessions, factors.through, side="right")
    last = int(np.searchsorted(sessions, as_of, side="right")) - 1
    counted = (effective > 0) & (effective <= last)
    per_session = np.ones(len(sessions) + 1)
    np.multiply.at(per_session, effective[counted], step[counted])
    after: Floats = np.cumprod(per_session[::-1], dtype=np.float64)[::-1]
    return after[1:]
