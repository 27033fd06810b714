"""Decisions on the wall clock: from targets to the orders that may go out now, the cancels before them, and what has to wait.

What works toward a target counts, so that a rebalance never doubles an order. An order against an own working one waits until that
one is surely gone, and a position crosses zero in two orders, the second after the first is filled: brokers refuse both at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from math import isfinite

import numpy as np
from msgspec.structs import replace

from hedgefund_core.account_state import Pending
from hedgefund_core.decision import (
    Basis,
    Decision,
    DecisionInputs,
    Floats,
    as_decimals,
    decision_name,
    judged_decision,
    prices_by_id,
    scaled,
)
from hedgefund_core.identifiers import client_order_id
from hedgefund_core.live_inputs import LiveInputs
from hedgefund_core.risk.limits import Mandate, auction_collar, collar_width, reduction_widening
from hedgefund_core.trading.capabilities import to_tick
from hedgefund_core.trading.instrument import ZERO, Instrument, to_lots, to_price
from hedgefund_core.trading.order import Leg, Order, OrderStatus, OrderType, Purpose, Side, TimeInForce
from hedgefund_core.trading.rebalance import NoTradeBand, intents_toward, target_quantity
from hedgefund_core.trading.router import WHOLE, Parent, Route, parent_of, route

WORK_SECONDS = 9_000.0
"""Time in which a sliced order is worked where nobody has said when the session closes. Source: default, two hours of pieces."""
_SETTLING = frozenset({OrderStatus.PENDING_NEW, OrderStatus.UNKNOWN, OrderStatus.PENDING_CANCEL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One trade toward something: what is sent now, and what of it has to wait."""

    instrument: Instrument
    side: Side
    quantity: Decimal
    leg: Leg
    order_type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None


@dataclass(slots=True, kw_only=True)
class Plan:
    """What a decision comes to before it is judged."""

    cancels: list[str] = field(default_factory=list)
    wanted: list[Wanted] = field(default_factory=list)
    pending: dict[str, Pending] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    """Parents that are worked no further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A judged plan. ``parents`` are those whose first child is allowed."""

    plan: Plan
    decision: Decision
    parents: tuple[Parent, ...]


def decide_live(inputs: DecisionInputs, mandate: Mandate, pending: Mapping[str, Pending], parents: Mapping[str, Parent]) -> Made:
    """Targets from outside, or zero to flatten, as a judged plan.

    Parameters
    ----------
    inputs : with ``live``. mandate : of the account. pending, parents : what is under way already, by instrument and by parent id.
    """
    live = _live_of(inputs)
    weights = None if inputs.target_weights is None else scaled(inputs, inputs.target_weights, mandate)
    decimals = {} if weights is None else as_decimals(inputs.instruments, weights[0])
    plan = Plan()
    working = _by_instrument(inputs.working)
    worked = {parent.order.instrument_id: parent for parent in parents.values()}
    prices = prices_by_id(inputs)
    for column, instrument in enumerate(inputs.instruments):
        key = instrument.instrument_id
        mine = working.get(key, ())
        target = _target(inputs, instrument, decimals, prices, mandate, mine)
        if target is None or (key in live.closed and inputs.purpose is Purpose.FLATTEN):
            continue
        if key in live.left_alone and inputs.purpose is Purpose.TARGETS:
            continue  # what somebody else did is not traded back, not even by a reduction
        if key in live.waiting and key in pending:
            if pending[key].target is not None:
                plan.pending[key] = replace(pending[key], target=target)
            continue
        _toward(plan, inputs, column, target, mine, worked.get(key))
    return judge_plan(inputs, plan, mandate, weights=None if weights is None else weights[0])


