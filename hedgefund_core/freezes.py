"""Freezes of single instruments: no new exposure until every cause is gone. Some causes end by news, some by a person."""

from __future__ import annotations

from msgspec.structs import replace

from hedgefund_core.account import State
from hedgefund_core.commands import Command, Record
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import OrderStatus

FROZEN_BY_DIFFERENCE = "position differs from the broker's"
FROZEN_BY_UNKNOWN = "outcome of an order is unknown"
FROZEN_BY_OVERFILL = "more was filled than ordered"
FROZEN_BY_CONTRADICTION = "an order that was over was filled"
FROZEN_BY_STRANGER = "somebody else traded in it"
FROZEN_BY_HALT = "trading in it is halted"
FROZEN_BY_BAN = "it is not tradable at the broker"
FROZEN_BY_SPLIT = "it splits before the next open"
_AND = "; "
FROZEN_FOR_A_PERSON = (FROZEN_BY_OVERFILL, FROZEN_BY_CONTRADICTION, FROZEN_BY_STRANGER)


def freeze(state: State, instrument_id: str, cause: str, event: e.Event) -> tuple[State, list[Command]]:
    """Add a cause: a freeze ends when its last cause has."""
    causes = causes_of(state, instrument_id)
    if cause in causes:
        return state, []
    record = e.InstrumentFrozen(ts=event.ts, instrument_id=instrument_id, cause=cause)
    return replace(state, frozen={**state.frozen, instrument_id: _AND.join((*causes, cause))}), [Record(record)]


def causes_of(state: State, instrument_id: str) -> tuple[str, ...]:
    """Why an instrument is frozen; empty where it is not."""
    return tuple(cause for cause in state.frozen.get(instrument_id, "").split(_AND) if cause)


def thaw(state: State, instrument_id: str, cause: str, event: e.Event) -> tuple[State, list[Command]]:
    """Take a cause away; that of an unknown order stays while another order of the instrument is unknown."""
    causes = causes_of(state, instrument_id)
    if cause not in causes:
        return state, []
    same = (order for order in state.working if order.instrument_id == instrument_id)
    if cause == FROZEN_BY_UNKNOWN and any(order.status is OrderStatus.UNKNOWN for order in same):
        return state, []
    left = _AND.join(other for other in causes if other != cause)
    if left:
        return replace(state, frozen={**state.frozen, instrument_id: left}), []
    kept = {key: why for key, why in state.frozen.items() if key != instrument_id}
    return replace(state, frozen=kept), [Record(e.InstrumentThawed(ts=event.ts, instrument_id=instrument_id))]
