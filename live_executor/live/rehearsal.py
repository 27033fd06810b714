"""The account as a starting executor would find it now: the broker is asked and its news booked, but in memory only, and no order leaves.

The commands `reconcile` and `plan` use it. It runs the executor's own code on a journal that is not kept.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from hedgefund_core.account import State
from hedgefund_core.account_state import ids_by_name
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Order, TimeInForce
from live_executor.commands import Mailbox
from live_executor.desk import Desk
from live_executor.live.crew import Crew
from live_executor.live.cursor import ActivityCursor
from live_executor.live.floor import Floor
from live_executor.live.gates import Gates
from live_executor.live.instruments import Instruments
from live_executor.live.intake import Intake
from live_executor.live.known import KINDS, Known
from live_executor.live.market_view import MarketView
from live_executor.live.prices import Prices
from live_executor.live.reconciler import Reconciler
from live_executor.live.sessions import Sessions
from live_executor.live.timeline import Timeline
from live_executor.ports import Clock, Head, JournalEntry, LiveBroker, LiveFeed
from live_executor.recovery import Recovered
from live_executor.settings import LiveSettings
from live_executor.targets import Targets

_READS = 3
_PAUSE_SECONDS = 0.4
"""A broker's answers lag for a moment: a difference counts if it is still there after so many reads."""


class Unkept:
    """A `Journal` that keeps nothing; what would be written is listed in ``frames``."""

    def __init__(self) -> None:
        self.frames: list[e.Event] = []

    def append(self, frames: Sequence[e.Event]) -> Head:
        """List frames."""
        self.frames += frames
        return self.head

    def tidy(self) -> None:
        """Nothing to put in order."""

    def read(self, after_seq: int = 0) -> Iterator[JournalEntry]:
        """Nothing is kept."""
        return iter(())

    @property
    def head(self) -> Head:
        """It has none."""
        return Head(seq=0, hash=b"")

    def sign_head(self, signed_at: datetime) -> None:
        """Nothing to sign."""

    def save_snapshot(self, payload: bytes) -> None:
        """Nothing to keep."""

    def snapshot(self) -> bytes | None:
        """There is none."""
        return None

    def close(self) -> None:
        """Nothing to release."""


class NoHands:
    """`Hands` that send nothing; orders and cancels that would have been sent are listed."""

    def __init__(self) -> None:
        self.submitted: list[Order] = []
        self.canceled: list[str] = []

    def submit(self, order: Order) -> None:
        """List an order."""
        self.submitted.append(order)

    def cancel(self, client_order_id: str) -> None:
        """List a cancel."""
        self.canceled.append(client_order_id)

    def look_up(self, client_order_id: str) -> None:
        """Asked for anyway."""


class Rehearsal:
    """One look at the outside."""

    def __init__(
        self,
        state: State,
        entries: Iterable[JournalEntry],
        mailbox: Mailbox,
        cursor: ActivityCursor,
        adapters: tuple[LiveBroker, LiveFeed],
        clock: Clock,
        settings: LiveSettings,
    ) -> None:
        self.journal, self.hands = Unkept(), NoHands()
        recovered = Recovered(state=state, place=None, ts=clock.now(), entries=0)
        self._desk = Desk(self.journal, recovered, sign_every=1 << 40, now=clock.now)
        known = Known(entry.frame for entry in entries if entry.kind in KINDS)
        self._floor = Floor(
            desk=self._desk,
            broker=adapters[0],
            feed=adapters[1],
            mailbox=mailbox,
            timeline=Timeline(clock),
            view=MarketView(),
            known=known,
            crew=Crew(),
            settings=settings,
            sleep=asyncio.sleep,
            rng=random.Random(0),  # noqa: S311 - nothing waits here
        )
        self._floor.hands = self.hands
        self._desk.watch(known.note)
        gates = Gates(self._floor)
        self._instruments = Instruments(self._floor)
        intake = Intake(self._floor, self._instruments, cursor)
        self._reconciler = Reconciler(self._floor, gates, intake, self._instruments)
        self._prices = Prices(self._floor, gates, self._instruments)
        self._sessions = Sessions(self._floor, self._reconciler, self._instruments, lambda _session: None)
        self._desk.watch(self._reconciler.heard)

    @property
    def state(self) -> State:
        """The account as the machine has it now."""
        return self._desk.state

    async def reconcile(self) -> e.Reconciled:
        """Book what is new at the broker, then compare."""
        await self._sessions.read()
        for _ in range(_READS):
            await self._reconciler.read_orders()
            await self._reconciler.read_books()
            if self._newest().ok:
                break
            await asyncio.sleep(_PAUSE_SECONDS)
        return self._newest()

    def _newest(self) -> e.Reconciled:
        return next(frame for frame in reversed(self.journal.frames) if isinstance(frame, e.Reconciled))

    async def decide(self, targets: Targets) -> list[e.Event]:
        """What a decision on ``targets`` would do now: the frames it would leave in the journal."""
        await self._sessions.read()
        self._sessions.begin()
        await self._instruments.ensure(targets.symbols)
        await self._prices.see()
        state, line = self.state, self._floor.timeline
        ids = ids_by_name(state, targets.symbols)
        due = e.DecisionDue(
            ts=self._floor.now(),
            session=state.session,
            for_session=state.session if line.is_open else line.next_session,
            time_in_force=(TimeInForce.DAY if line.is_open else TimeInForce.OPG).value,
            rebalance=True,
            target_weights={ids[symbol]: float(weight) for symbol, weight in targets.weights.items() if symbol in ids},
            target_quantities={ids[symbol]: quantity for symbol, quantity in targets.quantities.items() if symbol in ids},
        )
        before = len(self.journal.frames)
        self._floor.take([due])
        return self.journal.frames[before:]
