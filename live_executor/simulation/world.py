"""One run: a market, an exchange, a disk, people, and the executor's own code among them, killed and started again as the plan says."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import random
import tempfile
from collections.abc import Coroutine, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import structlog

from hedgefund_core import errors
from hedgefund_core.account import State
from hedgefund_core.bundle import Bundle
from hedgefund_core.layout import account_folder, commands_folder
from hedgefund_core.risk.limits import Mandate
from hedgefund_core.trading.events import EmergencyAdopted
from hedgefund_core.trading.observed import OrderSighting
from hedgefund_core.trading.order import Order
from hedgefund_core.trading.state import Level
from live_executor.commands import Adopt, Mailbox, Resume
from live_executor.crash import hook_crashes
from live_executor.journals.chain import verify_chain
from live_executor.journals.emergency import EmergencyLog
from live_executor.live.opening import Opening
from live_executor.live.runtime import Live, LiveParts
from live_executor.ports import Clock, JournalEntry
from live_executor.recovery import Recovered, refold, restart
from live_executor.settings import LiveSettings
from live_executor.simulation.coverage import Coverage
from live_executor.simulation.director import Director
from live_executor.simulation.disk import Disk, SimulatedJournal
from live_executor.simulation.faults import FaultyBroker, Weather, Wire
from live_executor.simulation.holes import Holes
from live_executor.simulation.link import TAKEBACKS, takeback_name
from live_executor.simulation.loop import PROCESS, PowerCut, SeededLoop, run_world
from live_executor.simulation.market import Hours, Market, SimulatedFeed
from live_executor.simulation.oracle import Break, Oracle
from live_executor.simulation.pace import PACE
from live_executor.simulation.plan import SYMBOLS, Kind, Plan
from live_executor.simulation.research import Research
from live_executor.simulation.venue import Venue
from live_executor.targets import Targets, TargetsFile

ACCOUNT = "simulated"
_BREATH = 0.4
_SNAPSHOT_EVERY = 40
_SHORTEST_SLEEP = 0.3


class House(msgspec.Struct, frozen=True, kw_only=True):
    """Whose executor it is: its limits and its pace."""

    mandate: Mandate
    model: Mandate
    """Of an account that trades a promoted model."""
    live: LiveSettings


def house_of(mandate: Mandate, model: Mandate, live: LiveSettings) -> House:
    """A house with the pace of a simulation."""
    return House(mandate=mandate, model=model, live=msgspec.structs.replace(live, **PACE))


class Run(msgspec.Struct, kw_only=True):
    """What came of a plan."""

    plan: Plan
    breaks: tuple[Break, ...]
    entries: tuple[JournalEntry, ...]
    coverage: Coverage
    starts: int
    orders: int
    fills: int

    @property
    def head(self) -> str:
        """Hash of the whole journal."""
        return self.entries[-1].hash.hex() if self.entries else ""


class World:
    """Everything of one run."""

    def __init__(self, plan: Plan, house: House, folder: Path) -> None:
        self.plan, self._house, self.folder, self.account = plan, house, folder, ACCOUNT
        self.loop = SeededLoop(_rng(plan, "schedule"))
        half_days = {int(fault.number) for fault in plan.faults if fault.kind is Kind.HALF_DAY}
        self.hours = Hours(self.loop.time, plan.session_seconds, half_days, plan.weeks)
        self.market = Market(SYMBOLS, _rng(plan, "prices"), self.hours)
        self.venue = Venue(self.market, _rng(plan, "venue"))
        self.weather = Weather(plan.faults, self.loop.time)
        self._own: set[asyncio.Task[None]] = set()
        self.wire = Wire(self.venue, self.weather, _rng(plan, "wire"), self.spawn)
        self.disk = Disk()
        self.oracle = Oracle(self.loop.time, lambda: self.state)
        self.oracle.shown, self.oracle.stream_down_for = self._shown, self._stream_down_for
        self.oracle.written_past_the_journal = self._is_in_the_log
        self.oracle.proved_absent = self._proved_absent
        self.disk.on_durable = self._durable
        self.coverage = Coverage()
        self.commands, self.targets = folder / commands_folder(ACCOUNT), folder / "targets.json"
        (folder / account_folder(ACCOUNT)).mkdir(parents=True)
        self.targets.write_bytes(b"{}")
        self.loop.set_exception_handler(lambda _loop, _context: None)  # tasks of a dead process end with its power cut
        self.live: Live | None = None
        self.feed: SimulatedFeed | None = None
        self.taken_back = dict[str, bool]()
        """Fills that were taken back or changed, and whether a living process was told so."""
        self.venue.on_wrong_company = lambda name: self.oracle.broken("a name that is another's now is not traded", name)
        self.wire.happened = lambda what: self.coverage.happened.update((what,))
        self._holes = Holes(self.loop.time, self._booked)
        self.wire.on_ask = self._holes.asked
        self.wire.on_takeback = lambda name: self.taken_back.update({name: False})
        self.disk_failed = False
        self.clock_off = timedelta(0)
        """What the computer's clock is off: a process that starts takes it as it is."""
        self.emergency_log = EmergencyLog(folder / account_folder(ACCOUNT))
        self.starts = 0
        self._process: asyncio.Task[None] | None = None
        self._dead: list[bool] = [True]
        policies = [fault.text for fault in plan.faults if fault.kind in {Kind.FSYNC, Kind.DISK_FULL} and fault.text]
        self._settings = msgspec.structs.replace(house.live, **({"on_journal_failure": policies[0]} if policies else {}))
        self.research = Research(self, house.model, _rng(plan, "research")) if plan.scenario == "model" else None
        self.director = Director(self, _rng(plan, "director"))

    @property
    def state(self) -> State | None:
        """The account as the running process has it."""
        return None if self.live is None else self.live.state

    @property
    def process_token(self) -> object:
        """What names the running process; None where none runs."""
        return None if self._dead[0] or self._is_gone() else self._dead

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Work that belongs to the world and outlives any process."""
        task = self.loop.create_task(work, context=contextvars.Context())  # of no process, whoever asks for it
        self._own.add(task)
        task.add_done_callback(self._went)

    def _went(self, task: asyncio.Task[None]) -> None:
        """The world's own work may not end in an error: a market that stands still would look like an executor that does nothing."""
        self._own.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.oracle.broken("the world goes on", f"{type(error).__name__}: {error}")

    # ---- the run -----------------------------------------------------------------------------------------------------

    def run(self) -> Run:
        """From the first open to the last close, then both books are compared."""
        asyncio.set_event_loop(self.loop)
        hook_crashes(self._at_crash_point)
        try:
            main = self.loop.create_task(self._main())
            self._own.add(main)
            run_world(self.loop, main, self._on_cut)
            self._judge()
        finally:
            hook_crashes(None)
            self._own.clear()
            self._end_tasks()
            asyncio.set_event_loop(None)
            self.loop.close()
        self.coverage.awaits.update(self.loop.cut_in)
        self.coverage.happened.update({kind.value: times for kind, times in self.weather.struck.items()})
        frames = [entry.kind for entry in self.disk.entries]
        self.coverage.happened["past the journal, adopted"] += frames.count("emergency_adopted")
        return Run(
            plan=self.plan, breaks=tuple(self.oracle.breaks), entries=tuple(self.disk.entries), coverage=self.coverage, starts=self.starts,
            orders=len(self.oracle.intended), fills=frames.count("order_filled"),
        )  # fmt: skip

    async def _main(self) -> None:
        self.spawn(self.director.run())
        self.spawn(self._healing())
        await asyncio.sleep(_BREATH)
        while self.loop.time() < self.plan.ends_at and not self.oracle.breaks:
            self._start()
            while not self._is_gone() and self.loop.time() < self.plan.ends_at and not self.oracle.breaks:  # noqa: ASYNC110
                await asyncio.sleep(min(_BREATH, max(0.01, self.plan.ends_at - self.loop.time())))
            if self._is_gone():
                await asyncio.sleep(_BREATH)

    async def _healing(self) -> None:
        await asyncio.sleep(self.plan.heals_at)
        self.director.heal()
        await asyncio.sleep(0.5)
        state = self.state
        flattening = state is not None and state.ladder.level is Level.FLATTENING
        if not (flattening and self.plan.seed % 2):
            self.director.tell(Resume(reason="the storm is over", person="ann"))
        await asyncio.sleep(3.0)
        self._count_takebacks()
        if not all(self.taken_back.values()):  # nobody heard of it: what is left is a difference that a person has to explain
            self.director.tell(Adopt(request_id="after-the-storm", reason="taken back by the exchange", person="ann"))

    def _count_takebacks(self) -> None:
        """What was told but could not be understood (a correction of one fill among others) is left to a person, as if it were unheard."""
        for entry in self.disk.entries:
            if entry.kind == "news_not_understood" and b'"what":"trade_' in entry.payload:
                self.taken_back.update({name: False for name in self.taken_back if name.partition("@")[0].encode() in entry.payload})

    # ---- the process -------------------------------------------------------------------------------------------------

    def _is_gone(self) -> bool:
        return self._process is None or self._process.done()

    def _start(self) -> None:
        dead = [False]

        def alive() -> None:
            if dead[0]:
                raise asyncio.CancelledError

        self._dead = dead
        journal = SimulatedJournal(self.disk, alive)
        try:
            recovered = restart(journal, self._bundle_of)
        except errors.ModelUnavailable as error:
            if self.research is None or not self.research.registry.lost:
                self.oracle.broken("I8 replay(journal) = state", error.message)
            return  # whoever supervises starts it again, until its bundles can be read
        except errors.HedgefundError as error:
            self.oracle.broken("I8 replay(journal) = state", error.message)
            return
        self.starts += 1
        self._holes.wait()
        clock = _OffClock(self.hours, self.clock_off)
        broker = FaultyBroker(
            self.wire, alive=alive, clock=clock, on_submit=self.oracle.leaves, on_done=self._answered,
            on_heard=lambda seen: self._heard(seen, dead),
        )  # fmt: skip
        self.feed = SimulatedFeed(self.market)
        self.live = None
        context = contextvars.Context()
        context.run(PROCESS.set, dead)
        self._process = self.loop.create_task(self._live(journal, broker, self.feed, recovered, clock), context=context)
        self._process.add_done_callback(lambda task: self._ended(task, dead))

    async def _live(self, journal: SimulatedJournal, broker: FaultyBroker, feed: SimulatedFeed, recovered: Recovered, clock: Clock) -> None:
        parts = self._parts(journal, broker, feed, clock)
        self.live = Live(parts if self.research is None else self.research.plug(parts, recovered.state), recovered)
        try:
            await self.live.run()
        finally:
            await broker.close()
            await feed.close()

    def _parts(self, journal: SimulatedJournal, broker: FaultyBroker, feed: SimulatedFeed, clock: Clock) -> LiveParts:
        return LiveParts(
            journal=journal,
            broker=broker,
            feed=feed,
            mailbox=Mailbox(self.folder, ACCOUNT),
            clock=clock,
            sleep=_sleep,
            rng=_rng(self.plan, f"process {self.starts}"),
            settings=self._settings,
            sign_every=50,
            snapshot_every=_SNAPSHOT_EVERY,
            opening=Opening(
                account=ACCOUNT, book="simulated", mode="paper", broker="simulated", source="simulated", mandate=self._house.mandate
            ),
            targets=_Wanted(self.targets),
            rebalance_every=2.0,
            folder=self.folder / account_folder(ACCOUNT),
        )

    def _bundle_of(self, digest: str) -> Bundle:
        if self.research is None:
            raise errors.ModelUnavailable(f"no model {digest} in a simulation", mend="targets come from a file there")
        return self.research.registry.bundle_of(digest)

    def _answered(self, order: Order, taken: bool) -> None:  # noqa: FBT001 - a callback
        if not taken:
            self.oracle.surely_not_there(order)

    def _heard(self, seen: OrderSighting, dead: list[bool]) -> None:
        """A process reads an update of the stream."""
        if seen.event in TAKEBACKS:
            self.loop.call_later(1.0, self._knows, takeback_name(seen), dead)
        else:
            self._holes.told(seen)

    def _knows(self, name: str, dead: list[bool]) -> None:
        """A taken back fill was told to a process that lives on."""
        if name in self.taken_back and not dead[0]:
            self.taken_back[name] = True

    def _booked(self, name: str) -> Decimal | None:
        """What the running process has booked of an order of ours; none where a fill of it was taken back."""
        order = None if self.state is None else self.state.known_orders.get(name)
        return None if order is None or any(key.partition("@")[0] == name for key in self.taken_back) else order.filled_quantity

    def look_for_holes(self) -> None:
        """Fills that are missing between others are asked for at once."""
        if self.process_token is None or self.loop.frozen is not None or self.disk_failed:
            self._holes.wait()
        for name in self._holes.overdue():
            self.oracle.broken("missing fills are asked for at once", name)

    def _ended(self, task: asyncio.Task[None], dead: list[bool]) -> None:
        if dead[0] or task.cancelled():
            return
        dead[0] = True
        error = task.exception()
        expected = (errors.BrokerUnavailable, errors.DataUnavailable, errors.OrderOutcomeUnknown, errors.Halted)
        if error is None or isinstance(error, expected) or (isinstance(error, errors.JournalError) and self.disk_failed):
            return
        if isinstance(error, errors.ModelMismatch | errors.ModelUnavailable) and self.research is not None and self.research.has_no_model:
            return
        if isinstance(error, errors.DataInvalid) and self.market.renamed:
            self.targets.write_bytes(b"{}")  # a start with a name that is gone is refused: a person takes it out
            return
        self.oracle.broken("the executor does not fail", f"{type(error).__name__}: {error}")

    # ---- power -------------------------------------------------------------------------------------------------------

    def _at_crash_point(self, name: str) -> None:
        if self._dead[0]:
            return
        outcome = self._outcome()
        if self.director.scenes.wants_cut(name, outcome):
            self.coverage.crashes[name, outcome] += 1
            raise PowerCut

    def _outcome(self) -> str:
        """What the broker has of our newest order."""
        newest = next(reversed(self.oracle.intended), "")
        if not newest:
            return "none"
        order = self.venue.orders.get(newest)
        if order is None:
            return "absent"
        if order.is_open:
            return "partly" if order.filled else "working"
        return "filled" if order.status == "filled" else "ended"

    def _on_cut(self) -> None:
        """The process is dead: nothing of it acts any more, what it had sent goes on."""
        self._dead[0] = True
        self.loop.thaw()
        self._end_tasks()
        self.live = None

    def _end_tasks(self) -> None:
        doomed = sorted((task for task in asyncio.all_tasks(self.loop) if task not in self._own), key=self.loop.age)
        self._dead[0] = True
        self.loop.immune = True
        while doomed := [task for task in doomed if not task.done()]:  # a cancel may be lost where a wait ends at the same moment
            for task in doomed:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(doomed, timeout=0.001))
        self.loop.immune = False

    def _shown(self, name: str) -> bool:
        """An order that was neither taken late nor hidden from a look-up once."""
        return name in self.venue.orders and name not in self.wire.late | self.wire.blinded

    def _is_in_the_log(self, name: str) -> bool:
        """Whether an order was written to the emergency log before it left."""
        return any(act.order is not None and act.order.client_order_id == name for act in self.emergency_log.read())

    def _proved_absent(self, name: str) -> bool:
        """An order may be taken late: it is not there when that was said twice, with time between."""
        said = self.wire.absences.get(name, ())
        return len(said) > 1 and said[-1] - said[0] >= self._house.live.absence_seconds

    def _stream_down_for(self) -> float:
        since = self.wire.door.down_since
        return 0.0 if since is None else self.loop.time() - since

    # ---- what is watched ---------------------------------------------------------------------------------------------

    def _durable(self, frames: object) -> None:
        self.oracle.committed(frames)  # type: ignore[arg-type] # the disk gives frames
        if self.research is not None:
            self.research.witness.committed(frames)  # type: ignore[arg-type]
        if not self._dead[0]:
            self.loop.call_soon(self.director.accidents.look)
            self.loop.call_soon(self.director.scenes.advance)

    def _judge(self) -> None:
        """The end: the journal folded again is the state, its chain holds, and both books agree."""
        live_state = self.state
        state = self._replayed()
        if self.oracle.breaks or state is None:
            return
        if live_state is not None and not self._is_gone() and _bytes(live_state) != _bytes(state):
            self.oracle.broken("I8 replay(journal) = state", _difference(live_state, state))
        if live_state is None or self._is_gone():
            self.oracle.broken("the executor runs once the world has healed", "it does not")
        told = (entry.frame for entry in self.disk.entries if entry.kind == "emergency_adopted")
        adopted = {frame.number for frame in told if isinstance(frame, EmergencyAdopted)}
        left = [act.act.value for act in self.emergency_log.read() if act.number not in adopted]
        if left:
            self.oracle.broken("what was done past the journal is in it", f"not adopted: {', '.join(left)}")
        self._count_takebacks()
        self.oracle.compare(state, self.venue, self.taken_back)
        if self.research is not None:
            self.research.witness.finished(state)

    def _replayed(self) -> State | None:
        state = State()
        found = verify_chain(self.disk.entries, (), lambda _head: True)
        hashes = {entry.seq: entry.hash for entry in self.disk.entries}
        if not found.ok or any(hashes.get(head.seq) != head.hash for head in self.disk.heads if head.seq):
            self.oracle.broken("I7 the chain holds", found.reason or "a signed head is not in the chain")
        for turn in refold(self.disk.entries, self._bundle_of):
            self.coverage.step(state, turn.event, turn.state)
            if turn.difference and not self.oracle.breaks:
                self.oracle.broken("I8 replay(journal) = state", turn.difference)
                return None
            state = turn.state
        return state


