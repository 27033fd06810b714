"""Past and next decisions: decide again on the journaled inputs, edited or not; ask what the next decision would do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import msgspec
import numpy as np

from hedgefund_core.account import decision_inputs
from hedgefund_core.decision import Decision, DecisionInputs, decide
from hedgefund_core.live_account import live_decision_inputs
from hedgefund_core.machine.decisions import is_live
from hedgefund_core.quant.bars import Floats
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.session_orders import decide_live
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Order, Purpose
from hedgefund_core.trading.state import Ladder, Level
from live_executor.queries.story import Recorded, Story

_DECIDED = frozenset({Purpose.MODEL, Purpose.DECAY, Purpose.TARGETS, Purpose.FLATTEN})


class UnknownField(ValueError):
    """An edit names nothing that can be edited; the text says what can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopened:
    """A recorded decision and all that it knew."""

    recorded: Recorded
    inputs: DecisionInputs
    mandate: Mandate
    story: Story
    """The account just before it."""
    orders: Mapping[str, Order]
    """What was recorded of its orders."""


class WeightChange(msgspec.Struct, frozen=True, kw_only=True):
    """Target weight as recorded and as decided now."""

    symbol: str
    recorded: Decimal | None
    now: Decimal | None


class OrderChange(msgspec.Struct, frozen=True, kw_only=True):
    """An order as recorded and as decided now; the quantity is signed, null = no such order."""

    symbol: str
    leg: str
    recorded: Decimal | None
    recorded_verdict: str
    now: Decimal | None
    now_verdict: str


class ScalerChange(msgspec.Struct, frozen=True, kw_only=True):
    """A scaler as recorded and as decided now."""

    name: str
    recorded: float | None
    now: float | None
    limit: float
    measured: float | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A decision run again. ``identical`` compares every byte of the recorded frame."""

    decision_id: str
    session: str
    for_session: str
    model: str
    edits: tuple[str, ...]
    identical: bool
    weights: tuple[WeightChange, ...]
    orders: tuple[OrderChange, ...]
    scalers: tuple[ScalerChange, ...]


def purpose_of(decision_id: str) -> Purpose:
    """The kind is part of the id: ``<session>-<kind>-<hash>``; in a session a number follows the kind."""
    return Purpose(decision_id[11:].split("-", 1)[0])


def reopen(before: Story, recorded: Recorded, after: Story) -> Reopened | None:
    """A decision with its inputs, from the account just ``before`` it; None where the journal had loaded no mandate yet, and of what
    nobody asked for as a decision (a person's order, the piece after a fill, a halt's closing orders): ``replay --verify`` makes it again.

    ``after`` is any later point of the same journal: it has the orders that the decision made.
    """
    purpose = purpose_of(recorded.made.decision_id)
    asked_for = before.state.is_replayed or (recorded.due.time_in_force != "" and purpose in _DECIDED)
    if before.state.mandate is None or not asked_for:
        return None
    inputs = (decision_inputs if before.state.is_replayed else live_decision_inputs)(before.state, recorded.due, purpose)
    mine = {key: order for key, order in after.orders.items() if order.decision_id == recorded.made.decision_id}
    return Reopened(recorded=recorded, inputs=inputs, mandate=before.state.mandate, story=before, orders=mine)


def again(opened: Reopened, edits: Sequence[str]) -> Comparison:
    """Decide again, with edits ``FIELD=VALUE``; raises UnknownField naming the valid ones."""
    inputs, mandate = opened.inputs, opened.mandate
    for edit in edits:
        inputs, mandate = _edited(opened, inputs, mandate, edit)
    state = opened.story.state
    if is_live(state, opened.recorded.due) and inputs.purpose in {Purpose.TARGETS, Purpose.FLATTEN}:
        decision = decide_live(inputs, mandate, state.pending, state.parents).decision
    else:
        decision = decide(inputs, state.bundle if inputs.purpose is Purpose.MODEL else None, mandate)
    return _compare(opened, decision, tuple(edits))


# ---- edits -----------------------------------------------------------------------------------------------------------


def editable(opened: Reopened) -> list[str]:
    """What an edit may name, with placeholders in capitals."""
    symbols = [instrument.symbol for instrument in opened.inputs.instruments]
    example = symbols[0] if symbols else "SYMBOL"
    keys = [f"mandate.{key}" for key in _leaves(opened.mandate)]
    columns = _columns(opened)
    features = [f"feature.{example}.{name}" for name in columns]
    return ["equity", "cash", "drawdown", "ladder", *(f"{kind}.{example}" for kind in ("price", "position", "weight")), *features, *keys]


def _edited(opened: Reopened, inputs: DecisionInputs, mandate: Mandate, edit: str) -> tuple[DecisionInputs, Mandate]:
    field, equals, text = edit.partition("=")
    if not equals or not text:
        raise UnknownField(f"{edit!r} is not FIELD=VALUE")
    head, _, rest = field.partition(".")
    try:
        if head == "mandate" and rest in _leaves(mandate):
            return inputs, _edited_mandate(mandate, rest, text)
        changed = _edited_inputs(opened, inputs, head, rest, text)
    except (InvalidOperation, ValueError, KeyError) as error:
        if isinstance(error, UnknownField):
            raise
        raise UnknownField(f"{text!r} is no value for {field}: {error}") from error
    if changed is None:
        raise UnknownField(f"{field!r} cannot be edited; valid: {', '.join(editable(opened))}")
    return changed, mandate


def _edited_inputs(opened: Reopened, inputs: DecisionInputs, head: str, rest: str, text: str) -> DecisionInputs | None:
    keys = {instrument.symbol: column for column, instrument in enumerate(inputs.instruments)}
    if not rest:
        return _edited_account(inputs, head, text)
    symbol, _, name = rest.rpartition(".") if head == "feature" else (rest, "", "")
    if symbol not in keys:
        return None
    return _edited_instrument(opened, inputs, keys[symbol], f"{head}.{name}", text)


def _edited_instrument(opened: Reopened, inputs: DecisionInputs, column: int, what: str, text: str) -> DecisionInputs | None:
    head, _, name = what.partition(".")
    if head == "price":
        prices = tuple(Decimal(text) if place == column else price for place, price in enumerate(inputs.prices))
        return dataclasses.replace(inputs, prices=prices)
    if head == "position":
        return dataclasses.replace(inputs, positions={**inputs.positions, inputs.instruments[column].instrument_id: Decimal(text)})
    if head == "weight":
        weights = (_recorded_weights(opened) if inputs.target_weights is None else inputs.target_weights).copy()
        weights[column] = float(text)
        return dataclasses.replace(inputs, target_weights=weights)
    if head == "feature" and name in _columns(opened):
        features = inputs.features.copy()
        features[column, _columns(opened).index(name)] = float(text)
        return dataclasses.replace(inputs, features=features)
    return None


def _edited_account(inputs: DecisionInputs, head: str, text: str) -> DecisionInputs | None:
    if head == "equity":
        return dataclasses.replace(inputs, equity=Decimal(text))
    if head == "cash":
        return dataclasses.replace(inputs, cash=Decimal(text))
    if head == "drawdown":
        return dataclasses.replace(inputs, drawdown=float(text))
    if head == "ladder":
        return dataclasses.replace(inputs, ladder=Ladder(level=Level[text.upper()]))
    return None


def _recorded_weights(opened: Reopened) -> Floats:
    return np.frombuffer(opened.recorded.made.target_weights, dtype="<f8")


def _columns(opened: Reopened) -> tuple[str, ...]:
    bundle = opened.story.state.bundle
    return () if bundle is None or opened.inputs.purpose is not Purpose.MODEL else bundle.manifest.columns


def _leaves(mandate: Mandate) -> list[str]:
    """Dotted keys of a mandate's single values."""
    found: list[str] = []

    def walk(tree: Mapping[str, object], above: str) -> None:
        for key, value in tree.items():
            if isinstance(value, dict):
                walk(value, f"{above}{key}.")
            elif not isinstance(value, list | tuple):
                found.append(f"{above}{key}")

    walk(msgspec.to_builtins(mandate), "")
    return found