def judge_plan(inputs: DecisionInputs, plan: Plan, mandate: Mandate, *, weights: Floats | None = None, note: str = "") -> Made:
    """Orders with identity, price and route, reductions first; every one judged."""
    plan.wanted.sort(key=lambda wanted: (wanted.leg is Leg.OPEN, wanted.instrument.instrument_id))
    decision_id = decision_name(inputs)
    orders, parents = list[Order](), dict[str, Parent]()
    places = {instrument.instrument_id: place for place, instrument in enumerate(inputs.instruments)}
    sigmas = inputs.sigmas(mandate) if plan.wanted else np.zeros(0)
    for wanted in plan.wanted:
        place = places[wanted.instrument.instrument_id]
        whole = _order(inputs, wanted, decision_id, mandate, place, float(sigmas[place]))
        way = _route(inputs, wanted, mandate, place)
        first, waits = whole, plan.pending.get(whole.instrument_id)
        if waits is not None and waits.needs_fill and not waits.after:
            plan.pending[whole.instrument_id] = replace(waits, after=(whole.client_order_id,))
        elif way is not None:
            first = replace(whole, client_order_id=_name(inputs, wanted, decision_id, 1), quantity=way.slices[0])
            parents[first.client_order_id] = parent_of(whole, way)
        orders.append(first)
    nothing = np.full(len(inputs.instruments), np.nan)
    basis = Basis(bundle=None, scores=nothing, weights=nothing if weights is None else weights, scalings=(), note=note)
    decision = judged_decision(inputs, orders, mandate, basis)
    begun = tuple(parents[order.client_order_id] for order in decision.allowed if order.client_order_id in parents)
    return Made(plan=plan, decision=decision, parents=begun)


# ---- what is wanted of one instrument --------------------------------------------------------------------------------------


def _live_of(inputs: DecisionInputs) -> LiveInputs:
    if inputs.live is None:  # pragma: no cover - the machine always gives them
        message = "a decision on the wall clock without live inputs"
        raise ValueError(message)
    return inputs.live


def _by_instrument(orders: Iterable[Order]) -> dict[str, list[Order]]:
    found: dict[str, list[Order]] = {}
    for order in orders:
        found.setdefault(order.instrument_id, []).append(order)
    return found


def _target(
    inputs: DecisionInputs,
    instrument: Instrument,
    weights: Mapping[str, Decimal],
    prices: Mapping[str, Decimal],
    mandate: Mandate,
    working: Sequence[Order],
) -> Decimal | None:
    """Signed shares to arrive at; None = leave alone."""
    key = instrument.instrument_id
    held = inputs.positions.get(key, ZERO)
    if inputs.purpose is Purpose.FLATTEN:
        return ZERO if held != ZERO and key in prices else None
    quantities = _live_of(inputs).quantities
    if key in quantities:
        return held if held == quantities[key] else to_lots(quantities[key], instrument.lot)
    weight, price = weights.get(key), prices.get(key)
    if weight is None or price is None:
        return None
    target = target_quantity(weight, inputs.equity, price, instrument.lot)
    coming = held + sum((order.remaining * order.side.sign for order in working), ZERO)
    band = NoTradeBand(minimum_change=mandate.rebalancing.minimum_change, relative_change=mandate.rebalancing.relative_change)
    return coming if band.skips((target - coming) * price, weight * inputs.equity, inputs.equity) else target


def _toward(plan: Plan, inputs: DecisionInputs, column: int, target: Decimal, working: Sequence[Order], parent: Parent | None) -> None:
    """Add what brings an instrument to its target: a cancel and a wait, or one order and perhaps a second leg that waits."""
    instrument = inputs.instruments[column]
    held = inputs.positions.get(instrument.instrument_id, ZERO)
    coming = sum((order.remaining * order.side.sign for order in working), ZERO)
    change = target - held - coming
    if parent is not None:
        if parent.remaining * parent.order.side.sign == change:
            return
        plan.dropped.append(parent.order.client_order_id)
    against = [order for order in working if change * order.side.sign < ZERO or _is_stale(inputs, column, order)]
    if against:
        plan.cancels += [order.client_order_id for order in against if order.status is not OrderStatus.PENDING_CANCEL]
        plan.pending[instrument.instrument_id] = _pending(inputs, target, after=tuple(order.client_order_id for order in against))
        return
    if change == ZERO or any(order.status in _SETTLING for order in working):
        return  # what is not settled yet is not built on
    price = inputs.prices[column]
    legs = intents_toward(instrument, held + coming, target, price if price is not None else ZERO)
    if held * target < ZERO and working:  # the way to zero is still being worked: what lies beyond it waits
        names = tuple(order.client_order_id for order in working)
        plan.pending[instrument.instrument_id] = _pending(inputs, target, after=names, needs_fill=True)
        return
    first = legs[0]
    if refusal_key(instrument.instrument_id, first.leg) in _live_of(inputs).barred:
        return
    quantity, whole_only = first.quantity, instrument.instrument_id in _live_of(inputs).whole_only
    if first.leg is Leg.OPEN or inputs.time_in_force is not TimeInForce.DAY or whole_only:
        quantity = to_lots(quantity, instrument.lot)  # fractions are only ever closed, and for the day: brokers take them no other way
    if quantity == ZERO:
        return
    plan.wanted.append(Wanted(instrument=instrument, side=first.side, quantity=quantity, leg=first.leg))
    if len(legs) > 1:
        plan.pending[instrument.instrument_id] = _pending(inputs, target, after=(), needs_fill=True)


