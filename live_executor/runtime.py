"""The run of an account on simulated time: each moment of the feed goes through the machine, and its commands to the simulated broker.

A step's input and outputs are one commit, and only then are its commands carried out. After a crash the journal is folded again
(``recovery.py``), missed news is booked, orders without an answer are looked up, and the schedule continues after the last moment on
record. Advancing the market or asking for news a second time does no harm, because the broker's own book is durable.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hedgefund_core import errors
from hedgefund_core.account import State
from hedgefund_core.bundle import Bundle
from hedgefund_core.machine import CancelOrder, Command, LookUpOrder, MirrorHalt, Record, SubmitOrder
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Order, OrderStatus
from hedgefund_core.trading.state import Level
from live_executor.clock import SimulatedClock
from live_executor.commands import Mailbox
from live_executor.crash import crash_here
from live_executor.desk import Desk, Summary
from live_executor.logging import logger
from live_executor.ports import Broker, Clock, Journal, MarketFeed, MarketMoment, Moment, Phase, SimulatedMarket
from live_executor.recovery import Recovered

T = TypeVar("T")
_log = logger("runtime")
_PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Seconds before a call that surely did nothing is tried again."""
_MOST_LOOK_UPS = 5
"""Look-ups of one order in a row that find nothing. After them the process ends with the order still UNKNOWN; a restart asks again."""
_MARKET = {Phase.OPEN: MarketMoment.OPEN, Phase.CLOSE: MarketMoment.CLOSE}


@dataclass(slots=True, kw_only=True)
class Parts:
    """What the loop is plugged into."""

    journal: Journal
    broker: Broker
    market: SimulatedMarket
    feed: MarketFeed
    mailbox: Mailbox
    simulated: SimulatedClock
    wall: Clock
    sign_every: int
    on_session: Callable[[State], None]


