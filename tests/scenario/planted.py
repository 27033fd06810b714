"""Bugs planted on purpose: variants of the product that a simulation has to find. Each replaces one thing and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace as replaced
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from hedgefund_core import errors, session_orders
from hedgefund_core.account import State
from hedgefund_core.bundle import Manifest
from hedgefund_core.machine import books, decisions, dispatch, follow, orders
from hedgefund_core.trading import events as e
from hedgefund_core.trading import evidence
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.observed import OrderSighting
from hedgefund_core.trading.order import Leg, Order, Side
from hedgefund_core.trading.state import Ladder
from live_executor import recovery
from live_executor.brokers.alpaca.order_stream import OrderConversation
from live_executor.desk import Desk
from live_executor.live import sender
from live_executor.live.gates import Gates
from live_executor.live.intake import Intake
from live_executor.live.model import ModelTrader
from live_executor.live.past_journal import Adoption
from live_executor.live.searches import Searches
from live_executor.live.swaps import Swaps
from live_executor.models import loader
from live_executor.simulation import world
from live_executor.simulation.faults import FaultyBroker
from live_executor.simulation.venue import Venue, VenueOrder

Plant = Callable[[pytest.MonkeyPatch], None]
Patch = pytest.MonkeyPatch


def _no_look_up(patch: Patch) -> None:
    async def search(self: Searches, name: str) -> None:
        self._floor.take([e.OrderAbsent(ts=self._floor.now(), client_order_id=name)])
        self._running.discard(name)

    patch.setattr(Searches, "_search", search)


def _absent_after_one_look(patch: Patch) -> None:
    async def search(self: Searches, name: str) -> None:
        try:
            found = await self._floor.broker.look_up(name)
            if found is not None:
                await self._intake.order(found)
            else:
                self._floor.take([e.OrderAbsent(ts=self._floor.now(), client_order_id=name)])
        except errors.BrokerUnavailable:
            pass
        finally:
            self._running.discard(name)

    patch.setattr(Searches, "_search", search)


def _fills_counted_again(patch: Patch) -> None:
    numbers, named = itertools.count(), evidence._filled

    def again(order: Order, seen: Any, fill_id: str, quantity: Decimal, price: Decimal, session: str) -> e.OrderFilled:
        return named(order, seen, f"{fill_id.partition(':')[0]}-{next(numbers)}:{fill_id.partition(':')[2]}", quantity, price, session)

    patch.setattr(evidence, "_piece", lambda _booked, _value, _total, fill, _whole: (fill.quantity, fill.price))
    patch.setattr(evidence, "_filled", again)


def _acknowledged_is_canceled(patch: Patch) -> None:
    ask = sender.Sender._ask_to_cancel

    async def trusting(self: sender.Sender, name: str) -> None:
        await ask(self, name)
        order = self._floor.order(name)
        if order is not None and order.is_working:
            self._floor.book([e.OrderCanceled(ts=self._floor.now(), broker_seq=0, client_order_id=name)])

    patch.setattr(sender.Sender, "_ask_to_cancel", trusting)


def _no_reservation(patch: Patch) -> None:
    inputs = decisions.live_decision_inputs
    patch.setattr(decisions, "live_decision_inputs", lambda *given: replaced(inputs(*given), working=()))


def _handler(patch: Patch, kind: type[e.Event], change: Callable[[Callable[..., Any], State, Any], Any]) -> None:
    handler = dispatch.HANDLERS[kind]
    patch.setitem(dispatch.HANDLERS, kind, lambda state, event: change(handler, state, event))


def _disarmed_at_the_close(patch: Patch) -> None:
    _handler(patch, e.SessionEnded, lambda handler, state, event: handler(replace(state, ladder=Ladder()), event))


def _renamed_on_restart(patch: Patch) -> None:
    starts, named, start = itertools.count(), session_orders.client_order_id, world.World._start
    salt = [""]

    def begin(self: world.World) -> None:
        salt[0] = f"process {next(starts)}"
        start(self)

    patch.setattr(world.World, "_start", begin)
    patch.setattr(session_orders, "client_order_id", lambda **fields: named(**{**fields, "book": fields["book"] + salt[0]}))


def _gap_ignored(patch: Patch) -> None:
    async def forget(self: Intake, seen: Any) -> None:
        return

    patch.setattr(Intake, "_mend", forget)


def _old_picture_undoes_fills(patch: Patch) -> None:
    fills = evidence._fills

    def believing(order: Order, seen: Any, session: str, *, settle: bool) -> Any:
        if seen.fill is None and ZERO < seen.filled_quantity < order.filled_quantity and order.average_fill_price is not None:
            back = seen.filled_quantity - order.filled_quantity
            undone = e.FillBusted(
                ts=seen.at, broker_seq=0, client_order_id=order.client_order_id, fill_id=order.fill_ids[-1], quantity=-back,
                price=order.average_fill_price, session=session,
            )  # fmt: skip
            return [undone]
        return fills(order, seen, session, settle=settle)

    patch.setattr(evidence, "_fills", believing)


def _gates_stay_open(patch: Patch) -> None:
    patch.setattr(Gates, "set", lambda _self, _cause, *, closed: None)  # noqa: ARG005  # noqa: ARG005
    patch.setattr(Gates, "closed", frozenset())
    patch.setattr(Gates, "start", lambda _self, _left: None)


def _there_already_is_a_refusal(patch: Patch) -> None:
    accept = Venue.accept

    def refuse(self: Venue, order: Order) -> VenueOrder:
        if order.client_order_id in self.orders:
            raise errors.OrderRejected("client_order_id must be unique")
        return accept(self, order)

    patch.setattr(Venue, "accept", refuse)


def _bust_ignored(patch: Patch) -> None:
    _handler(patch, e.FillBusted, lambda _handler, state, _event: (state, []))


def _snapshot_of_another_place(patch: Patch) -> None:
    snapshot = recovery._snapshot

    def elsewhere(*given: Any) -> recovery.Recovered | None:
        found = snapshot(*given)
        return None if found is None else replace(found, entries=max(0, found.entries - 8))

    patch.setattr(recovery, "_snapshot", elsewhere)


def _news_numbered_anew(patch: Patch) -> None:
    numbers: dict[Desk, int] = {}

    def book(self: Desk, news: Sequence[Any]) -> Any:
        first = numbers.get(self, 0) + 1
        numbers[self] = first + len(news) - 1
        return self.fold([replace(item, broker_seq=first + place) for place, item in enumerate(news)])

    patch.setattr(Desk, "book", book)


def _late_fill_dropped(patch: Patch) -> None:
    fills = evidence._fills
    patch.setattr(evidence, "_fills", lambda order, *given, **named: fills(order, *given, **named) if order.is_working else [])


def _stranger_traded_back(patch: Patch) -> None:
    from hedgefund_core import live_account

    patch.setattr(live_account, "FROZEN_BY_STRANGER", "nothing")
    patch.setattr(follow, "FROZEN_BY_STRANGER", "nothing")


def _crosses_itself(patch: Patch) -> None:
    toward = session_orders._toward
    patch.setattr(
        session_orders, "_toward", lambda plan, inputs, column, target, _working, parent: toward(plan, inputs, column, target, (), parent)
    )
    patch.setattr(sender, "_must_wait_for_another", lambda _order, _working: False)


def _both_legs_at_once(patch: Patch) -> None:
    toward = session_orders._toward

    def both(plan: Any, inputs: Any, column: int, target: Decimal, *given: Any) -> None:
        toward(plan, inputs, column, target, *given)
        instrument = inputs.instruments[column]
        waits = plan.pending.get(instrument.instrument_id)
        if waits is not None and waits.needs_fill and not waits.after and target:
            del plan.pending[instrument.instrument_id]
            side = Side.BUY if target > ZERO else Side.SELL
            plan.wanted.append(session_orders.Wanted(instrument=instrument, side=side, quantity=abs(target), leg=Leg.OPEN))

    patch.setattr(session_orders, "_toward", both)
    patch.setattr(sender, "_must_wait_for_another", lambda _order, _working: False)


def _journal_after_the_send(patch: Patch) -> None:
    commit = Desk._commit

    def later(self: Desk, state: State, frames: Sequence[Any]) -> None:
        behind = [*getattr(self, "_behind", []), *frames]
        if any(isinstance(frame, e.OrdersIntended) for frame in frames):
            self._behind = behind  # type: ignore[attr-defined]
            self._state = state
        else:
            self._behind = []  # type: ignore[attr-defined]
            commit(self, state, behind)

    patch.setattr(Desk, "_commit", later)


def _unknown_is_refused(patch: Patch) -> None:
    submit = FaultyBroker.submit

    async def certain(self: FaultyBroker, order: Order) -> Any:
        try:
            return await submit(self, order)
        except errors.OrderOutcomeUnknown as error:
            raise errors.OrderRejected(error.message) from error

    patch.setattr(FaultyBroker, "submit", certain)


def _split_twice(patch: Patch) -> None:
    patch.setattr(books, "_is_applied", lambda *_given: False)

    def twice(handler: Callable[..., Any], state: State, event: Any) -> Any:
        state, first = handler(state, event)
        state, second = handler(state, event)
        return state, [*first, *second]

    _handler(patch, e.SplitProcessed, twice)


def _halt_forgotten(patch: Patch) -> None:
    begin = world.restart

    def forgetful(*given: Any) -> Any:
        found = begin(*given)
        return replace(found, state=replace(found.state, ladder=Ladder()))

    patch.setattr(world, "restart", forgetful)


def _overfill_ignored(patch: Patch) -> None:
    freezing = orders.freeze

    def lenient(state: State, instrument_id: str, cause: str, event: Any) -> Any:
        return (state, []) if cause == orders.FROZEN_BY_OVERFILL else freezing(state, instrument_id, cause, event)

    patch.setattr(orders, "freeze", lenient)


def _half_a_frame_is_a_whole_one(patch: Patch) -> None:
    read = OrderConversation.read

    def mended(self: OrderConversation, frame: bytes) -> Any:
        for end in (b"", b'"}}}', b"}}}", b'"}}', b"}}", b'"}', b"}"):
            said = read(self, frame + end)
            if all(isinstance(update, OrderSighting) for update in said):
                return said
        return read(self, frame)

    patch.setattr(OrderConversation, "read", mended)


def _emergency_log_not_adopted(patch: Patch) -> None:
    patch.setattr(Adoption, "sync", lambda _self: None)


def _swapped_at_once(patch: Patch) -> None:
    patch.setattr(Swaps, "_may_swap", True)


def _decided_again_after_a_restart(patch: Patch) -> None:
    begin = ModelTrader.__init__
    patch.setattr(ModelTrader, "__init__", lambda self, *given: begin(self, *given[:-1], ()))


def _never_expires(patch: Patch) -> None:
    patch.setattr(Manifest, "expires_on", lambda _self: date(2100, 1, 1))


def _any_verdict_will_do(patch: Patch) -> None:
    patch.setattr(loader, "gate_admits", lambda _manifest, _on: True)


PLANTED_IN_MODELS: dict[str, Plant] = {
    "model swapped in mid-session": _swapped_at_once,
    "decided again after a restart": _decided_again_after_a_restart,
    "model that never expires": _never_expires,
    "model that the gate refused": _any_verdict_will_do,
}
"""Found where a model is traded."""
PLANTED: dict[str, Plant] = {
    **PLANTED_IN_MODELS,
    "no look-up before a resend": _no_look_up,
    "absent after one look-up": _absent_after_one_look,
    "fill de-duplication off": _fills_counted_again,
    "cancel acknowledgement trusted": _acknowledged_is_canceled,
    "reservation of working orders dropped": _no_reservation,
    "flatten disarmed at the close": _disarmed_at_the_close,
    "id renamed on restart": _renamed_on_restart,
    "gap ignored": _gap_ignored,
    "old picture undoes fills": _old_picture_undoes_fills,
    "entries not gated while the stream is down": _gates_stay_open,
    "already there taken for a refusal": _there_already_is_a_refusal,
    "bust ignored": _bust_ignored,
    "snapshot of another place": _snapshot_of_another_place,
    "news numbered anew after a restart": _news_numbered_anew,
    "fill after the end dropped": _late_fill_dropped,
    "a stranger's trade traded back": _stranger_traded_back,
    "own orders crossed": _crosses_itself,
    "both legs over zero at once": _both_legs_at_once,
    "journal after the send": _journal_after_the_send,
    "unknown taken for refused": _unknown_is_refused,
    "split applied twice": _split_twice,
    "halt forgotten by a restart": _halt_forgotten,
    "overfill ignored": _overfill_ignored,
    "half a frame taken for a whole one": _half_a_frame_is_a_whole_one,
    "emergency log not adopted": _emergency_log_not_adopted,
}
