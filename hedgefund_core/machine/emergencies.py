"""What was done at the broker past the journal comes into the books: halts latch, closing orders become orders of ours."""

from __future__ import annotations

from msgspec.structs import replace

from hedgefund_core.account_state import State
from hedgefund_core.commands import Command, LookUpOrder, Record
from hedgefund_core.freezes import FROZEN_BY_UNKNOWN, freeze
from hedgefund_core.machine import people
from hedgefund_core.machine.ladders import Step, alert
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Order, OrderStatus
from hedgefund_core.trading.order_table import OrderTable


def on_emergency_adopted(state: State, event: e.EmergencyAdopted) -> Step:
    """An act of the emergency log: said, latched if it was a halt, and looked up if it was an order."""
    words = f"past the journal, {event.person} ({event.reason}): {event.act}"
    commands: list[Command] = [alert(event, f"{words} {event.note}".rstrip(), severity="critical")]
    if event.level:
        asked = e.HaltRequested(ts=event.ts, level=event.level, reason=event.reason, person=event.person, session=event.session)
        state, latched = people.on_halt_requested(state, asked)
        commands += latched
    if event.order is None or event.order.client_order_id in state.known_orders:
        return state, commands
    state, adopted = _adopted(state, event.order, event)
    return state, [*commands, *adopted]


def _adopted(state: State, order: Order, event: e.EmergencyAdopted) -> Step:
    """Sent or not, filled or not: the broker knows, so that it is looked up; until then nothing new in its instrument."""
    unknown = replace(order, status=OrderStatus.UNKNOWN)
    state = replace(state, orders={**state.orders, order.client_order_id: unknown})
    state, frozen = freeze(state, order.instrument_id, FROZEN_BY_UNKNOWN, event)
    return state, [Record(e.OrdersIntended(ts=event.ts, orders=OrderTable.of((order,)))), *frozen, LookUpOrder(order.client_order_id)]
