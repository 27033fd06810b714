"""What every task of a live account shares, and the only way to change it: inputs are journaled, then the commands carried out."""

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
    """Carries out the machine's commands."""

    def submit(self, order: Order) -> None:
        """Send an order as soon as it may leave."""

    def cancel(self, client_order_id: str) -> None:
        """Ask for a cancel before anything else leaves."""

    def look_up(self, client_order_id: str) -> None:
        """Find out what became of an order."""


def _nothing() -> None:
    """Default of `Floor.adopt`: there is no emergency log to take acts over from."""


def _awake() -> bool:
    """Default of `Floor.fence` and `Floor.knows_the_books`: nothing to wait for."""
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
    """Symbols of ours that the broker has given to another instrument: no order may be sent under them, not even a closing one."""
    adopt: Callable[[], None] = field(default=_nothing, init=False)
    """Journal what was done at the broker past the journal (emergency log). Called before anything the broker shows is booked."""
    fence: Callable[[], bool] = field(default=_awake, init=False)
    """Whether the process was not frozen since the last call. Called before anything is sent."""
    knows_the_books: Callable[[], bool] = field(default=_awake, init=False)
    """Whether the broker's books were read since the start or the last freeze. Called before a closing order is sent."""
    _afterwards: list[Callable[[], None]] | None = field(default=None, init=False)

    @property
    def state(self) -> State:
        """The account as the machine has it."""
        return self.desk.state

    def order(self, name: str) -> Order | None:
        """An order of ours, of this session or an older one."""
        return self.desk.state.known_orders.get(name)

    def now(self) -> datetime:
        """The broker's time, since it is compared with times that the broker gives."""
        return self.timeline.now()

    def take(self, events: Sequence[e.Input], *, idle: Idle | None = None) -> None:
        """Journal inputs with the machine's outputs, then carry out its commands; nothing at all if ``idle`` says nothing came of them."""
        self.carry_out(self.desk.fold(events, idle=idle))

    def book(self, news: Sequence[e.BrokerNews]) -> None:
        """Journal news of the broker, then carry out the machine's commands."""
        self.carry_out(self.desk.book(news))

    @contextlib.contextmanager
    def group(self) -> Iterator[None]:
        """Everything taken and booked inside is one durable commit; the commands of all of it are carried out after that."""
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
        """Call ``act`` once the group that is open now, if any, is durable and its commands are carried out."""
        if self._afterwards is None:
            act()
        else:
            self._afterwards.append(act)

    def trouble(self, message: str, *, severity: str = "warning", request_id: str = "") -> None:
        """Alert people."""
        self.take([e.TroubleSeen(ts=self.now(), severity=severity, message=message, request_id=request_id)])

    def carry_out(self, commands: Sequence[Command]) -> None:
        """Hand the machine's commands to those who carry them out."""
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
        """Sleep until the event is set, at most so many seconds."""
        if event.is_set():
            return
        sleeping, waking = asyncio.ensure_future(self.sleep(seconds)), asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()

    def pause(self, attempt: int, *, most: float = 5.0) -> float:
        """Seconds before attempt number ``attempt + 1``: 0.25 doubled with each attempt, at most ``most``, times a jitter of 0.5 to 1.5."""
        return min(most, 0.25 * 2.0 ** min(attempt, 8)) * (0.5 + self.rng.random())
