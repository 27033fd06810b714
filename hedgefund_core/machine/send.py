"""A judged decision as records, in the order in which they are read: the decision, what was denied, what goes out."""

from __future__ import annotations

from hedgefund_core.commands import Record
from hedgefund_core.decision import Decision
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Order
from hedgefund_core.trading.order_table import OrderTable


def recorded(decision: Decision, event: e.Event, allowed: tuple[Order, ...] | None = None) -> list[Record]:
    """Everything durable about a decision, before any byte of it leaves; ``allowed`` are those that go out now, where not all do."""
    going = decision.allowed if allowed is None else allowed
    commands = [Record(decision.record)]
    if decision.denied:
        commands.append(Record(e.OrdersDenied(ts=event.ts, orders=OrderTable.of(decision.denied))))
    if going:
        commands.append(Record(e.OrdersIntended(ts=event.ts, orders=OrderTable.of(going))))
    return commands
