"""The run of a live account: start, reconcile, trade, stop. Streams, queries, people's requests, targets and clock are asyncio tasks
that share one desk (state and journal).

No entry leaves before the account is reconciled with the broker. A task that ends unexpectedly ends the run, with its reason journaled;
a supervisor then starts the process again, which continues from the journal.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from hedgefund_core import errors
from hedgefund_core.account import State
from hedgefund_core.trading import events as e
from hedgefund_core.trading.observed import ActivitySighting, LinkChanged, LinkState, OrderSighting, UnknownUpdate
from hedgefund_core.trading.order import Leg, OrderStatus, TimeInForce
from hedgefund_core.trading.state import Level
from live_executor.commands import Mailbox
from live_executor.desk import INTERRUPTED, REFUSED, SNAPSHOT_EVERY, Desk, Summary
from live_executor.feeds.recorder import Recorder
from live_executor.live import heartbeat
from live_executor.live.crew import Crew
from live_executor.live.cursor import ActivityCursor
from live_executor.live.floor import Floor
from live_executor.live.gates import STOPPING, Gates
from live_executor.live.instruments import Instruments
from live_executor.live.intake import Intake
from live_executor.live.known import KINDS, Known
from live_executor.live.lag import LoopLag
from live_executor.live.market_view import MarketView
from live_executor.live.model import ModelPlan, ModelTrader
from live_executor.live.opening import Opening, open_account, patiently
from live_executor.live.past_journal import Adoption, Fence, stop_past_journal
from live_executor.live.prices import Prices
from live_executor.live.rebalancer import Rebalancer
from live_executor.live.reconciler import Reconciler
from live_executor.live.recording import Recording
from live_executor.live.requests import Requests
from live_executor.live.searches import Searches
from live_executor.live.sender import HOUSE, Sender
from live_executor.live.sessions import Sessions
from live_executor.live.slices import Slices
from live_executor.live.splits import Splits
from live_executor.live.stopwatch import Stopwatch
from live_executor.live.swaps import Swaps
from live_executor.live.timeline import Timeline
from live_executor.live.volumes import Volumes
from live_executor.logging import logger
from live_executor.ports import Clock, Journal, LiveBroker, LiveFeed, Sleep
from live_executor.recovery import Recovered
from live_executor.settings import LiveSettings
from live_executor.targets import TargetsFile

_log = logger("live")
_TICK_SECONDS = 0.1
_UNKNOWN_EVERY, _UNKNOWNS = timedelta(minutes=1), 1_000
_DECIDING = frozenset({"rebalancing", "model"})
"""Names of the tasks that ask for orders: they end first when the run is stopped."""
_MODEL_KINDS = ("decision_due", "model_loaded")
"""Entries that tell an account of a model what was decided and which models were in use."""


@dataclass(slots=True, kw_only=True)
class LiveParts:
    """The adapters and settings of a live account; a simulation gives virtual ones."""

    journal: Journal
    broker: LiveBroker
    feed: LiveFeed
    mailbox: Mailbox
    clock: Clock
    sleep: Sleep
    rng: random.Random
    settings: LiveSettings
    sign_every: int
    snapshot_every: int = SNAPSHOT_EVERY
    opening: Opening
    model: ModelPlan | None = None
    targets: TargetsFile | None = None
    recorder: Recorder | None = None
    timeline: Timeline | None = None
    """Given where an adapter reads the market's time as well; None = the account makes its own."""
    rebalance_every: float | None = None
    """Seconds; None = once a session."""
    once: bool = False
    max_sessions: int = 0
    folder: Path | None = None
    """The account's folder, for the heartbeat and the reading place of the activity list."""
    on_beat: Callable[[State, heartbeat.Heartbeat], None] = lambda _state, _beat: None


