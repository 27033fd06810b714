"""The account as its journal tells it: the inputs are stepped through the machine, and what happened on the way is collected.

Recorded decisions are taken from the journal instead of being made again, so that a view is fast; ``replay --verify`` makes them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import cast

from msgspec.structs import replace

from hedgefund_core.account import State, recalled
from hedgefund_core.bundle import Bundle
from hedgefund_core.errors import ModelMismatch, ModelUnavailable
from hedgefund_core.machine import attach_bundle, step
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.order import Order
from live_executor.clock import EPOCH
from live_executor.ports import Head, JournalEntry

BundleReader = Callable[[str], Bundle]
"""Digest -> the verified bundle of the account's folder; raises ModelMismatch or ModelUnavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CashLine:
    """One line of the cash ledger."""

    ts: datetime
    session: str
    kind: str
    amount: Decimal
    reference: str
    """Fill or activity of the broker that it comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A journaled decision and the entry that asked for it."""

    due_seq: int
    due: e.DecisionDue
    made: e.DecisionMade


@dataclass(slots=True, kw_only=True)
class Story:
    """Everything the views need; ``state`` is the machine's own."""

    state: State = field(default_factory=State)
    opened: e.AccountOpened | None = None
    models: list[e.ModelLoaded] = field(default_factory=list)
    orders: dict[str, Order] = field(default_factory=dict)
    """Every order that ever was, as it stands now."""
    fills: list[tuple[Order, e.OrderFilled]] = field(default_factory=list)
    external: list[e.ExternalFilled] = field(default_factory=list)
    """What others traded on this account."""
    cash: list[CashLine] = field(default_factory=list)
    marks: list[e.AccountMarked] = field(default_factory=list)
    decisions: list[Recorded] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    """Session -> data version of its bars."""
    reconciled: e.Reconciled | None = None
    alerts: list[e.AlertRaised] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)
    """Digest of a bundle that cannot be read any more -> why."""
    head: Head = field(default_factory=lambda: Head(seq=0, hash=b""))
    ts: datetime = EPOCH
    due: tuple[int, e.DecisionDue] | None = None
    input_seq: int = 0

    def symbol(self, instrument_id: str) -> str:
        """Name of an instrument today."""
        found = [i.symbol for i in self.state.instruments if i.instrument_id == instrument_id]
        return found[0] if found else instrument_id


def tell(entries: Iterable[JournalEntry], bundles: BundleReader, *, until_seq: int | None = None) -> Story:
    """Fold a journal, up to but not with entry ``until_seq``."""
    return tell_on(Story(), entries, bundles, until_seq=until_seq)


def tell_on(story: Story, entries: Iterable[JournalEntry], bundles: BundleReader, *, until_seq: int | None = None) -> Story:
    """Go on with a story where it ended: the entries after its head."""
    for entry in entries:
        if until_seq is not None and entry.seq >= until_seq:
            break
        frame = entry.frame
        if entry.kind in e.INPUT_KINDS:
            _take_input(story, cast("e.Input", frame), entry.seq, bundles)
        else:
            _take_output(story, frame)
        story.head = Head(seq=entry.seq, hash=entry.hash)
        story.ts = frame.ts
    return story


def _take_input(story: Story, event: e.Input, seq: int, bundles: BundleReader) -> None:
    story.input_seq = seq
    if isinstance(event, e.DecisionDue):
        story.due = (seq, event)
        if not _is_decided_again(story.state):
            return
    before = story.state
    if isinstance(event, e.ModelLoaded):
        _take_model(story, event, bundles)
    else:
        story.state, _ = step(before, event)
    _remember(story, before, event)
    _remember_versions(story, event)


def _is_decided_again(state: State) -> bool:
    """Whether a decision is made again here. On the wall clock it changes more of the state than its orders (pending orders, parents), and
    is fast to make.
    """
    return not state.is_replayed and (state.bundle is not None or not state.model_digest)


def _take_model(story: Story, event: e.ModelLoaded, bundles: BundleReader) -> None:
    """A bundle that cannot be read any more is said, and does not keep anyone from reading the rest."""
    story.models.append(event)
    try:
        story.state, _ = step(attach_bundle(story.state, bundles(event.digest)), event)
    except (ModelMismatch, ModelUnavailable) as error:
        story.unusable[event.digest] = error.message
        story.state = recalled(story.state, event, ())


def _remember(story: Story, before: State, event: e.Input) -> None:
    after = story.state
    if isinstance(event, e.AccountOpened):
        story.opened = event
    if after.orders is not before.orders:
        story.orders.update(after.orders)
    if isinstance(event, e.OrderFilled) and after.ledger is not before.ledger:
        story.fills.append((after.known_orders[event.client_order_id], event))
    elif isinstance(event, e.ExternalFilled) and after.ledger is not before.ledger:
        story.external.append(event)
    elif isinstance(event, e.FillBusted | e.FillCorrected) and after.ledger is not before.ledger:
        changed = [(order, _changed(fill, event)) for order, fill in story.fills]
        story.fills = [(order, fill) for order, fill in changed if fill is not None]
    if after.ledger is not before.ledger:
        reference = getattr(event, "fill_id", "") or getattr(event, "activity_id", "")
        session = getattr(event, "session", "") or after.session
        for kind, total in after.ledger.totals.items():
            amount = total - before.ledger.totals.get(kind, ZERO)
            if amount != ZERO:
                story.cash.append(CashLine(ts=event.ts, session=session, kind=kind, amount=amount, reference=reference))


def _changed(fill: e.OrderFilled, event: e.FillBusted | e.FillCorrected) -> e.OrderFilled | None:
    """A fill after the exchange took it back (None) or changed it."""
    if (fill.client_order_id, fill.fill_id) != (event.client_order_id, event.fill_id):
        return fill
    return None if isinstance(event, e.FillBusted) else replace(fill, quantity=event.new_quantity, price=event.new_price)


def _remember_versions(story: Story, event: e.Input) -> None:
    if isinstance(event, e.BarsClosed):
        story.versions[event.session] = event.data_version
    elif isinstance(event, e.HistoryLoaded) and event.has_prices:
        story.versions.update(dict.fromkeys(event.sessions, event.data_version))


def _take_decision(story: Story, made: e.DecisionMade) -> None:
    """What asked for it is the schedule; on the wall clock also a person, a fill, a halt."""
    if story.due is not None and (story.state.is_replayed or story.due[0] == story.input_seq):
        story.decisions.append(Recorded(due_seq=story.due[0], due=story.due[1], made=made))
    elif not story.state.is_replayed:
        due = e.DecisionDue(ts=made.ts, session=made.session, for_session=made.for_session, time_in_force="", rebalance=False)
        story.decisions.append(Recorded(due_seq=story.input_seq, due=due, made=made))


def _take_output(story: Story, frame: e.Frame) -> None:
    if isinstance(frame, e.OrdersIntended | e.DecisionMade) and story.due is not None and not _is_decided_again(story.state):
        story.state = recalled(story.state, story.due[1], (frame,))
    if isinstance(frame, e.OrdersIntended | e.OrdersDenied):
        story.orders.update({order.client_order_id: order for order in frame.orders})
    elif isinstance(frame, e.DecisionMade):
        _take_decision(story, frame)
    elif isinstance(frame, e.AccountMarked):
        story.marks.append(frame)
    elif isinstance(frame, e.Reconciled):
        story.reconciled = frame
    elif isinstance(frame, e.AlertRaised):
        story.alerts.append(frame)