def refusal_key(instrument_id: str, leg: Leg) -> str:
    """What refusals are counted by: a short that nobody lends must not keep a long from being closed."""
    return f"{instrument_id}|{leg.value}"


def _is_stale(inputs: DecisionInputs, column: int, order: Order) -> bool:
    """Whether the market has left the limit of an order that was meant to trade at once; a person's limit is meant to rest."""
    live = _live_of(inputs)
    quote = live.ask[column] if order.side is Side.BUY else live.bid[column]
    if quote is None or order.limit_price is None or order.purpose is Purpose.MANUAL or order.time_in_force is not TimeInForce.DAY:
        return False
    return (Decimal(repr(quote)) - order.limit_price) * order.side.sign > ZERO and live.in_session


def _pending(inputs: DecisionInputs, target: Decimal, *, after: tuple[str, ...], needs_fill: bool = False) -> Pending:
    return Pending(
        decision_id=decision_name(inputs),
        purpose=inputs.purpose,
        session=inputs.for_session,
        time_in_force=inputs.time_in_force,
        order_type=OrderType.MARKET,
        limit_price=None,
        target=target,
        change=ZERO,
        after=after,
        needs_fill=needs_fill,
    )


# ---- orders ------------------------------------------------------------------------------------------------------------------


def _name(inputs: DecisionInputs, wanted: Wanted, decision_id: str, slice_number: int) -> str:
    return client_order_id(
        account=inputs.account, book=inputs.book, session=inputs.for_session, decision=decision_id,
        instrument_id=wanted.instrument.instrument_id, leg=wanted.leg, slice_number=slice_number,
    )  # fmt: skip


def _order(inputs: DecisionInputs, wanted: Wanted, decision_id: str, mandate: Mandate, place: int, sigma: float) -> Order:
    price = inputs.prices[place]
    limit = wanted.limit_price
    if wanted.order_type is OrderType.MARKET or limit is None:
        limit = _limit(inputs, wanted, mandate, place, sigma)
    return Order(
        client_order_id=_name(inputs, wanted, decision_id, 0),
        decision_id=decision_id,
        instrument_id=wanted.instrument.instrument_id,
        symbol=wanted.instrument.symbol,
        side=wanted.side,
        quantity=wanted.quantity,
        order_type=OrderType.LIMIT,
        limit_price=limit,
        time_in_force=inputs.time_in_force,
        leg=wanted.leg,
        purpose=inputs.purpose,
        session=inputs.for_session,
        reference_price=price if price is not None else ZERO,
        submitted_at=inputs.decided_at,
    )