class _OffClock:
    """A process's own clock: what the computer's showed when it began, and seconds since."""

    def __init__(self, hours: Hours, off: timedelta) -> None:
        self._hours, self._off = hours, off

    def now(self) -> datetime:
        """The computer's idea of now."""
        return self._hours.now() + self._off


class _Wanted(TargetsFile):
    """The file of targets under a name that is the same in every run: the journal says where targets came from."""

    def changed(self, *, patient: bool = False) -> Targets | None:
        """Its targets, where it changed."""
        found = super().changed(patient=patient)
        return None if found is None else msgspec.structs.replace(found, origin=f"{found.origin.partition(' ')[0]} targets.json")


async def _sleep(seconds: float) -> None:
    """Short looks again and again cost real time and find nothing new in virtual time."""
    await asyncio.sleep(max(seconds, _SHORTEST_SLEEP))


def _rng(plan: Plan, name: str) -> random.Random:
    return random.Random(f"{plan.seed} {name}")  # noqa: S311 - a simulation's chance, no secret


def _bytes(state: State) -> bytes:
    return msgspec.msgpack.encode({name: getattr(state, name) for name in State.__struct_fields__ if name not in {"window", "bundles"}})


def _difference(one: State, other: State) -> str:
    names = [name for name in State.__struct_fields__ if name not in {"window", "bundles"}]
    return ", ".join(name for name in names if msgspec.msgpack.encode(getattr(one, name)) != msgspec.msgpack.encode(getattr(other, name)))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing is logged: what fails in a simulation is meant to."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)


def simulate(plan: Plan, house: House) -> Run:
    """One run of a plan."""
    with quiet(), tempfile.TemporaryDirectory(prefix="executor-simulate-") as folder:
        return World(plan, house, Path(folder)).run()
