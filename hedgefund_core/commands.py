"""What the machine asks of its shell: journal this, send that. Plain values; the shell carries them out in order."""

from __future__ import annotations

import msgspec

from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Order


class Record(msgspec.Struct, frozen=True, gc=False):
    """Journal this frame together with the event that caused it."""

    frame: e.Output


class SubmitOrder(msgspec.Struct, frozen=True, gc=False):
    """Send an order whose intent is durable; also used to send it again under the same id once it is surely absent."""

    order: Order


class CancelOrder(msgspec.Struct, frozen=True):
    """Ask the broker to cancel."""

    client_order_id: str


class LookUpOrder(msgspec.Struct, frozen=True):
    """Ask the broker what became of an order."""

    client_order_id: str


class MirrorHalt(msgspec.Struct, frozen=True):
    """Create the HALT file, or remove it after a resume."""

    on: bool


Command = Record | SubmitOrder | CancelOrder | LookUpOrder | MirrorHalt
