"""A promoted model on the wall clock. After each close it brings the lake's bars to the machine and asks for one decision, whose orders
are for an auction of the next session.

Backtest, replay and live follow one schedule (``contracts.md``, Time): a session's bars close, and some minutes later the model decides
for the *next* session. Bars come only from the lake, because the model was trained on those: validated, of one source and one price
kind. If the lake has no bars of a session there is no decision on it, and people are told. A missed rebalance is made up once, at the
next session.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from msgspec.structs import replace

from hedgefund_core import errors
from hedgefund_core.account import rows_kept, session_closed
from hedgefund_core.backtest.event_driven import bars_closed, close_time, history_loaded, utc
from hedgefund_core.backtest.fills import FillConvention, choose_fill
from hedgefund_core.quant.bars import Panel, PriceKind
from hedgefund_core.quant.sessions import RebalanceAnchor, RebalanceCalendar
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import TimeInForce
from live_executor.live.floor import Floor
from live_executor.live.instruments import Instruments
from live_executor.live.prices import Prices
from live_executor.live.timeline import opening_is_over
from live_executor.logging import logger
from live_executor.models.loader import Admitted
from live_executor.panels import aligned

_log = logger("model")
_TICK_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlan:
    """What a run of the promoted model needs from outside."""

    first: Admitted | None
    """The bundle that carries the alias at the start. None = there is none or it was refused: the model in the journal stays in use."""
    panel: Callable[[], Panel]
    """The lake's panel as it is now."""
    ask: Callable[[], Awaitable[str]]
    """Digest of the verified bundle that carries the alias; raises ModelUnavailable, or ModelMismatch where it is refused."""
    read: Callable[[str], Admitted]
    """A bundle that was verified and kept, by digest."""
    alias_every: float
    anchor: str
    fill: str
    delay: timedelta
    late_after: timedelta
    see_every: float


