"""A judged decision as records, in the order in which they are read: the decision, what was denied, what goes out."""

from __future__ import annotations

from hedgefund_core.commands import Record
from hedgefund_core.decision import Decision
from hedgefund_core.trading import events as e


def recorded(decision: Decision, event: e.Event) -> list[Record]:
    """Everything durable about a decision, before any byte of it leaves."""
    commands = [Record(decision.record)]
    commands += [Record(e.OrderDenied(ts=event.ts, order=order)) for order in decision.denied]
    commands += [Record(e.OrderIntended(ts=event.ts, order=order)) for order in decision.allowed]
    return commands
