"""Books what the broker shows: sightings become news by comparison with what is booked, and missing fills are asked for.

Sightings that arrive while a commit is being written are booked together in the next one: hundreds of answers cost one wait for the
disk, and a single answer waits no longer than before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

from hedgefund_core import errors
from hedgefund_core.trading import events as e
from hedgefund_core.trading.cash_lines import SPLITS
from hedgefund_core.trading.evidence import Booked, Evidence, News, nameless, news_of, split_news
from hedgefund_core.trading.instrument import ZERO
from hedgefund_core.trading.observed import ActivitySighting, OrderSighting, UnknownUpdate
from hedgefund_core.trading.order import Order
from live_executor.crash import crash_here
from live_executor.live.cursor import ActivityCursor
from live_executor.live.dead_letters import POISON, DeadLetters
from live_executor.live.floor import Floor
from live_executor.live.instruments import Instruments
from live_executor.logging import logger

_log = logger("intake")
FILL = "FILL"
_ON_THEIR_WAY_SECONDS = 0.1
"""In a burst of fills a query overtakes the stream. Missing fills nearly always arrive within this time, and asking costs requests."""
CLOCKS_DIFFER = timedelta(minutes=1)
"""Margin where the broker is asked for a list since a time of our own clock."""
_LAGS_BEHIND = timedelta(minutes=1)
"""A broker may take so long until its list of orders shows one that it has filled."""
_DATED_BACK = timedelta(days=7)
"""Fees and dividends get the id of midnight of their day, so a line can be posted with an id before those already read."""
T = TypeVar("T")


class _Batch:
    """Work to be done in one commit, and the futures of those who wait for it."""

    def __init__(self) -> None:
        self.works: list[Callable[[], None]] = []
        self.answers: list[asyncio.Future[Any]] = []


class Intake:
    """Books sightings, whether they come by the stream, by a query or as the answer to a request of ours."""

    def __init__(self, floor: Floor, instruments: Instruments, cursor: ActivityCursor) -> None:
        self._floor, self._instruments, self._cursor = floor, instruments, cursor
        self._mending: set[str] = set()
        self._batch: _Batch | None = None
        self._letters = DeadLetters(floor)

    async def order(self, seen: OrderSighting) -> None:
        """Book an order's sighting. Raises BrokerUnavailable if fills are missing and the broker cannot be asked for them."""
        found = await self._soon(lambda: self._show(seen))
        if found.stranger and await self._instruments.ensure([found.stranger]) == []:
            found = self._show(seen)
        if found.gap and seen.broker_order_id not in self._mending:
            self._mending.add(seen.broker_order_id)
            try:
                await self._floor.sleep(_ON_THEIR_WAY_SECONDS)
                if self._show(seen).gap:
                    await self._mend(seen)
            finally:
                self._mending.discard(seen.broker_order_id)

    async def orders(self, seen: Sequence[OrderSighting]) -> None:
        """Book a list of orders in one commit, then ask for what is missing of any of them. Errors as for `order`."""
        with self._floor.group():
            found = [self._show(sighting) for sighting in seen]
        for sighting, evidence in zip(seen, found, strict=True):
            if evidence.gap or evidence.stranger:
                await self.order(sighting)

    def take(self, seen: OrderSighting) -> None:
        """Book a sighting of the stream. Questions about it run in a task of their own, so that the stream is read on meanwhile."""
        self._soon(lambda: self._take(seen))

    def unknown(self, update: UnknownUpdate) -> None:
        """Journal a message that we cannot interpret."""
        self._soon(lambda: self._floor.book([e.NewsNotUnderstood(ts=update.at, broker_seq=0, what=update.what, payload=update.payload)]))

    async def settle(self) -> None:
        """Wait until everything received is booked, so that a run that ends leaves nothing to the next one."""
        while self._batch is not None:
            await asyncio.wait(self._batch.answers)

    async def refused(self, client_order_id: str, reason: str) -> None:
        """Book a definite no to a request of ours."""
        await self._soon(
            lambda: self._floor.book([e.OrderRejected(ts=self._floor.now(), broker_seq=0, client_order_id=client_order_id, reason=reason)])
        )

    async def activities(self, *, again: bool = False) -> None:
        """Book new lines of the activity list. ``again`` reads the last days again, for lines posted with an earlier id."""
        since = self._floor.known.opened_at
        if again:
            since = max(since, self._floor.now() - _DATED_BACK)
        lines = await self._floor.broker.activities("" if again else self._cursor.after, since=since)
        strangers = {line.symbol for line in lines if line.symbol} - {i.symbol for i in self._floor.state.instruments}
        if strangers:
            await self._instruments.ensure(sorted(strangers))
        fresh = [line for line in lines if not self._floor.known.is_before_opening(line)]
        splits, gaps = dict[tuple[str, str], list[ActivitySighting]](), list[ActivitySighting]()
        with self._floor.group():
            for line in fresh:
                if line.activity_type in SPLITS:
                    splits.setdefault((line.symbol, line.at.date().isoformat()), []).append(line)
                elif self._show(line).gap and line.activity_type == FILL:
                    gaps.append(line)
            for group in splits.values():
                self._show_split(group)
        unclear = [line for line in gaps if not await self._is_told_apart(line)]
        unclear = sorted((*unclear, *(line for line in fresh if self._letters.waits(line))), key=lines.index)
        self._cursor.move(lines[: lines.index(unclear[0])] if unclear else lines)  # unclear lines are read again with the next query

    async def _is_told_apart(self, line: ActivitySighting) -> bool:
        """Find out whose fill a line is, if it may be of an order of ours that was never answered: ours are looked up by their ids.

        False: an order of ours is still being searched for, and the fill may be its own.
        """
        for order in nameless(self._booked(cash=False), line, self._session()):
            found = await self._floor.broker.look_up(order.client_order_id)
            if found is not None:
                await self.order(found)
        if not self._show(line).gap:
            return True
        left = nameless(self._booked(cash=False), line, self._session())
        if any(order.is_working for order in left):
            return False
        if left and self._show(line).gap:
            listed = await self._listed(line, left)
            if listed is not None:
                await self.order(listed)
            elif self._floor.now() - line.at < _LAGS_BEHIND:
                return False
        self._show(line, settle=True)
        return True

    async def _listed(self, line: ActivitySighting, given_up: Sequence[Order]) -> OrderSighting | None:
        """The order of a fill line, sought by its broker id in the list of orders: one that we gave up as absent may be there after all."""
        oldest = min(order.submitted_at for order in given_up)
        seen = await self._floor.broker.orders(since=oldest - CLOCKS_DIFFER)
        return next((sighting for sighting in seen if sighting.broker_order_id == line.broker_order_id), None)

    async def _mend(self, seen: OrderSighting) -> None:
        """Fill a hole: book the listed fills of the order; if that is not enough, book the rest in one piece from the order's value."""
        lines = await self._fills_of(seen.broker_order_id)
        with self._floor.group():
            for line in lines:
                self._show(line)
        if not self._show(seen).gap:
            return
        newest = await self._floor.broker.look_up(seen.client_order_id) if seen.client_order_id else None
        left = self._show(newest if newest is not None else seen, settle=True)
        if left.gap:
            _log.error("fills of an order cannot be told apart", order=seen.client_order_id, broker_order=seen.broker_order_id)

    async def _fills_of(self, broker_order_id: str) -> Sequence[ActivitySighting]:
        lines = await self._floor.broker.activities(self._cursor.after, since=self._floor.known.opened_at)
        ours = [line for line in lines if line.activity_type == FILL and line.broker_order_id == broker_order_id]
        return sorted(ours, key=_total)

    # ---- one commit for all that has arrived -----------------------------------------------------------------------------

    def _soon(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Do ``work`` in the next turn of the event loop, in one commit with all other work of that turn.

        The future is done once that commit is durable, and cancelled if it fails.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def do() -> None:
            result = work()
            self._floor.afterwards(lambda: None if done.done() else done.set_result(result))

        if self._batch is None:
            batch = self._batch = _Batch()
            self._floor.crew.start("books what has come", self._book_batch(batch)).add_done_callback(lambda _task: self._let_go(batch))
        self._batch.works.append(do)
        self._batch.answers.append(done)
        return done

    async def _book_batch(self, batch: _Batch) -> None:
        self._batch = None
        with self._floor.group():
            for do in batch.works:
                do()

    def _let_go(self, batch: _Batch) -> None:
        """Release those who still wait after a batch has ended: its commit failed, and the run ends with that."""
        if self._batch is batch:
            self._batch = None
        for answer in batch.answers:
            answer.cancel()

    def _take(self, seen: OrderSighting) -> None:
        found = self._show(seen)
        if found.gap or found.stranger:
            self._floor.crew.start(f"ask about {seen.client_order_id or seen.broker_order_id}", self.order_if_possible(seen))

    # ---- one sighting ------------------------------------------------------------------------------------------------------

    def _show(self, seen: OrderSighting | ActivitySighting, *, settle: bool = False) -> Evidence:
        self._floor.adopt()
        if self._letters.is_dead(seen):
            return Evidence()
        cash = isinstance(seen, ActivitySighting) and seen.activity_type != FILL
        try:
            return self._book(news_of(self._booked(cash=cash), seen, session=self._session(), settle=settle))
        except POISON as error:
            self._letters.failed(seen, error)
            return Evidence()

    def _show_split(self, lines: Sequence[ActivitySighting]) -> None:
        """Book a split from all its lines: none of them alone tells the ratio."""
        if any(self._letters.is_dead(line) for line in lines):
            return
        try:
            self._book(split_news(self._booked(cash=True), lines, session=self._session()))
        except POISON as error:
            self._letters.failed(lines[0], error)

    def _booked(self, *, cash: bool) -> Booked:
        return self._floor.known.booked(self._floor.state, cash=cash)

    def _book(self, found: Evidence) -> Evidence:
        if found.news:
            filled = any(isinstance(item, e.OrderFilled) for item in found.news)
            if filled:
                crash_here("before_fill")
            self._floor.book(found.news)
            self._floor.afterwards(lambda: _crash_after(found.news, filled=filled))
        return found

    def _session(self) -> str:
        return self._floor.state.session

    async def order_if_possible(self, seen: OrderSighting) -> None:
        """As `order`, but a broker that cannot be reached is no error: the next query finds the hole again."""
        try:
            await self.order(seen)
        except errors.BrokerUnavailable as error:
            _log.warning("a hole is left to the next query", order=seen.client_order_id, error=error.message)


def _crash_after(news: Sequence[News], *, filled: bool) -> None:
    if any(isinstance(item, e.OrderAccepted) for item in news):
        crash_here("after_acknowledgement")
    if filled:
        crash_here("after_fill")


def _total(line: ActivitySighting) -> Decimal:
    return line.cumulative_quantity if line.cumulative_quantity is not None else ZERO