class ModelTrader:
    """Brings bars to the machine and asks it for the model's decision."""

    def __init__(self, floor: Floor, prices: Prices, instruments: Instruments, plan: ModelPlan, past: Iterable[e.DecisionDue]) -> None:
        self._floor, self._prices, self._instruments, self._plan = floor, prices, instruments, plan
        self._decided, self._rebalanced = "", ""
        for due in past:
            self._note(due)
        self._said = ""
        self._missing, self._missing_since = "", floor.timeline.local_now()
        self._since_prices = float("inf")

    @property
    def decided(self) -> str:
        """The session that was decided on last."""
        return self._decided

    # ---- the model --------------------------------------------------------------------------------------------------------

    async def open(self, first: Admitted | None) -> None:
        """At the start: the model with its instruments (None = the journal's own), and the bars it looks back on."""
        if first is not None:
            await self.load(first)
        try:
            panel = self._plan.panel()
        except (errors.DataUnavailable, errors.DataInvalid) as error:  # orders, halts and the books do not wait for bars
            self._say(f"the lake's bars cannot be read now: {error.message}")
            return
        if first is None:
            await self.know(panel.symbols)
        self._look_back(panel, int(np.searchsorted(panel.sessions, np.datetime64(self._floor.state.session or "1970-01-01", "D"))))

    async def load(self, admitted: Admitted, *, person: str = "", reason: str = "") -> None:
        """Let a verified bundle trade from here on; raises ModelMismatch where it was made for another account."""
        await self.know(admitted.bundle.manifest.universe)
        self.use(admitted, person=person, reason=reason)

    def use(self, admitted: Admitted, *, person: str = "", reason: str = "") -> None:
        """The same, of a bundle whose names are known."""
        manifest = admitted.bundle.manifest
        if admitted.bundle.digest == self._floor.state.model_digest:
            return
        loaded = admitted.loaded(self._floor.now(), person=person, reason=reason)
        self._floor.desk.open([loaded], [admitted.bundle])
        _log.warning("model in use", name=manifest.name, version=admitted.registered.version, digest=admitted.bundle.digest[:12])

    async def know(self, symbols: Iterable[str]) -> None:
        """Make a universe known to account and feed; names that the broker does not have cannot be traded, which is said."""
        unknown = await self._instruments.ensure(sorted(symbols))
        if unknown:
            names = ", ".join(unknown[:10]) + (" …" if len(unknown) > 10 else "")
            self._floor.trouble(f"the broker does not know {len(unknown)} names of the model, which are not traded: {names}")

    # ---- the schedule ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the sessions for ever."""
        while True:
            await self._floor.sleep(_TICK_SECONDS)
            self._since_prices += _TICK_SECONDS
            try:
                await self._turn()
            except (errors.BrokerUnavailable, errors.DataUnavailable, errors.DataInvalid) as error:
                self._say(f"no decision of the model now: {error.message}")

    async def _turn(self) -> None:
        line, state = self._floor.timeline, self._floor.state
        if line.is_open:
            await self._watch_prices()
            return
        if line.session > state.session and state.ended == state.session:
            # No executor ran during that session. It is over, but the decision on its bars is still due.
            now = self._floor.now()
            self._floor.take([e.SessionBegan(ts=now, session=line.session), e.SessionEnded(ts=now, session=line.session)])
        session = self._floor.state.session
        if self._floor.state.ended == session == line.session and self._decided != session and not opening_is_over(line):
            self._decide(session)

    async def _watch_prices(self) -> None:
        """During a session the model decides nothing, but the loss triggers need prices."""
        state = self._floor.state
        if self._since_prices < self._plan.see_every or state.session != self._floor.timeline.session:
            return
        self._since_prices = 0.0
        if self._decided and self._decided < (state.ended or self._decided):
            self._say(f"the decision of session {state.ended} was missed: a rebalance is made up after the session that runs")
        await self._prices.glance()

    def _decide(self, session: str) -> None:
        panel = self._plan.panel()
        row = _row_of(panel, session)
        if row is None:
            self._say_late(session)
            return
        due_at = close_time(panel, row) + self._plan.delay
        if self._floor.now() < (due_at if panel.known_at is None else max(due_at, utc(panel.known_at[row]))):
            return
        self._bring(panel, row)
        due = self._due(panel, row, session)
        self._note(due)
        self._floor.take([due])

    def _due(self, panel: Panel, row: int, session: str) -> e.DecisionDue:
        coming = self._floor.timeline.next_session
        calendar = np.append(panel.sessions[: row + 1].astype("datetime64[D]"), np.datetime64(coming, "D"))
        made = np.datetime64(self._rebalanced, "D") if self._rebalanced else None
        rule = RebalanceCalendar(anchor=RebalanceAnchor(self._plan.anchor))
        opens = choose_fill(panel, self._plan.fill) is FillConvention.NEXT_OPEN
        return e.DecisionDue(
            ts=self._floor.now(),
            session=session,
            for_session=coming,
            time_in_force=(TimeInForce.OPG if opens else TimeInForce.CLS).value,
            rebalance=rule.is_due(calendar, np.datetime64(session, "D"), made),
        )

    def _note(self, due: e.DecisionDue) -> None:
        if due.target_weights is None and due.target_quantities is None and due.for_session > due.session:
            self._decided = max(self._decided, due.session)
            self._rebalanced = max(self._rebalanced, due.session) if due.rebalance else self._rebalanced

    # ---- bars ----------------------------------------------------------------------------------------------------------------

    def _bring(self, panel: Panel, row: int) -> None:
        """The session's bars as the machine's input, after what it has to look back on."""
        if session_closed(self._floor.state):
            return
        self._look_back(panel, row)
        here = aligned(panel, self._symbols())
        self._floor.take([replace(bars_closed(here, row), ts=self._floor.now())])

    def _look_back(self, panel: Panel, row: int) -> None:
        """Give the machine the history before ``row``, unless it has exactly that. Adjusted prices are always given again, because a split
        restates all of them.
        """
        state, keep = self._floor.state, rows_kept(self._floor.state)
        if row == 0:
            return
        ring = state.ring
        whole = ring is not None and ring.shape[0] >= min(row, keep) and ring.sessions[-1] == panel.sessions[row - 1]
        if whole and panel.price_kind is PriceKind.RAW:
            return
        before = aligned(panel, self._symbols()).rows(max(0, row - keep), row)
        self._floor.take([history_loaded(before, at=self._floor.now())])

    def _symbols(self) -> list[str]:
        return [instrument.symbol for instrument in self._floor.state.instruments]

    # ---- what people should know --------------------------------------------------------------------------------------------

    def _say_late(self, session: str) -> None:
        if self._missing != session:
            self._missing, self._missing_since = session, self._floor.now()
        if self._floor.now() > self._missing_since + self._plan.delay + self._plan.late_after:
            self._say(f"the lake has no bars of session {session}: the model decides once they are there, until the opening auction")

    def _say(self, message: str) -> None:
        if message != self._said:
            self._said = message
            self._floor.trouble(message)


def _row_of(panel: Panel, session: str) -> int | None:
    row = int(np.searchsorted(panel.sessions, np.datetime64(session, "D")))
    return row if row < len(panel.sessions) and str(panel.sessions[row]) == session else None
