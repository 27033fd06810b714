"""Live against backtest of the same session: every difference has a cause, and the causes add up to the whole of it.

A session is looked at from the books the account had before it. Between what happened and what the backtest says stand worlds that
differ in one thing each; the profit of two neighbours differs by that thing's cause, so that the sum over the causes *is* the
difference of the ends, to the last digit:

====================  ===============================================================================================
world                 what it is
====================  ===============================================================================================
live                  the account's own day, as marked, net of money that came or went
without extra costs   live fills with the commissions and cash lines of the cost schedule -> ``cost``
simulated             the same orders at the simulated auctions on the journaled bars -> ``execution``
decided again         the orders the kernel makes of the journaled inputs now -> ``decision``, or ``model`` where the bundle at
                      hand is not the journaled one
backtest              decided and filled on the bars the lake has now -> ``data``
====================  ===============================================================================================

Each session begins anew from the live books, so that a difference is counted once and does not grow through later sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import cast

import msgspec

from hedgefund_core.account import State, recalled
from hedgefund_core.backtest import parity_worlds as worlds
from hedgefund_core.backtest.parity_worlds import World
from hedgefund_core.bundle import Bundle
from hedgefund_core.machine import Record, attach_bundle, step
from hedgefund_core.quant.bars import Panel
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.order import Order

CAUSES = ("data", "model", "decision", "execution", "cost")
BundleAtHand = Callable[[str], tuple[Bundle | None, str]]
"""Journaled digest -> the bundle as it lies there now (None: unusable) and what is wrong with it ("" = nothing)."""
_BASIS_POINTS = Decimal(10_000)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not the same. ``kind`` is decision, order, fill or cash."""

    session: str
    kind: str
    cause: str
    what: str
    live: str
    backtest: str


class SessionParity(msgspec.Struct, frozen=True, kw_only=True):
    """One session: ``live_pnl - backtest_pnl`` equals the sum of ``by_cause``."""

    session: str
    orders: int
    fills: int
    live_pnl: Decimal
    backtest_pnl: Decimal
    by_cause: dict[str, Decimal]

    @property
    def difference(self) -> Decimal:
        """What is to be explained."""
        return self.live_pnl - self.backtest_pnl


class Slippage(msgspec.Struct, frozen=True, kw_only=True):
    """Price paid beyond the price decided on, weighted by value, positive = it cost; of what was traded and of the simulator."""

    order_type: str
    """Type and time in force, for example ``limit opg``."""
    orders: int
    fills: int
    live_bps: float | None
    simulated_bps: float | None


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """The report."""

    account: str
    ok: bool
    """Whether nothing differs."""
    sessions: tuple[SessionParity, ...]
    by_cause: dict[str, Decimal]
    live_pnl: Decimal
    backtest_pnl: Decimal
    findings: tuple[Finding, ...]
    slippage: tuple[Slippage, ...]


@dataclass(slots=True, kw_only=True)
class _Day:
    """What the journal says of one session, collected on the way."""

    session: str
    due: e.DecisionDue | None = None
    undecided: State | None = None
    recorded: list[Order] = field(default_factory=list)
    remade: list[Order] = field(default_factory=list)
    fault: str = ""
    fills: list[e.OrderFilled] = field(default_factory=list)
    cash: dict[str, Decimal] = field(default_factory=dict)


def parity(frames: Iterable[e.Frame], panel: Panel | None, bundles: BundleAtHand, *, session: str = "") -> Parity:
    """Compare an account's journal with the backtest of its sessions.

    Parameters
    ----------
    frames : the journal. panel : the lake's bars of its source now; None = compare with the journaled bars only.
    bundles : the account's models. session : only this one; empty = all.
    """
    reader = _Reader(panel=panel, bundles=bundles, only=session)
    for event, outputs in _groups(frames):
        reader.take(event, outputs)
    rows, found = tuple(reader.rows), tuple(reader.findings)
    totals = {cause: sum((row.by_cause[cause] for row in rows), ZERO) for cause in CAUSES}
    return Parity(
        account=reader.state.account,
        ok=not found and all(row.difference == ZERO for row in rows),
        sessions=rows,
        by_cause=totals,
        live_pnl=sum((row.live_pnl for row in rows), ZERO),
        backtest_pnl=sum((row.backtest_pnl for row in rows), ZERO),
        findings=found,
        slippage=_slippage(reader.traded),
    )


def _groups(frames: Iterable[e.Frame]) -> Iterator[tuple[e.Input, list[e.Output]]]:
    asked: e.Input | None = None
    outputs: list[e.Output] = []
    for frame in frames:
        if e.kind_of(frame) not in e.INPUT_KINDS:
            outputs.append(cast("e.Output", frame))
            continue
        if asked is not None:
            yield asked, outputs
        asked, outputs = cast("e.Input", frame), []
    if asked is not None:
        yield asked, outputs


