"""Account triggers: what moves the ladder by itself. Automatic escalation ends at FLATTENING (contracts: Ladder).

A day's loss is measured in ex-ante daily volatility of the book as it was held, so that one number fits every book.
Names of rungs and scopes are plain text here: risk knows no trading types.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hedgefund_core.risk.limits import Mandate, promised

SIGMA_FLOOR = 0.25
"""Of the mandate's target daily volatility: a nearly flat book must not trip on its commission."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A limit of the account that was passed.

    Attributes
    ----------
    name : intraday_loss or drawdown. level_name : REDUCING or FLATTENING. scope : session or account.
    measured, limit : positive losses: in daily sigmas or of equity (intraday_loss), as a fraction of the high-water mark (drawdown).
    """

    name: str
    level_name: str
    scope: str
    measured: float
    limit: float


def triggers(
    day_return: float, expected_daily_volatility: float, drawdown: float, mandate: Mandate, sessions_per_year: float
) -> list[Trigger]:
    """Triggers of one session, the mildest first.

    Parameters
    ----------
    day_return : flow-adjusted return of the session, fees included. drawdown : positive loss from the high-water mark.
    expected_daily_volatility : ex ante, of the book held into the session; NaN = not known, then the floor counts.
    mandate, sessions_per_year : limits, and the target volatility that the floor is made of.

    Returns
    -------
    list of Trigger; an account that cannot be marked (NaN return or drawdown) escalates to FLATTENING of the account.
    """
    limits = mandate.limits
    found = []
    if limits.intraday_loss_reduce_sigmas is not None and limits.intraday_loss_flatten_sigmas is not None:
        promise = promised(mandate.target_volatility, "volatility", mandate)
        floor = SIGMA_FLOOR * promise / math.sqrt(sessions_per_year)
        sigma = max(expected_daily_volatility, floor) if math.isfinite(expected_daily_volatility) else floor
        found += _loss(-day_return / sigma, limits.intraday_loss_reduce_sigmas, limits.intraday_loss_flatten_sigmas)
    if limits.intraday_loss_reduce is not None and limits.intraday_loss_flatten is not None:
        found += _loss(-day_return, limits.intraday_loss_reduce, limits.intraday_loss_flatten)
    if not drawdown < limits.drawdown_flatten:
        found.append(_trigger("drawdown", "FLATTENING", "account", drawdown, limits.drawdown_flatten))
    return found


def _loss(loss: float, reduce_at: float, flatten_at: float) -> list[Trigger]:
    found = []
    if loss >= reduce_at:
        found.append(_trigger("intraday_loss", "REDUCING", "session", loss, reduce_at))
    if not loss < flatten_at:
        found.append(_trigger("intraday_loss", "FLATTENING", "account", loss, flatten_at))
    return found


def _trigger(name: str, level_name: str, scope: str, measured: float, limit: float) -> Trigger:
    return Trigger(name=name, level_name=level_name, scope=scope, measured=measured, limit=limit)
