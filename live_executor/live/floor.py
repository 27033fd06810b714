"""What every task of a live account works with, and the one way in and out: journal first, then the hands that act outside."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from hedgefund_core import errors
from hedgefund_core.account import State
from hedgefund_core.commands import CancelOrder, Command, LookUpOrder, MirrorHalt, SubmitOrder
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Order
from live_executor.commands import Mailbox
from live_executor.desk import Desk, Idle
from live_executor.live.crew import Crew
from live_executor.live.known import Known
from live_executor.live.market_view import MarketView
from live_executor.live.timeline import Timeline
from live_executor.ports import LiveBroker, LiveFeed, Sleep
from live_executor.settings import LiveSettings


class Hands(Protocol):
    """Who carries out what the machine asks for."""

    def submit(self, order: Order) -> None:
        """Send an order as soon as it may leave."""

    def cancel(self, client_order_id: str) -> None:
        """Ask for a cancel before anything else leaves."""

    def look_up(self, client_order_id: str) -> None:
        """Find out what became of an order."""


def _nothing() -> None:
    """Nobody acts past the journal."""


def _awake() -> bool:
    """Time does not stand still."""
    return True


@dataclass(slots=True, kw_only=True)
class Floor:
    """One account on the wall clock."""

    desk: Desk
    broker: LiveBroker
    feed: LiveFeed
    mailbox: Mailbox
    timeline: Timeline
    view: MarketView
    known: Known
    crew: Crew
    settings: LiveSettings
    sleep: Sleep
    rng: random.Random
    hands: Hands = field(init=False)
    strange_names: set[str] = field(default_factory=set, init=False)
    """Names of ours that are another instrument's by now: nothing leaves under them, closing orders included."""
    adopt: Callable[[], None] = field(default=_nothing, init=False)
    """Take over what was done past the journal: before anything that the broker shows is booked."""
    fence: Callable[[], bool] = field(default=_awake, init=False)
    """Whether the process has not stood still since the last question: before anything leaves."""
    knows_the_books: Callable[[], bool] = field(default=_awake, init=False)
    """Whether the broker's books were read since a start or a standstill: before anything is closed."""
    _afterwards: list[Callable[[], None]] | None = field(default=None, init=False)

    @property
    def state(self) -> State:
        """The account as the machine has it."""
        return self.desk.state

    def order(self, name: str) -> Order | None:
        """An order of ours, of this session or an older one."""
        return self.desk.state.known_orders.get(name)

    def now(self) -> datetime:
        """The broker's time: what is compared with its own words carries its own clock."""
        return self.timeline.now()

    def take(self, events: Sequence[e.Input], *, idle: Idle | None = None) -> None:
        """Journal inputs with what the machine makes of them, then act; nothing of either where ``idle`` says so."""
        self.carry_out(self.desk.fold(events, idle=idle))

    def book(self, news: Sequence[e.BrokerNews]) -> None:
        """Journal news of the broker, then act."""
        self.carry_out(self.desk.book(news))

    @contextlib.contextmanager
    def group(self) -> Iterator[None]:
        """One durable commit for all that is taken and booked inside; then all of it is acted on."""
        afterwards = self._afterwards = list[Callable[[], None]]()
        try:
            with self.desk.together() as commands:
                yield
        finally:
            self._afterwards = None
        self.carry_out(commands)
        for act in afterwards:
            act()

    def afterwards(self, act: Callable[[], None]) -> None:
        """Do something once what was booked is durable and acted on."""
        if self._afterwards is None:
            act()
        else:
            self._afterwards.append(act)

    def trouble(self, message: str, *, severity: str = "warning") -> None:
        """Tell people."""
        self.take([e.TroubleSeen(ts=self.now(), severity=severity, message=message)])

    def carry_out(self, commands: Sequence[Command]) -> None:
        """Hand over what is to be done outside."""
        for command in commands:
            match command:
                case SubmitOrder(order=order):
                    self.hands.submit(order)
                case CancelOrder(client_order_id=name):
                    self.hands.cancel(name)
                case LookUpOrder(client_order_id=name):
                    self.hands.look_up(name)
                case MirrorHalt(on=on):
                    self.mailbox.mirror(on=on)
                case _:
                    raise errors.InvariantViolation(f"{type(command).__name__} was left outside the journal")

    async def nap(self, event: asyncio.Event, seconds: float) -> None:
        """Sleep until something happens, but no longer."""
        if event.is_set():
            return
        sleeping, waking = asyncio.ensure_future(self.sleep(seconds)), asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()

    def pause(self, attempt: int, *, most: float = 5.0) -> float:
        """Seconds before a try is repeated: doubling from a quarter, with jitter."""
        return min(most, 0.25 * 2.0 ** min(attempt, 8)) * (0.5 + self.rng.random())