class Live:
    """One account traded on the wall clock."""

    def __init__(self, parts: LiveParts, recovered: Recovered) -> None:
        self._parts = parts
        self._stop, self._ended, self._unconfirmed = asyncio.Event(), "end", False
        self._no_beat, self._unknowns = "", dict[str, datetime]()
        self._left_over = tuple(order.client_order_id for order in recovered.state.working)
        known = Known(past := _remembered(parts))
        desk = Desk(parts.journal, recovered, sign_every=parts.sign_every, now=parts.clock.now, snapshot_every=parts.snapshot_every)
        self._floor = Floor(
            desk=desk,
            broker=parts.broker,
            feed=parts.feed,
            mailbox=parts.mailbox,
            timeline=parts.timeline or Timeline(parts.clock),
            view=MarketView(),
            known=known,
            crew=Crew(),
            settings=parts.settings,
            sleep=parts.sleep,
            rng=parts.rng,
        )
        self._cursor = ActivityCursor(parts.folder, fallback=known.newest_activity)
        self._gates, self._lag = Gates(self._floor), LoopLag(parts.sleep)
        self._instruments = Instruments(self._floor)
        self._intake = Intake(self._floor, self._instruments, self._cursor)
        self._searches = Searches(self._floor, self._intake)
        self._sender = Sender(self._floor, self._gates, self._intake, self._searches)
        self._floor.hands = self._sender
        self._reconciler = Reconciler(self._floor, self._gates, self._intake, self._instruments)
        self._prices = Prices(self._floor, self._gates, self._instruments)
        self._rebalancer = Rebalancer(self._floor, self._gates, self._prices, self._instruments, parts.targets, parts.rebalance_every)
        self._slices, self._splits = Slices(self._floor, self._prices), Splits(self._floor)
        self._volumes = None if parts.model is not None else Volumes(self._floor)
        self._trader, self._swaps = self._of_model(parts.model, past)
        seconds = parts.settings.record_sync_seconds
        self._recording = None if parts.recorder is None else Recording(self._floor, parts.recorder, seconds)
        self._requests = Requests(self._floor, self._prices, self._instruments, self._intake, self._reconciler.ask_now, self._swaps)
        self._sessions = Sessions(self._floor, self._reconciler, self._instruments, lambda _session: self._rebalancer.ask_now())
        self._adoption = Adoption(self._floor, parts.folder)
        self._floor.adopt = self._adoption.sync
        desk.overhear(known.note)
        desk.watch(self._heard)

    def _of_model(self, plan: ModelPlan | None, past: Sequence[e.Frame]) -> tuple[ModelTrader | None, Swaps | None]:
        """The two tasks of a model: its bars and decisions, and following its alias. None of them where targets are traded."""
        if plan is None:
            return None, None
        decisions = [frame for frame in past if isinstance(frame, e.DecisionDue)]
        trader = ModelTrader(self._floor, self._prices, self._instruments, plan, decisions)
        return trader, Swaps(self._floor, trader, plan, [frame for frame in past if isinstance(frame, e.ModelLoaded)])

    @property
    def state(self) -> State:
        """The account as the machine has it."""
        return self._floor.state

    def stop(self, name: str) -> None:
        """Ask the run to end; ``name`` is sigint, sigterm or end."""
        self._ended = name
        self._stop.set()

    def halt(self, level: int, reason: str) -> None:
        """A signal halts."""
        self._requests.halt(level, "signal", reason)

    async def run(self) -> Summary:
        """Trade until somebody stops it, everything asked for is done, or a task fails."""
        ended = ""
        try:
            await self._start()
            await self._until_over()
            await self._leave()
            await self._intake.settle()
            if self._recording is not None:
                self._recording.end()
            ended = self._ended
        except errors.JournalError as error:
            self._floor.desk.failed = True  # a head that cannot be signed fails as a commit does: the heartbeat may not call this an end
            await self._floor.crew.dismiss()
            await stop_past_journal(self._floor, self._parts.folder, error)
            raise
        except errors.HedgefundError as error:
            # A refusal (bad keys, a halted account) is an orderly end; a broken invariant is not.
            ended = "" if isinstance(error, errors.InvariantViolation) else type(error).__name__
            raise
        finally:
            await self._floor.crew.dismiss()
            self._end_run(ended)
            self._floor.desk.sign()
            self._beat(stopped=not self._floor.desk.failed)
        return self._floor.desk.summary(self._ended, self._short)

    @property
    def _short(self) -> str:
        """Who kept the run from what it was to reach: the targets once, and at its end no order of the day left."""
        if self._unconfirmed:
            return REFUSED
        if not self._parts.once:
            return ""
        return self._rebalancer.short if self._ended == "end" else INTERRUPTED

    # ---- start -------------------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        floor = self._floor
        await patiently(floor, self._sessions.read)
        self._adoption.forget_earlier()
        await patiently(floor, lambda: open_account(floor, self._parts.opening, self._cursor))
        self._adoption.sync()
        self._adoption.prepare()
        self._begin_run()
        self._hear_latch()
        if self._recording is not None:
            self._recording.begin()  # before the feed is asked for anything, so that the open segments are surely an earlier process's
        self._fence = Fence(floor, self._gates, self._requests, self._reconciler)
        floor.fence, floor.knows_the_books = self._fence.passed, self._fence.knows_the_books
        self._gates.start(floor.state.gates)
        self._sessions.begin()
        self._clear_up()
        self._fence.begin()
        self._start_all(
            ("sender", self._sender.run()),
            ("sender's clock", self._sender.tick()),
            ("order stream", self._listen()),
            ("data stream", self._prices.listen()),
            ("order query", self._reconciler.watch_orders()),
            ("book query", self._reconciler.watch_books()),
            ("requests", self._requests.run()),
            ("heartbeat", self._beat_for_ever()),
            ("loop's lag", self._lag.run()),
        )
        await self._load()  # while the books are read: nothing is decided before both
        self._slices.resume()
        self._start_all(
            ("sessions", self._sessions.run()),
            ("announced splits", self._splits.run()),
            ("targets file", self._rebalancer.watch_file()),
            ("rebalancing", self._rebalancer.run()),
        )
        self._start_what_is_wanted()

    async def _load(self) -> None:
        """What is decided on: instruments, targets, usual volumes, the model."""
        floor = self._floor
        await patiently(floor, lambda: self._instruments.ensure([instrument.symbol for instrument in floor.state.instruments]))
        await patiently(floor, self._rebalancer.load)
        if self._volumes is not None:
            await self._volumes.load()
        if self._swaps is not None:
            await patiently(floor, self._swaps.open)

    def _start_all(self, *tasks: tuple[str, Coroutine[None, None, None]]) -> None:
        for name, work in tasks:
            self._floor.crew.start(name, work, forever=True)

    def _start_what_is_wanted(self) -> None:
        """Start the tasks that only some accounts have."""
        crew = self._floor.crew
        if self._recording is not None:
            crew.start("recorder", self._recording.run(), forever=True)
        if self._volumes is not None:
            crew.start("volumes", self._volumes.run(), forever=True)
        if self._trader is not None and self._swaps is not None:
            crew.start("model", self._trader.run(), forever=True)
            crew.start("alias", self._swaps.run(), forever=True)

    def _begin_run(self) -> None:
        """Journal the start. The machine counts starts that did not end in order: after too many of them it halts the account."""
        settings = self._parts.settings
        began = e.RunBegan(ts=self._floor.now(), budget=settings.starts_budget, window_seconds=settings.starts_window_seconds)
        self._floor.take([began])

    def _end_run(self, reason: str) -> None:
        """Journal the end of the run, if it ends in order."""
        if reason and not self._floor.desk.failed and self.state.running_since is not None:
            self._gates.set(STOPPING, closed=False)  # every task has ended, so that nothing can leave any more
            self._floor.take([e.RunEnded(ts=self._floor.now(), reason=reason)])

    def _hear_latch(self) -> None:
        """Take halts that were asked for while no executor ran. A halted account does not start."""
        self._requests.read()
        ladder = self._floor.state.ladder
        if ladder.level is Level.HALTED:
            raise errors.Halted(
                f"account {self.state.account} is halted: {ladder.cause}", mend="executor resume --reason …, then run again"
            )
        if ladder.person:
            self._parts.mailbox.mirror(on=ladder.level > Level.ACTIVE)

    def _clear_up(self) -> None:
        """Look up the orders that an earlier process has heard nothing of, and repeat the cancels that it asked for.

        Orders made since this process started are not among them; they wait in the sender.
        """
        floor = self._floor
        for name in self._left_over:
            order = floor.state.known_orders.get(name)
            if order is None:
                continue
            if order.status is OrderStatus.PENDING_NEW:
                reason = "the executor ended before an answer was journaled"
                floor.take([e.OrderOutcomeUnknown(ts=floor.now(), client_order_id=name, reason=reason)])
            elif order.status is OrderStatus.PENDING_CANCEL:
                floor.hands.cancel(name)
            elif order.status is OrderStatus.UNKNOWN:
                floor.hands.look_up(name)

    # ---- while it runs --------------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        async for update in self._parts.broker.updates():
            if isinstance(update, LinkChanged):
                self._reconciler.link_changed(update)
            elif isinstance(update, OrderSighting):
                self._intake.take(update)
            elif isinstance(update, UnknownUpdate):
                self._unknown(update)
            elif isinstance(update, ActivitySighting):
                self._reconciler.ask_now()  # the activity list has the line too, and in order

    def _unknown(self, update: UnknownUpdate) -> None:
        """Journal what we cannot interpret and ask what it was about, of each kind once a minute: some servers send what nobody knows every
        second, and a bad row comes again with the very query that it is a reason for.
        """
        told = self._unknowns.pop(update.what, None)
        self._unknowns[update.what] = update.at if told is None or update.at - told >= _UNKNOWN_EVERY else told
        while len(self._unknowns) > _UNKNOWNS:
            del self._unknowns[next(iter(self._unknowns))]
        if self._unknowns[update.what] is not told:
            self._intake.unknown(update)
            self._reconciler.ask_now()

    def _heard(self, frames: Sequence[e.Event]) -> None:
        """Tell every task of a commit, so that whoever waits for something checks again."""
        self._reconciler.heard(frames)
        self._slices.heard(frames)
        self._splits.heard(frames)
        self._prices.heard(frames)
        if self._volumes is not None:
            self._volumes.heard(frames)
        if self._swaps is not None:
            self._swaps.heard(frames)
        self._rebalancer.heard(frames)
        if any(isinstance(frame, e.InstrumentThawed) for frame in frames):
            self._rebalancer.ask_now()
        self._rebalancer.wake()
        self._sender.wake()

    async def _until_over(self) -> None:
        failing = asyncio.ensure_future(self._floor.crew.failure())
        stopping = asyncio.ensure_future(self._stop.wait())
        watching = asyncio.ensure_future(self._watch_for_the_end())
        try:
            await asyncio.wait({failing, stopping, watching}, return_when=asyncio.FIRST_COMPLETED)
            if failing.done():
                self._fail(*failing.result())
        finally:
            for task in (failing, stopping, watching):
                task.cancel()

    async def _watch_for_the_end(self) -> None:
        """What was asked for is done: the targets once, or so many sessions."""
        if not (self._parts.once or self._parts.max_sessions):
            await asyncio.Event().wait()
        while True:
            await self._floor.sleep(_TICK_SECONDS)
            enough = 0 < self._parts.max_sessions <= self._sessions.ended
            done = self._parts.once and self._rebalancer.at_rest and self._sender.idle and not self._gates.closed
            if enough or done:
                return

    def _fail(self, name: str, error: BaseException) -> None:
        """A task has ended unexpectedly: close entries, alert people, and raise the task's error."""
        what = f"{name} ended: {type(error).__name__}: {error}"
        if not isinstance(error, errors.JournalError):
            self._gates.set(f"task {name} ended", closed=True)
            self._floor.trouble(what, severity="critical")
        if isinstance(error, errors.HedgefundError):
            raise error
        raise errors.InvariantViolation(what, mend="report it with the log; run again: the journal is whole") from error

    async def _leave(self) -> None:
        """At an orderly stop: ask no more for decisions, cancel the day's orders as `on_stop` says, and wait for that to be confirmed."""
        policy, floor = self._parts.settings.on_stop, self._floor
        if policy == "leave" or floor.state.ladder.level is Level.HALTED:
            return
        floor.crew.end(_DECIDING)
        self._gates.set(STOPPING, closed=True)
        names = {
            order.client_order_id
            for order in floor.state.working
            if order.time_in_force is TimeInForce.DAY and (policy == "cancel_all" or order.leg is Leg.OPEN)
        }
        for name in sorted(names):
            reason = f"the executor was stopped ({self._ended})"
            floor.take([e.CancelRequested(ts=floor.now(), request_id="", client_order_id=name, person=HOUSE, reason=reason)])
        watch, patience = Stopwatch(floor.timeline.local_now), self._parts.settings.stop_patience_seconds
        while (left := names & {o.client_order_id for o in floor.state.working}) and watch.seconds < patience:
            await floor.sleep(_TICK_SECONDS)
        if left:
            self._say_unconfirmed(len(left))

    def _say_unconfirmed(self, left: int) -> None:
        self._unconfirmed = True
        words = f"{left} of the day's orders may still work: the broker did not confirm their cancels before the executor stopped"
        self._floor.trouble(f"{words}; start it again, or now: executor halt --level 2 --reason …", severity="critical")

    # ---- the heartbeat -----------------------------------------------------------------------------------------------------------

    async def _beat_for_ever(self) -> None:
        while True:
            self._beat()
            self._floor.desk.tidy()
            await self._floor.sleep(self._parts.settings.heartbeat_every_seconds)

    def _beat(self, *, stopped: bool = False) -> None:
        beat = msgspec.structs.replace(self._heartbeat(), stopped=stopped)
        if self._parts.folder is not None:
            trouble = heartbeat.write(self._parts.folder, beat)
            if trouble and trouble != self._no_beat:
                _log.warning("no heartbeat: `executor status` shows how things stood before", reason=trouble)
            self._no_beat = trouble
        self._parts.on_beat(self.state, beat)

    def _heartbeat(self) -> heartbeat.Heartbeat:
        floor, state = self._floor, self.state
        held = {i.symbol for i in state.instruments if state.ledger.quantity(i.instrument_id)}
        ages = [floor.view.age(symbol, floor.now()) for symbol in held | set(self._rebalancer.targets.symbols)]
        known = [age for age in ages if age is not None]
        return heartbeat.Heartbeat(
            pid=os.getpid(),
            at=floor.now(),
            mode=state.mode,
            broker=self._parts.opening.broker,
            session=state.session,
            market_open=floor.timeline.is_open,
            next_open=floor.timeline.opens_at,
            order_stream=heartbeat.Link(connected=self._reconciler.stream_is_up),
            data_stream=heartbeat.Link(connected=self._prices.link is LinkState.UP, reason=self._prices.link_reason),
            price_age_seconds=max(known) if known else None,
            gates=tuple(sorted(self._gates.closed)),
            searches=self._searches.running,
            clock_offset_seconds=floor.timeline.offset_seconds,
            orders_asked_at=self._reconciler.orders_asked_at,
            open_at_broker=len(self._reconciler.open_at_broker),
            working=len(state.working),
            flat=state.flat_confirmed,
            loop_lag_seconds=self._lag.worst_seconds,
            targets_file="" if self._parts.targets is None else str(self._parts.targets.path),
            targets_trouble=self._rebalancer.trouble,
            targets=len(self._rebalancer.targets.symbols),
        )


def _remembered(parts: LiveParts) -> list[e.Frame]:
    """What a run has to know of its journal beside the state, read in one pass."""
    kinds = KINDS if parts.model is None else (*KINDS, *_MODEL_KINDS)
    return [entry.frame for entry in parts.journal.read() if entry.kind in kinds]
