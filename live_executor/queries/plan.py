"""What the next decision would do: on the state at the journal's end, written nowhere and sent to nobody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal

import msgspec
import numpy as np
from msgspec.structs import replace

from hedgefund_core.account import State, decision_inputs, end_state_of, history_of, prices_of, weights_of
from hedgefund_core.decision import decide
from hedgefund_core.quant.portfolio.scaling import book_beta, book_volatility, historical_var
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ZERO, to_money
from hedgefund_core.trading.ledger import apply_fill
from hedgefund_core.trading.order import Order, Purpose
from hedgefund_core.trading.state import Level
from live_executor.queries.story import Story

_BASIS_POINT = Decimal("0.0001")


class PlannedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that would be made."""

    symbol: str
    side: str
    quantity: Decimal
    leg: str
    reference_price: Decimal
    value: Decimal
    cost: Decimal
    verdict: str
    reason: str


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """Risk of the book: now, and after the allowed orders at last prices."""

    measure: str
    before: float | None
    after: float | None
    limit: float | None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """An instrument's weight now, its target, and the weight that whole shares and the band leave it."""

    symbol: str
    weight: float
    target: Decimal | None
    after: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The next decision."""

    session: str
    purpose: str
    note: str
    assumed_filled: int
    """Orders at the broker, taken as filled at the last price: the next decision comes after them."""
    orders: tuple[PlannedOrder, ...]
    turnover: float
    cost: Decimal
    borrow_per_year: Decimal
    exposures: tuple[Exposure, ...]
    changes: tuple[Change, ...]


def plan(story: Story) -> Plan:
    """Decide on the state as if a decision were due now."""
    state, assumed = _settled(story.state)
    due = _due(story, state)
    purpose, note = _purpose(state, story, due)
    if purpose is None or state.mandate is None:
        return _nothing(state, note or "the journal holds no mandate yet", assumed)
    bundle = state.bundle if purpose is Purpose.MODEL else None
    decision = decide(decision_inputs(state, due, purpose), bundle, state.mandate)
    after = after_orders(state, decision.allowed)
    orders = tuple(planned(order, state.mandate) for order in (*decision.allowed, *decision.denied))
    return Plan(
        session=state.session,
        purpose=purpose.value,
        note=note,
        assumed_filled=assumed,
        orders=orders,
        turnover=turnover(orders, state.equity),
        cost=cost(orders),
        borrow_per_year=_borrow(after, state.mandate),
        exposures=exposures(_measures(state, state.mandate), _measures(after, state.mandate), state.mandate),
        changes=changes(state, after, decision.target_weights),
    )


def _settled(state: State) -> tuple[State, int]:
    """The state once every working order is filled at the last price."""
    prices, ledger, count = prices_of(state), state.ledger, 0
    for order in state.working:
        price = prices.get(order.instrument_id)
        if price is not None and order.remaining > ZERO:
            ledger = apply_fill(
                ledger, instrument_id=order.instrument_id, side=order.side, quantity=order.remaining, price=price, commission=ZERO
            )
            count += 1
    return replace(state, ledger=ledger, orders={}), count


def _purpose(state: State, story: Story, due: e.DecisionDue) -> tuple[Purpose | None, str]:
    if state.ladder.level in {Level.HALTED, Level.CANCELLING}:
        return None, f"the account is {state.ladder.name}: nothing would be decided ({state.ladder.cause})"
    if state.ladder.level is Level.FLATTENING:
        return Purpose.FLATTEN, f"the account is flattening ({state.ladder.cause})"
    if state.bundle is None:
        return None, "no usable model: " + (next(iter(story.unusable.values()), "none was loaded"))
    end_state = end_state_of(state, due)
    if end_state in {"flatten", "decay"}:
        return Purpose(end_state), f"the model expired on {state.bundle.manifest.expires_on()}"
    return Purpose.MODEL, "" if state.ladder.level is Level.ACTIVE else f"the account is {state.ladder.name}: entries are denied"


def _due(story: Story, state: State) -> e.DecisionDue:
    """The label of the next session is the next weekday: it names the orders and decides nothing."""
    following = date.fromisoformat(state.session) + timedelta(days=1)
    while following.weekday() > 4:
        following += timedelta(days=1)
    time_in_force = story.due[1].time_in_force if story.due is not None else "cls"
    label = following.isoformat()
    return e.DecisionDue(ts=story.ts, session=state.session, for_session=label, time_in_force=time_in_force, rebalance=True)


def _nothing(state: State, note: str, assumed: int) -> Plan:
    now = {} if state.mandate is None else _measures(state, state.mandate)
    return Plan(
        session=state.session,
        purpose="none",
        note=note,
        assumed_filled=assumed,
        orders=(),
        turnover=0.0,
        cost=ZERO,
        borrow_per_year=ZERO,
        exposures=exposures(now, now, state.mandate),
        changes=(),
    )


def planned(order: Order, mandate: Mandate) -> PlannedOrder:
    """An order with what it would cost."""
    value = to_money(order.quantity * order.reference_price)
    return PlannedOrder(
        symbol=order.symbol,
        side=order.side.value,
        quantity=order.quantity,
        leg=order.leg.value,
        reference_price=order.reference_price,
        value=value,
        cost=to_money(value * Decimal(str(mandate.costs.commission_bps)) * _BASIS_POINT),
        verdict="denied" if order.denied_by else "allowed",
        reason=f"{order.denied_by}: {order.reason}" if order.denied_by else "",
    )


def after_orders(state: State, orders: Iterable[Order]) -> State:
    """The state once orders are filled at their reference prices."""
    ledger = state.ledger
    for order in orders:
        ledger = apply_fill(
            ledger,
            instrument_id=order.instrument_id,
            side=order.side,
            quantity=order.quantity,
            price=order.reference_price,
            commission=ZERO,
        )
    return replace(state, ledger=ledger)


def _borrow(state: State, mandate: Mandate) -> Decimal:
    prices = prices_of(state)
    held = state.ledger.positions.items()
    short = sum((-position.quantity * prices[key] for key, position in held if position.quantity < ZERO and key in prices), ZERO)
    return to_money(short * Decimal(str(mandate.costs.borrow_bps_per_year)) * _BASIS_POINT)


def exposures(was: Mapping[str, float | None], then: Mapping[str, float | None], mandate: Mandate | None) -> tuple[Exposure, ...]:
    """Measures before and after, with their limits where there are any."""
    limits: dict[str, float | None] = {}
    if mandate is not None:
        limits = {
            "gross": mandate.limits.max_gross,
            "net": mandate.limits.max_net,
            "largest_position": mandate.limits.max_position_weight,
            "volatility": mandate.target_volatility,
            "beta": mandate.max_beta,
        }
    return tuple(Exposure(measure=name, before=was[name], after=then[name], limit=limits.get(name)) for name in was)


def weight_measures(state: State) -> dict[str, float]:
    """What the weights alone say, as fractions of equity: gross, net, and the largest position."""
    weights = weights_of(state)
    return {
        "gross": float(np.abs(weights).sum()),
        "net": float(weights.sum()),
        "largest_position": float(np.abs(weights).max(initial=0.0)),
    }


def _measures(state: State, mandate: Mandate) -> dict[str, float | None]:
    """Those of the weights, and what the history of returns adds; None where it says nothing."""
    weights, history = weights_of(state), history_of(state)
    window = history.returns[-mandate.volatility_window :]
    found = weight_measures(state) | {
        "volatility": book_volatility(weights, window, mandate.volatility_decay, state.sessions_per_year),
        "beta": book_beta(weights, history.betas(mandate.beta_window)),
        "value_at_risk": historical_var(weights, history.returns)[0],
    }
    return {name: float(value) if np.isfinite(value) else None for name, value in found.items()}


def changes(before: State, after: State, targets: Mapping[str, Decimal]) -> tuple[Change, ...]:
    """Each instrument's weight now, its target, and its weight afterwards."""
    pairs = zip(before.instruments, weights_of(before).tolist(), weights_of(after).tolist(), strict=True)
    return tuple(
        Change(symbol=instrument.symbol, weight=was, target=targets.get(instrument.instrument_id), after=then)
        for instrument, was, then in pairs
    )


def turnover(orders: Iterable[PlannedOrder], equity: Decimal) -> float:
    """Value of the allowed orders over equity."""
    traded = sum((row.value for row in orders if row.verdict == "allowed"), ZERO)
    return float(traded / equity) if equity > ZERO else 0.0


def cost(orders: Iterable[PlannedOrder]) -> Decimal:
    """What the allowed orders cost."""
    return sum((row.cost for row in orders if row.verdict == "allowed"), ZERO)