class Runtime:
    """One account being traded."""

    def __init__(self, parts: Parts, recovered: Recovered) -> None:
        self._parts, self._place = parts, recovered.place
        self._desk = Desk(parts.journal, recovered, sign_every=parts.sign_every, now=parts.wall.now)
        self._parts.simulated.set(recovered.ts)
        self._stop, self._ended = asyncio.Event(), "end"
        self._look_ups: dict[str, int] = {}

    @property
    def state(self) -> State:
        """The account as the machine has it."""
        return self._desk.state

    async def refuse_lost_books(self) -> None:
        """Refuse to start if the journal or the broker's book was lost: it has to be restored, since the other one continues an account.

        Raises
        ------
        Halted : the broker has less than was booked from it. JournalError : the broker has news, the journal no order.
        """
        state = self.state
        answer = await _patiently(lambda: self._parts.broker.report(state.session, self._parts.simulated.now()))
        theirs, restore = answer.last_broker_seq, "in the account's folder from a backup, or trade another account with --account"
        if theirs < state.broker_seq:
            message = f"the broker's book ends at news {theirs}, the journal has booked {state.broker_seq}: the book was lost"
            raise errors.Halted(message, mend=f"restore broker/ {restore}")
        if theirs and not state.broker_seq and not state.orders:
            message = f"the broker's book has {theirs} pieces of news, the journal not one order: the journal was lost"
            raise errors.JournalError(message, mend=f"restore journal.sqlite {restore}")

    def open(self, events: Sequence[e.Input], bundles: Sequence[Bundle] = ()) -> None:
        """Journal what opens a run: account, configuration, model, history. They ask for nothing outside."""
        self._desk.open(events, bundles)

    async def run(self) -> Summary:
        """Trade until the feed ends or somebody stops the process; the head is signed whatever happens."""
        loop = asyncio.get_running_loop()
        for number, name in ((signal.SIGINT, "sigint"), (signal.SIGTERM, "sigterm")):
            loop.add_signal_handler(number, self._ask_to_stop, name)
        try:
            await self._catch_up()
            async for moment in self._moments():
                await self._at(moment)
            if not self._stop.is_set():
                await self._hear_people(self.state.session)  # requests are read at each moment, and there will be none any more
        finally:
            self._desk.sign()
        return self._desk.summary(self._ended)

    def _ask_to_stop(self, name: str) -> None:
        self._ended = name
        self._stop.set()

    async def _moments(self) -> AsyncIterator[Moment]:
        """The feed's moments until its end or a stop. A stop interrupts the pause between moments, but not a moment being worked on."""
        moments = self._parts.feed.moments(self._place)
        stopping = asyncio.ensure_future(self._stop.wait())
        while not self._stop.is_set():
            coming = asyncio.ensure_future(anext(moments, None))
            await asyncio.wait({coming, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
                break
            moment = coming.result()
            if moment is None:
                break
            yield moment
        stopping.cancel()

    # ---- one moment ---------------------------------------------------------------------------------------------------

    async def _at(self, moment: Moment) -> None:
        self._parts.simulated.set(moment.ts)
        await self._hear_people(moment.session)
        if moment.phase in _MARKET:
            await _patiently(lambda: self._parts.market.advance(moment.session, _MARKET[moment.phase], moment.ts))
            await self._book_news()
        elif moment.phase is Phase.REPORT:
            await self._carry_out(self._desk.fold([await _patiently(lambda: self._parts.broker.report(moment.session, moment.ts))]))
        else:
            if moment.phase is Phase.DECISION and self.state.stand_in_due:
                await self._carry_out(self._desk.fold([e.StandInResumed(ts=moment.ts, session=moment.session)]))
            if moment.event is not None:
                await self._carry_out(self._desk.fold([moment.event]))
            await self._book_news()
        if moment.phase is Phase.REPORT:
            self._parts.on_session(self.state)

    async def _hear_people(self, session: str) -> None:
        """Journal what people asked for, then remove the file: a crash between the two asks again, which changes nothing."""
        now = self._parts.simulated.now()
        requests: list[e.Input] = []
        latched = self._parts.mailbox.halt_file_event(session, now)
        if latched is not None:
            requests.append(latched)
        files = self._parts.mailbox.waiting(session, now)
        requests += [event for _, event in files]
        if requests:
            _log.warning("operator", requests=[e.kind_of(event) for event in requests])
            commands = self._desk.fold(requests)
            for path, _ in files:
                path.unlink(missing_ok=True)
            await self._carry_out(commands)
            self._desk.sign()
        if self.state.ladder.level is Level.HALTED:
            cause = self.state.ladder.cause
            raise errors.Halted(f"account {self.state.account} is halted: {cause}", mend="executor resume --reason …, then run again")

    # ---- then the outside -------------------------------------------------------------------------------------------------

    async def _carry_out(self, commands: Sequence[Command]) -> None:
        waiting = deque(commands)
        touched = bool(waiting)
        while waiting:
            command = waiting.popleft()
            match command:
                case SubmitOrder(order=order):
                    # What follows from this order, such as a look-up of an unknown outcome, comes before the next order.
                    waiting.extendleft(reversed(await self._submit(order)))
                case CancelOrder(client_order_id=name):
                    await _patiently(lambda name=name: self._parts.broker.cancel(name))  # type: ignore[misc]
                case LookUpOrder(client_order_id=name):
                    waiting.extendleft(reversed(await self._look_up(name)))
                case MirrorHalt(on=on):
                    self._parts.mailbox.mirror(on=on)
                case Record():
                    raise errors.InvariantViolation("a record was left outside the journal")
        if touched:
            await self._book_news()

    async def _submit(self, order: Order) -> list[Command]:
        crash_here("before_send")
        try:
            await _patiently(lambda: self._parts.broker.submit(order))
        except errors.OrderRejected as error:
            # The rejection is in the broker's news too, and booked from there.
            _log.warning("rejected", order=order.client_order_id, reason=error.message)
        except errors.OrderOutcomeUnknown as error:
            now = self._parts.simulated.now()
            return self._desk.fold([e.OrderOutcomeUnknown(ts=now, client_order_id=order.client_order_id, reason=error.message)])
        crash_here("after_send")
        return []

    async def _look_up(self, name: str) -> list[Command]:
        """Ask for evidence: present, and the news tells the rest; absent, and it goes out again under the same id."""
        self._look_ups[name] = self._look_ups.get(name, 0) + 1
        if self._look_ups[name] > _MOST_LOOK_UPS:
            raise errors.BrokerUnavailable(
                f"outcome of order {name} stays unknown", mend="check the broker, then run again: it is looked up first"
            )
        found = await _patiently(lambda: self._parts.broker.look_up(name))
        if found is None:
            return self._desk.fold([e.OrderAbsent(ts=self._parts.simulated.now(), client_order_id=name)])
        self._look_ups.pop(name, None)
        return []

    async def _book_news(self) -> None:
        """Book everything that is new at the broker, in one commit, until nothing is."""
        while news := await _patiently(lambda: self._parts.broker.news(self.state.broker_seq)):
            filled = any(isinstance(item, e.OrderFilled) for item in news)
            accepted = any(isinstance(item, e.OrderAccepted) for item in news)
            if filled:
                crash_here("before_fill")
            commands = self._desk.fold(news)
            if accepted:
                crash_here("after_acknowledgement")
            if filled:
                crash_here("after_fill")
            await self._carry_out(commands)

    async def _catch_up(self) -> None:
        """After a start: book what was missed, then ask for every order of which we have heard nothing."""
        if self.state.ladder.person:
            self._parts.mailbox.mirror(on=True)  # somebody may have deleted the file: the journal is the truth of the latch
        await self._book_news()
        for order in self.state.working:
            if order.status in {OrderStatus.PENDING_NEW, OrderStatus.UNKNOWN}:
                await self._carry_out(await self._look_up(order.client_order_id))
            elif order.status is OrderStatus.PENDING_CANCEL:
                await self._carry_out([CancelOrder(order.client_order_id)])  # asking twice is harmless


async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call that surely did nothing (BrokerUnavailable); any other error is the caller's."""
    for pause in _PAUSES:
        try:
            return await call()
        except errors.BrokerUnavailable as error:
            _log.warning("broker away", error=error.message, again_in=pause)
            await asyncio.sleep(pause)
    return await call()
