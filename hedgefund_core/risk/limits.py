"""The limits of a mandate. The numbers themselves stand only in ``config/risk.yaml``, with their sources.

Fractions are of equity unless the name says otherwise; losses are positive.
"""

from __future__ import annotations

import math
import typing
from decimal import Decimal

import msgspec

from hedgefund_core.errors import ConfigError

MOST_DECAY_SESSIONS = 20
"""Sessions since a model's expiry are counted in the bars that every account keeps, and there are at least so many of them."""


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A misspelt key is an error: a limit that is silently not applied is a lost limit."""


class CollarBand(_Strict, frozen=True, kw_only=True):
    """Width of the price collar up to a price (USD); the last band has ``up_to: null``."""

    up_to: float | None
    width: float


class Limits(_Strict, frozen=True, kw_only=True):
    """Pre-trade and account limits of one mandate."""

    max_order_value: float
    max_order_adv: float
    max_order_value_without_volume: float
    max_position_weight: float
    max_gross: float
    max_net: float
    max_top_five: float | None
    max_herfindahl: float | None
    buying_power_use: float
    buying_power_multiple: float
    """Of equity: 2 in a margin account (Regulation T), 1 in a cash account."""
    short_price_markup: float
    """A short sale reserves at least the price and this much more."""
    max_open_orders_per_instrument: int
    max_open_orders_per_name: int
    collar_bands: tuple[CollarBand, ...]
    collar_daily_sigmas: float
    reduction_band_steps: tuple[float, ...]
    max_bar_age_sessions: int
    min_signal_coverage: float
    max_same_sign_share: float
    max_turnover_of_gross: float
    drawdown_start: float
    drawdown_end: float
    drawdown_floor: float
    drawdown_flatten: float
    intraday_loss_reduce_sigmas: float | None
    intraday_loss_flatten_sigmas: float | None
    intraday_loss_reduce: float | None = None
    """Of equity: what stands where a book promises no volatility that sigmas could be counted in."""
    intraday_loss_flatten: float | None = None
    max_quote_age_seconds: float | None = None
    """None: the book cannot trade in a session."""
    marketable_collar: float | None = None
    """How far a limit goes beyond the far side of the quote; None: as far as the collar's table."""
    max_orders_per_minute_per_name: float | None = None
    max_orders_per_session_per_name: float | None = None


PROMISES = ("target_volatility", "max_beta")
MODEL_LIMITS = ("max_top_five", "max_herfindahl", "intraday_loss_reduce_sigmas", "intraday_loss_flatten_sigmas")
"""What may be null (not part of the mandate) in a discretionary mandate, and nowhere else."""


class Rebalancing(_Strict, frozen=True, kw_only=True):
    """When and how finely the book trades."""

    anchor: str
    """week_end, month_end or every"""
    minimum_change: Decimal
    relative_change: Decimal


class Costs(_Strict, frozen=True, kw_only=True):
    """Costs of trading, charged by the simulated broker and both backtest engines alike."""

    commission_bps: float
    borrow_bps_per_year: float
    auction_participation: float
    """Largest share of a session's volume that an auction order gets; where volume is absent orders fill whole."""


class Mandate(_Strict, frozen=True, kw_only=True):
    """What a book promises: its shape, its risk target and its limits."""

    name: str
    long_only: bool
    target_volatility: float | None
    """A year, ex ante. The only place this number stands."""
    volatility_decay: float
    """Lambda of the exponentially weighted volatility (RiskMetrics)."""
    volatility_window: int
    beta_window: int
    max_beta: float | None
    stand_in_sessions: int
    expiry_end_state: typing.Literal["hold", "flatten", "decay"]
    """Once the model has expired: keep what is held, close it at once, or wind it down"""
    rebalancing: Rebalancing
    costs: Costs
    limits: Limits
    expiry_decay_sessions: int = 20
    """``decay``: sessions after the expiry until nothing is held, in equal steps"""
    discretionary: bool = False
    """Whether weights and orders come from people and files instead of a model. Such a mandate has none of the limits that need a model's
    history of returns.
    """

    def __post_init__(self) -> None:
        """A limit that a model's mandate leaves out would be a lost limit."""
        if not 1 <= self.expiry_decay_sessions <= MOST_DECAY_SESSIONS:
            message = (
                f"mandate {self.name}: expiry_decay_sessions is {self.expiry_decay_sessions}, and has to be 1 to {MOST_DECAY_SESSIONS}"
            )
            raise ValueError(message)
        missing = [name for name in PROMISES if getattr(self, name) is None] + [n for n in MODEL_LIMITS if getattr(self.limits, n) is None]
        if missing and not self.discretionary:
            message = f"mandate {self.name} leaves out {', '.join(missing)}: only a discretionary mandate may"
            raise ValueError(message)


class RiskSettings(_Strict, frozen=True, kw_only=True):
    """``config/risk.yaml``: every mandate by its name."""

    mandates: dict[str, Mandate]


def promised(value: float | None, name: str, mandate: Mandate) -> float:
    """A number that every model's mandate has; raises ConfigError for a mandate without it."""
    if value is None:
        message = f"mandate {mandate.name} promises no {name}"
        raise ConfigError(message, mend="use a model's mandate (market_neutral, long_only)")
    return value


def digest_payload(mandate: Mandate) -> bytes:
    """Canonical bytes of a mandate, as journaled and hashed."""
    return msgspec.json.encode(mandate)


def drawdown_multiplier(drawdown: float, limits: Limits) -> float:
    """Multiplier of all weights at a ``drawdown`` (positive fraction of the high-water mark).

    1 up to ``drawdown_start``, then falling linearly to ``drawdown_floor`` at ``drawdown_end``.
    """
    if drawdown <= limits.drawdown_start:
        return 1.0
    if drawdown >= limits.drawdown_end:
        return limits.drawdown_floor
    share = (drawdown - limits.drawdown_start) / (limits.drawdown_end - limits.drawdown_start)
    return 1.0 - share * (1.0 - limits.drawdown_floor)


def collar_width(price: float, limits: Limits) -> float:
    """Half-width of the collar for a price (USD), as a fraction of the price, from the table."""
    for band in limits.collar_bands:
        if band.up_to is None or price <= band.up_to:
            return band.width
    return limits.collar_bands[-1].width


def auction_collar(price: float, daily_sigma: float, limits: Limits) -> float:
    """Half-width of an auction order's collar, as a fraction of the price: the wider of the table and `collar_daily_sigmas` daily standard
    deviations; NaN ``daily_sigma`` = the table alone.
    """
    table = collar_width(price, limits)
    return table if math.isnan(daily_sigma) else max(table, limits.collar_daily_sigmas * daily_sigma)


def reduction_widening(age: float, limits: Limits) -> float:
    """What a reduction may pay beyond the table, as a fraction of the price, by the age of its last price in completed sessions.

    The band widens with the age, so that a book can be closed while a feed is down; NaN (never a price) is the widest step.
    """
    steps = (0.0, *limits.reduction_band_steps)
    return steps[-1] if math.isnan(age) else steps[min(int(age), len(steps) - 1)]  # NaN: no price ever
