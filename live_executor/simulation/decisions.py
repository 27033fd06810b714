"""What must hold of a model's decisions, told of every commit: one a session, on the lake's bars, for the next auction, while it may.

It keeps its own notes from the journal's frames, the market's own hours and the lake, apart from trader and machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING

from hedgefund_core.account import State
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Leg, Order, Purpose, TimeInForce
from hedgefund_core.trading.state import Level

if TYPE_CHECKING:
    from live_executor.simulation.lake import Lake
    from live_executor.simulation.registry import Registry
    from live_executor.simulation.world import World

_BLINK = timedelta(seconds=1)
"""So far a process may be off in what it takes for the open and the close."""
_PROMPT_SECONDS = 1.0
_MODELS = frozenset({Purpose.MODEL, Purpose.DECAY})
_AUCTIONS = frozenset({TimeInForce.OPG, TimeInForce.CLS})


class DecisionWitness:
    """The witness of one run."""

    def __init__(self, world: World, lake: Lake, registry: Registry, mandate: Mandate) -> None:
        self._world, self._lake, self._registry = world, lake, registry
        self._end_state, self._anchor = mandate.expiry_end_state, mandate.rebalancing.anchor
        self._rebalanced: str | None = ""
        """The session that was rebalanced on last; None once everything was closed, which is another reason to trade."""
        self.model: e.ModelLoaded | None = None
        self._decided: set[str] = set()
        self._decisions: dict[str, str] = {}
        """Decision -> the session that it is for."""
        self._bars: set[str] = set()
        self._asked: set[str] = set()
        """Sessions for which a decision was due, whatever became of it."""
        self._ended_at, self._left = float("inf"), ""

    def finished(self, state: State) -> None:
        """Once the world has healed, the last session is decided on, by the model that carries the alias."""
        waited, wanted = self._world.loop.time() - self._ended_at, self._registry.wanted()
        if waited < _PROMPT_SECONDS:
            return
        if state.ended == self._lake.last_session and state.ended not in self._asked:
            self._broken("each session is decided on once its bars are there", state.ended)
        if wanted not in {"", self._left, state.model_digest}:
            self._broken("the alias is followed at the next session's end", f"{state.model_digest[:12]} trades, it is at {wanted[:12]}")

    def committed(self, frames: Sequence[e.Event]) -> None:
        """Frames that are durable now; the state is still the one before them."""
        state = self._world.state
        closing = state is not None and state.ladder.level is Level.FLATTENING
        for frame in frames:
            match frame:
                case e.LadderMoved(after=after):
                    closing = after == Level.FLATTENING.name.lower()
                case e.ModelLoaded():
                    self._loaded(frame)
                case e.BarsClosed() if state is not None:
                    self._brought(frame, state)
                case e.DecisionDue() if _is_of_model(frame):
                    self._asked.add(frame.session)
                    if closing:  # everything is closed, again and again
                        self._rebalanced = None
                    else:
                        self._due(frame)
                case e.OrdersIntended(orders=orders):
                    for order in orders:
                        self._ordered(order, frame, closing=closing)
                case _:
                    self._note(frame)

    def _note(self, frame: e.Event) -> None:
        match frame:
            case e.DecisionMade(decision_id=name, for_session=coming):
                if name in self._decisions:
                    self._broken("one decision a session", f"{name} was made twice")
                self._decisions[name] = coming
            case e.AlertRaised(message=message):
                self._heard(message)
            case e.SessionEnded():
                self._ended_at = self._world.loop.time()
            case _:
                pass

    def _broken(self, invariant: str, message: str) -> None:
        self._world.oracle.broken(invariant, message)

    def _count(self, what: str) -> None:
        self._world.coverage.happened[what] += 1

    # ---- single frames -----------------------------------------------------------------------------------------------

    def _loaded(self, frame: e.ModelLoaded) -> None:
        before, self.model = self.model, frame
        self._left = before.digest if before is not None and frame.person else ""
        version = self._registry.version_of(frame.digest)
        if version is None or not version.passed or version.damaged or version.source:
            self._broken("a refused model never trades", f"version {frame.version}")
        if before is None:
            return
        self._count("model gone back to" if frame.person else "model swapped")
        hours, now = self._world.hours, self._world.hours.now()
        if hours.is_open and not frame.person:
            since, left = now - hours.opened_at, hours.clock().next_close - now
            if min(since, left) > _BLINK:
                self._broken("a model is swapped at a session's end", f"version {frame.version} at {now.isoformat()}")

    def _brought(self, frame: e.BarsClosed, state: State) -> None:
        if frame.session in self._bars:
            self._broken("one decision a session", f"the bars of {frame.session} were brought twice")
        self._bars.add(frame.session)
        there = self._lake.closes(frame.session)
        brought = dict(zip((i.symbol for i in state.instruments), frame.close, strict=True))
        wrong = sorted(name for name, close in brought.items() if close != there.get(name))
        if wrong or frame.known_at > frame.ts:
            self._broken("decisions stand on the lake's bars", f"{frame.session}: {', '.join(wrong) or 'not known by then'}")

    def _due(self, frame: e.DecisionDue) -> None:
        hours = self._world.hours
        self._count("model decided")
        if frame.session in self._decided:
            self._broken("one decision a session", f"{frame.session} was decided on twice")
        self._decided.add(frame.session)
        closed = max(day.session for day in hours.days if day.closes_at <= hours.now() + _BLINK)
        if (frame.session, frame.for_session) != (closed, hours.session_after(closed)):
            self._broken("a decision is for the session after it", f"on {frame.session} for {frame.for_session} at {frame.ts.isoformat()}")
        self._check_rebalance(frame)
        if self._is_expired(frame):
            self._count(f"decided with an expired model, {self._end_state}")

    def _check_rebalance(self, frame: e.DecisionDue) -> None:
        """On the last session of a week, or after one that was missed, once; or on every session."""
        if self._rebalanced is None:
            return
        hours, last = self._world.hours, self._rebalanced
        days = [day.session for day in hours.days if day.session <= frame.session]
        days = [day for day in days if day > last] if last else days[-1:]
        due = [day for day in days if self._anchor == "every" or _week(day) != _week(hours.session_after(day))]
        if bool(due) != frame.rebalance:
            self._broken("a rebalance is made once, and made up where it was missed", f"{frame.session}: {frame.rebalance}, due {due}")
        if frame.rebalance:
            self._count("rebalance made up" if due and due[-1] != frame.session else "rebalanced")
            self._rebalanced = frame.session

    def _ordered(self, order: Order, frame: e.OrdersIntended, *, closing: bool) -> None:
        auction, expired = order.time_in_force in _AUCTIONS, self._is_expired(frame)
        past = self._world.oracle.written_past_the_journal(order.client_order_id)
        if order.purpose in _MODELS:
            self._count("ordered by a model")
            running = self._world.hours.session()
            if self._decisions.get(order.decision_id) != order.session or order.session != running:
                self._broken("a model's order is for the session after its decision", f"{order.client_order_id} for {order.session}")
            if order.purpose is Purpose.DECAY and not (expired and self._end_state == "decay"):
                self._broken("an expired model ends as its mandate says", f"{order.client_order_id} winds down")
            if auction and order.purpose is Purpose.MODEL and expired and (order.leg is Leg.OPEN or self._end_state != "hold"):
                self._broken("an expired model ends as its mandate says", f"{order.client_order_id} trades")
        elif order.purpose is Purpose.FLATTEN and not closing and not past and not (expired and self._end_state == "flatten"):
            self._broken("an expired model ends as its mandate says", f"{order.client_order_id} closes")

    def _heard(self, message: str) -> None:
        for words, what in (
            ("model refused", "model refused"), ("has no bars of session", "bars late"), ("was missed", "rebalance missed"),
        ):  # fmt: skip
            if words in message:
                self._count(what)

    def _is_expired(self, frame: e.Event) -> bool:
        model = self.model
        if model is None:
            return False
        return frame.ts.date() > date.fromisoformat(model.trained_through) + timedelta(days=model.expires_after_days)


def _week(session: str) -> tuple[int, int]:
    return date.fromisoformat(session).isocalendar()[:2]


def _is_of_model(frame: e.DecisionDue) -> bool:
    return frame.target_weights is None and frame.target_quantities is None and frame.for_session > frame.session