def _limit(inputs: DecisionInputs, wanted: Wanted, mandate: Mandate, place: int, sigma: float) -> Decimal | None:
    """Beyond the far side of the quote by the marketable collar, never beyond price collar or limit up/limit down, on the tick."""
    price, live, sign = inputs.prices[place], _live_of(inputs), wanted.side.sign
    if price is None:
        return None
    good, bounds = float(price), list[float | None]()
    if inputs.time_in_force is TimeInForce.DAY:
        quote = live.ask[place] if sign > 0 else live.bid[place]
        far = good if quote is None else quote
        step = mandate.limits.marketable_collar
        edge, bounds = collar_width(good, mandate.limits), [None if step is None else far * (1.0 + sign * step)]
        if live.bands is not None:  # beyond its band nothing trades: an order there is refused or priced anew by the exchange
            bounds.append(live.bands[sign > 0][place])
    else:
        edge = auction_collar(good, sigma, mandate.limits)
    if wanted.leg is Leg.CLOSE:
        edge += reduction_widening(float(inputs.bar_ages[place]), mandate.limits)
    nearest = min if sign > 0 else max
    value = nearest(bound for bound in (good * (1.0 + sign * edge), *bounds) if bound is not None)
    return to_tick(to_price(max(value, 1e-4)), up=sign < 0)


def _route(inputs: DecisionInputs, wanted: Wanted, mandate: Mandate, place: int) -> Route | None:
    """How an order in the session is worked; None where it goes out whole. An auction and a flattening are not cut."""
    if inputs.time_in_force is not TimeInForce.DAY or inputs.purpose is Purpose.FLATTEN:
        return None
    adv, left = float(inputs.adv[place]), _live_of(inputs).seconds_left
    way = route(
        wanted.quantity, wanted.instrument.lot, adv=adv if adv > 0.0 else None, max_share=mandate.limits.max_order_adv,
        seconds_left=left if isfinite(left) else WORK_SECONDS,
    )  # fmt: skip
    return None if way.strategy == WHOLE else way


# ---- orders that follow from others ----------------------------------------------------------------------------------------------


def child_of(parent: Parent, quantity: Decimal, at: datetime) -> Order:
    """The next child: its number in the hash, so that it is one intent for ever."""
    whole = parent.order
    head = whole.client_order_id.rsplit("-r", 1)[0]
    name = client_order_id(
        account="", book=head, session=whole.session, decision=whole.decision_id, instrument_id=whole.instrument_id, leg=whole.leg,
        slice_number=parent.released + 1,
    )  # fmt: skip
    return replace(whole, client_order_id=name, quantity=quantity, submitted_at=at)


def in_new_shares(order: Order, ratio: Decimal, lot: Decimal, at: datetime) -> Order | None:
    """What is left of an order after a split, as the next attempt of the same intent; None where nothing is."""
    head, attempt = order.client_order_id.rsplit("-r", 1)
    quantity = to_lots(order.remaining * ratio, lot)
    if quantity <= ZERO:
        return None
    limit = None if order.limit_price is None else to_tick(order.limit_price / ratio, up=order.side is Side.SELL)
    return replace(
        order,
        client_order_id=f"{head}-r{int(attempt) + 1}",
        quantity=quantity,
        limit_price=limit,
        reference_price=to_price(float(order.reference_price / ratio)),
        submitted_at=at,
        status=OrderStatus.PENDING_NEW,
        filled_quantity=ZERO,
        filled_value=ZERO,
        fill_ids=(),
        broker_order_id="",
        updated_at=None,
        reason="",
    )


def reissued(inputs: DecisionInputs, order: Order, mandate: Mandate, *, note: str) -> Decision:
    """Judge one order that follows from another: as a decision of its own, priced anew where it is for the session."""
    place = next(place for place, i in enumerate(inputs.instruments) if i.instrument_id == order.instrument_id)
    price = inputs.prices[place]
    if order.purpose is not Purpose.MANUAL and order.time_in_force is TimeInForce.DAY and price is not None:
        wanted = Wanted(instrument=inputs.instruments[place], side=order.side, quantity=order.quantity, leg=order.leg)
        order = replace(order, reference_price=price, limit_price=_limit(inputs, wanted, mandate, place, float("nan")))
    nothing = np.full(len(inputs.instruments), np.nan)
    basis = Basis(bundle=None, scores=nothing, weights=nothing, scalings=(), note=note)
    return judged_decision(inputs, [replace(order, decision_id=decision_name(inputs))], mandate, basis)