@dataclass(slots=True, kw_only=True)
class _Reader:
    """Folds the journal and closes each session with its comparison."""

    panel: Panel | None
    bundles: BundleAtHand
    only: str
    state: State = field(default_factory=State)
    books: State | None = None
    """The account at its last mark, from which a day's profit is measured: a fill of the next opening auction may be heard before that
    session has begun here, and cash comes overnight."""
    overnight: dict[str, Decimal] = field(default_factory=dict)
    late: list[e.OrderFilled] = field(default_factory=list)
    """What came after a session's mark is part of the next one's profit."""
    days: dict[str, _Day] = field(default_factory=dict)
    rows: list[SessionParity] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    traded: list[tuple[Order, Sequence[e.OrderFilled], Sequence[e.OrderFilled]]] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)

    def take(self, event: e.Input, outputs: Sequence[e.Output]) -> None:
        """One input of the journal with the outputs on record."""
        before = self.state
        if self.books is None and isinstance(event, e.SessionBegan | e.OrderFilled):
            self.books = before
        if isinstance(event, e.ModelLoaded):
            self._load(event)
        else:
            made, commands = step(before, event)
            remade = [command.frame for command in commands if isinstance(command, Record)]
            self.state = made
            if isinstance(event, e.DecisionDue):
                self._decided(before, event, _orders(outputs), _orders(remade), outputs)
        self._note(event, before)
        mark = next((frame for frame in outputs if isinstance(frame, e.AccountMarked)), None)
        if isinstance(event, e.BarsClosed) and mark is not None:
            self._close(event, mark)

    def _day(self, session: str) -> _Day:
        return self.days.setdefault(session, _Day(session=session))

    def _load(self, event: e.ModelLoaded) -> None:
        bundle, fault = self.bundles(event.digest)
        if fault or bundle is None:
            self.faults[event.digest] = fault or "it cannot be used any more"
        if bundle is None:
            self.state = recalled(self.state, event, ())
        else:
            self.state, _ = step(attach_bundle(self.state, bundle), event)

    def _decided(self, before: State, due: e.DecisionDue, recorded: list[Order], remade: list[Order], outputs: Sequence[e.Output]) -> None:
        day = self._day(due.for_session)
        day.due, day.undecided = due, before
        day.recorded += recorded
        day.remade += remade
        day.fault = self.faults.get(before.model_digest, "") if due.target_weights is None and due.target_quantities is None else ""
        if before.is_replayed and worlds.terms(recorded) != worlds.terms(remade):
            self.state = recalled(before, due, outputs)  # the rest of the journal follows from what was ordered then

    def _note(self, event: e.Input, before: State) -> None:
        after = self.state
        if isinstance(event, e.OrderFilled) and after.ledger is not before.ledger:
            order = after.known_orders.get(event.client_order_id)  # its auction's fill may be heard before its session has begun here
            session = event.session if order is None else order.session
            (self._day(session).fills if session > after.marked else self.late).append(event)
        elif after.ledger is not before.ledger and after.session:
            cash = self._day(after.session).cash if after.session > after.marked else self.overnight
            for kind, total in after.ledger.totals.items():
                change = total - before.ledger.totals.get(kind, ZERO)
                if change != ZERO and kind in worlds.COST_LINES:
                    cash[kind] = cash.get(kind, ZERO) + change

    def _close(self, event: e.BarsClosed, mark: e.AccountMarked) -> None:
        day = self._day(event.session)
        books, self.books = self.books, self.state
        for kind, amount in self.overnight.items():
            day.cash[kind] = day.cash.get(kind, ZERO) + amount
        day.fills += self.late
        self.overnight, self.late = {}, []
        if self.only in {"", event.session} and books is not None and books.mandate is not None:
            row = self._compared(day, books, mark)
            self.rows.append(row)
        for past in [name for name in self.days if name <= event.session]:
            del self.days[past]

    def _compared(self, day: _Day, books: State, mark: e.AccountMarked) -> SessionParity:
        after = self.state
        bars = worlds.journaled_bars(after)
        simulated = worlds.simulate(books, day.recorded, bars, day.session)
        inputs = worlds.lake_inputs(day.undecided, self.panel) if day.undecided is not None else None
        lake_bars = worlds.lake_bars(after, self.panel, day.session)
        backtest_orders = day.remade if inputs is None or day.due is None else worlds.decided(inputs, day.due)
        decided = _decided_orders(day, backtest_orders, differs=inputs is not None)
        again = simulated if decided is day.recorded else worlds.simulate(books, decided, bars, day.session)
        same_data = inputs is None and lake_bars is None
        backtest = again if same_data else worlds.simulate(books, backtest_orders, lake_bars or bars, day.session)
        cost = worlds.extra_cost(books, day.fills, day.cash, simulated)
        moved = again.pnl - simulated.pnl
        by_cause = {
            "data": again.pnl - backtest.pnl,
            "model": -moved if day.fault else ZERO,
            "decision": ZERO if day.fault else -moved,
            "execution": mark.day_pnl - cost - simulated.pnl,
            "cost": cost,
        }
        self._find(day, decided, backtest_orders, simulated, same_data=same_data, cost=cost)
        self.traded += [(order, _of(order, day.fills), _of(order, simulated.fills)) for order in day.recorded]
        return SessionParity(
            session=day.session,
            orders=len(day.recorded),
            fills=len(day.fills),
            live_pnl=mark.day_pnl,
            backtest_pnl=backtest.pnl,
            by_cause=by_cause,
        )

    def _find(self, day: _Day, decided: list[Order], backtest: list[Order], simulated: World, *, same_data: bool, cost: Decimal) -> None:
        say = _Sayer(session=day.session, found=self.findings)
        if not same_data:
            what = "bars of the lake are not those of the journal"
            say.one("decision", "data", what, "journaled", self.panel.data_version[:12] if self.panel is not None else "")
            say.orders("data", decided, backtest)
        if day.fault:
            say.one("decision", "model", day.fault, "journaled", "at hand")
        say.orders("model" if day.fault else "decision", day.recorded, decided)
        for order in day.recorded:
            ours, theirs = (_amount(_of(order, fills)) for fills in (day.fills, simulated.fills))
            if ours != theirs:
                say.one("fill", "execution", f"{order.symbol} {order.client_order_id}", ours, theirs)
        if cost != ZERO:
            say.one("cash", "cost", "commissions and cash lines beyond the schedule", str(cost), "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sayer:
    """Adds findings of one session."""

    session: str
    found: list[Finding]

    def one(self, kind: str, cause: str, what: str, live: str, backtest: str) -> None:
        self.found.append(Finding(session=self.session, kind=kind, cause=cause, what=what, live=live, backtest=backtest))

    def orders(self, cause: str, live: Sequence[Order], backtest: Sequence[Order]) -> None:
        """Orders that only one side has, or has with other terms."""
        ours, theirs = worlds.terms(live), worlds.terms(backtest)
        for key in sorted(ours.keys() | theirs.keys()):
            if ours.get(key) != theirs.get(key):
                self.one("order", cause, " ".join(key), ours.get(key, "none"), theirs.get(key, "none"))


def _decided_orders(day: _Day, backtest: list[Order], *, differs: bool) -> list[Order]:
    """Orders of the journaled inputs now. Where the lake's bars give the orders on record, it is the journaled bars that are odd."""
    same = worlds.terms(day.remade) == worlds.terms(day.recorded)
    data_explains = differs and worlds.terms(backtest) == worlds.terms(day.recorded)
    return day.recorded if same or data_explains else day.remade


def _orders(frames: Iterable[e.Event]) -> list[Order]:
    return [order for frame in frames if isinstance(frame, e.OrdersIntended) for order in frame.orders]


def _of(order: Order, fills: Iterable[e.OrderFilled]) -> list[e.OrderFilled]:
    return [fill for fill in fills if fill.client_order_id == order.client_order_id]


def _amount(fills: Sequence[e.OrderFilled]) -> str:
    quantity = sum((fill.quantity for fill in fills), ZERO)
    value = sum((fill.quantity * fill.price for fill in fills), ZERO)
    return (
        "nothing" if quantity == ZERO else f"{quantity.normalize():f} at {(value / quantity).quantize(Decimal('0.000001')).normalize():f}"
    )


def _slippage(traded: Sequence[tuple[Order, Sequence[e.OrderFilled], Sequence[e.OrderFilled]]]) -> tuple[Slippage, ...]:
    kinds = sorted({f"{order.order_type.value} {order.time_in_force.value}" for order, _, _ in traded})
    rows = []
    for kind in kinds:
        mine = [row for row in traded if f"{row[0].order_type.value} {row[0].time_in_force.value}" == kind]
        fills = sum(len(live) for _, live, _ in mine)
        live, simulated = _bps([(o, f) for o, f, _ in mine]), _bps([(o, f) for o, _, f in mine])
        rows.append(Slippage(order_type=kind, orders=len(mine), fills=fills, live_bps=live, simulated_bps=simulated))
    return tuple(rows)


def _bps(pairs: Sequence[tuple[Order, Sequence[e.OrderFilled]]]) -> float | None:
    value = sum((fill.quantity * order.reference_price for order, fills in pairs for fill in fills), ZERO)
    paid = sum((fill.quantity * (fill.price - order.reference_price) * order.side.sign for order, fills in pairs for fill in fills), ZERO)
    return None if value == ZERO else float(paid / value * _BASIS_POINTS)
