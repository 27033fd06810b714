"""The contract of a pre-trade rule: a batch of orders as numpy columns in, one verdict an order out.

Entries fail closed: NaN, missing data or an error denies. Reductions fail safe: an order that can only lower
the position meets only the rules that say ``applies_to_reductions``. There is no switch around a rule; a rule whose
input does not exist for a source is *waived by name* in that source's configuration, said in every report, and
possible in replay and simulation only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from hedgefund_core.risk.limits import Mandate

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Values = Floats | float
Flags = Bools | bool
"""A column, or the one value that it holds throughout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderBatch:
    """``n`` orders in the order in which they are judged: reductions first, then instrument id.

    Attributes
    ----------
    instrument : int64 (n,), column of the instrument in the context's arrays; -1 where it is not in the universe.
    sign : float64 (n,), +1 buy, -1 sell.
    quantity : float64 (n,), positive, in shares.
    price : float64 (n,), reference price of the order (last close or quote).
    limit_price : float64 (n,), NaN for orders without one.
    reduction : bool (n,), the order can only lower the absolute position in every interleaving.
    auction : bool (n,), opening or closing auction (exempt from bans on the first and last minutes).
    duplicate : bool (n,), its intent has gone out before.
    lot : float64 (n,), lot size.
    reserves : bool (n,), orders that count as working when a later one is judged; None = all. Set by ``judge`` alone.
    derived : cache of what several rules compute from this batch and a context; only ``exposure`` fills it.
    """

    instrument: Ints
    sign: Floats
    quantity: Floats
    price: Floats
    limit_price: Floats
    reduction: Bools
    auction: Bools
    duplicate: Bools
    lot: Floats
    reserves: Bools | None = None
    derived: dict[tuple[object, int], tuple[object, object]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        """Number of orders."""
        return len(self.quantity)

    @property
    def value(self) -> Floats:
        """Signed value of each order in account currency: float64 (n,)."""
        return self.sign * self.quantity * self.price

    def take(self, rows: NDArray[np.int64]) -> OrderBatch:
        """The batch restricted to ``rows``."""
        return OrderBatch(
            instrument=self.instrument[rows],
            sign=self.sign[rows],
            quantity=self.quantity[rows],
            price=self.price[rows],
            limit_price=self.limit_price[rows],
            reduction=self.reduction[rows],
            auction=self.auction[rows],
            duplicate=self.duplicate[rows],
            lot=self.lot[rows],
            reserves=None if self.reserves is None else self.reserves[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskContext:
    """The account and the market as the rules see them; ``m`` instruments.

    Attributes
    ----------
    equity, cash : account currency.
    quantity : float64 (m,), signed shares held.
    working_buy, working_sell : float64 (m,), shares (positive) of working orders a side: they count as filled (RTS 6 art. 15(2)).
    working_orders : int64 (m,), working orders an instrument.
    price : float64 (m,), last good price, NaN = none ever.
    bar_age : float64 (m,), completed sessions since the last bar (0 = the session just closed), NaN = never.
    daily_sigma : float64 (m,), standard deviation of daily returns, NaN = unknown.
    adv : float64 (m,), average daily volume of 20 sessions in shares, NaN = unknown.
    frozen : bool (m,), instruments under a freeze (unknown order, unexplained difference, halt).
    admits_entries : whether the ladder admits new exposure.
    model_age_days, model_expires_days : age of the model now and its bound; NaN where no model is used.
    signal_coverage, signal_dispersion, signal_same_sign : of the decision's scores; NaN for decisions without scores.
    batch_turnover : sum of absolute order values of the decision over equity.
    session_open : whether the orders' auction or session is still ahead of or at its cut-off.
    quote_age : float64 (m,), seconds since the price was known to hold, NaN = none in this session; None in a replay.
    quote_patience : float64 (m,), seconds a quote may be old by the instrument's own rhythm, NaN = not known; None = of none.
    no_short : bool (m,), instruments that cannot be sold short now; None = not known of any.
    gates : causes that keep entries from leaving. broker_buying_power : what the broker says is left, NaN = not said.
    sent_minute, sent_session : orders sent in this minute and in this session.
    """

    equity: float
    cash: float
    quantity: Floats
    working_buy: Floats
    working_sell: Floats
    working_orders: Ints
    price: Floats
    bar_age: Floats
    daily_sigma: Floats
    adv: Floats
    frozen: Bools
    admits_entries: bool
    model_age_days: float
    model_expires_days: float
    signal_coverage: float
    signal_dispersion: float
    signal_same_sign: float
    batch_turnover: float
    session_open: bool
    quote_age: Floats | None = None
    quote_patience: Floats | None = None
    no_short: Bools | None = None
    gates: tuple[str, ...] = ()
    broker_buying_power: float = float("nan")
    sent_minute: int = 0
    sent_session: int = 0


class RuleResult(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a rule found for each order of a batch: (n,), or one value that holds for all of them.

    Attributes
    ----------
    allowed : bool. evaluable : bool, False where its data are missing (which denies unless the rule is waived).
    measured, limit : float64, in ``unit``.
    reason : one short phrase for a denial, the same for the whole batch.
    """

    allowed: Flags
    evaluable: Flags
    measured: Values
    limit: Values
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A verdict rule.

    Attributes
    ----------
    name : as shown to people and configured in ``waived``.
    control : number of the control in the risk documentation.
    unit : of ``measured`` and ``limit``.
    applies_to_reductions : sanity, quantity, duplicate intent and price band only.
    check : pure function of (batch, context, mandate). Exposure rules judge order k as if those of orders 0..k-1 that reserve
        were working already; ``judge`` takes the reservation from denied ones and asks again, so that a batch gives the same
        verdicts as one order after the other.
    sequential : whether the verdict on an order depends on the orders before it.
    """

    name: str
    control: int
    unit: str
    applies_to_reductions: bool
    check: Callable[[OrderBatch, RiskContext, Mandate], RuleResult]
    sequential: bool = False