def _edited_mandate(mandate: Mandate, path: str, text: str) -> Mandate:
    tree = msgspec.to_builtins(mandate)
    branch = tree
    *above, leaf = path.split(".")
    for key in above:
        branch = branch[key]
    branch[leaf] = text
    return msgspec.convert(tree, Mandate, strict=False)


# ---- comparison ------------------------------------------------------------------------------------------------------


def _compare(opened: Reopened, decision: Decision, edits: tuple[str, ...]) -> Comparison:
    made = opened.recorded.made
    names = {instrument.instrument_id: instrument.symbol for instrument in opened.inputs.instruments}
    before, now = made.weights, decision.target_weights
    weights = tuple(WeightChange(symbol=names.get(key, key), recorded=before.get(key), now=now.get(key)) for key in made.instruments)
    was = {scaler.name: scaler for scaler in made.scalers}
    scalers = tuple(
        ScalerChange(
            name=scaler.name,
            recorded=was[scaler.name].scale if scaler.name in was else None,
            now=scaler.scale,
            limit=scaler.limit,
            measured=scaler.measured,
        )
        for scaler in decision.record.scalers
    )
    model = opened.story.models[-1] if opened.story.models and made.model_digest else None
    return Comparison(
        decision_id=made.decision_id,
        session=made.session,
        for_session=made.for_session,
        model="" if model is None else f"{model.name} {model.version}",
        edits=edits,
        identical=e.encode(decision.record) == e.encode(made),
        weights=weights,
        orders=_order_changes(opened, decision, names),
        scalers=scalers,
    )


def _order_changes(opened: Reopened, decision: Decision, names: Mapping[str, str]) -> tuple[OrderChange, ...]:
    now = {order.client_order_id: order for order in (*decision.allowed, *decision.denied)}
    judged = opened.recorded.made.judgements
    was = dict(zip(judged.orders, judged.allowed, strict=True))
    rows = []
    for key in sorted(set(was) | set(now), key=lambda key: (now[key].symbol if key in now else "", key)):
        order, allowed, stored = now.get(key), was.get(key), opened.orders.get(key)
        shown = order or stored
        rows.append(
            OrderChange(
                symbol=key if shown is None else names.get(shown.instrument_id, shown.symbol),
                leg="" if shown is None else shown.leg.value,
                recorded=None if stored is None or allowed is None else stored.quantity * stored.side.sign,
                recorded_verdict="" if allowed is None else ("allowed" if allowed else "denied"),
                now=None if order is None else order.quantity * order.side.sign,
                now_verdict="" if order is None else (f"denied by {order.denied_by}" if order.denied_by else "allowed"),
            )
        )
    return tuple(rows)
