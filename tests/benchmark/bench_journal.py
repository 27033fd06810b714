"""The journal against bare sqlite3 on the same disk in the same run, what grouping adds to a wait, and a restart at 100,000 entries."""

from __future__ import annotations

import asyncio
import bisect
import itertools
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from hedgefund_core.bundle import Bundle
from hedgefund_core.commands import SubmitOrder
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import Instrument
from hedgefund_core.trading.observed import UnknownUpdate
from hedgefund_core.trading.order import Order
from live_executor.clock import EPOCH
from live_executor.desk import Desk
from live_executor.journals.sqlite import SqliteJournal, open_journal
from live_executor.live.crew import Crew
from live_executor.live.floor import Floor
from live_executor.live.intake import Intake
from live_executor.live.known import Known
from live_executor.ports import Head
from live_executor.recovery import Recovered, recover, restart
from live_executor.settings import read_settings
from live_executor.simulation.world import quiet
from tests.benchmark.row import Row

T0 = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
GROUPS, ROUNDS = (100, 500), 60
ENTRIES = 100_000
ARRIVALS, ARRIVALS_A_SECOND = 3_000, 1_000
TURNS_A_DAY = 300


def measure(folder: Path) -> Iterator[Row]:
    """Single and grouped commits, what waits for them, then a restart."""
    journal = open_journal(folder, folder / "keys", "bench")
    yield from _commits(journal, folder)
    journal.close()
    yield from _waits(folder)
    yield from _restart(folder)


def _commits(journal: SqliteJournal, folder: Path) -> Iterator[Row]:
    frame = e.OrderAccepted(ts=T0, broker_seq=1, client_order_id="a" * 35, broker_order_id="b" * 36)
    content = e.encode(frame) + b" " * 64  # as much as a row of ours with its hash
    for size in (1, *GROUPS):
        goal = "at least 0.9 of bare sqlite3" if size == 1 else "at least 30,000 durable events a second"
        bare, ours, theirs = _bare(folder / f"bare-{size}.sqlite"), list[float](), list[float]()
        for _ in range(ROUNDS):
            ours.append(_timed(lambda: journal.append([frame] * size)))  # noqa: B023 - called at once
            theirs.append(_timed(lambda: _insert(bare, content, size)))  # noqa: B023 - called at once
        bare.close()
        mine, peer = size / statistics.median(ours), size / statistics.median(theirs)
        met = mine / peer >= 0.9 if size == 1 else mine >= 30_000
        name = "durable commits of one" if size == 1 else f"durable events in groups of {size}"
        yield Row(name=name, ours=mine, unit="a second", peer="sqlite3, WAL, FULL", theirs=peer, ratio=mine / peer, goal=goal, met=met)


# ---- what waits for a commit ----------------------------------------------------------------------------------------------------


class _Watched:
    """A journal that notes when its commits began and ended."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal
        self.commits: list[tuple[float, float]] = []

    def append(self, frames: Sequence[e.Event]) -> Head:
        began = time.perf_counter()
        head = self._journal.append(frames)
        self.commits.append((began, time.perf_counter()))
        return head

    def __getattr__(self, name: str) -> object:
        return getattr(self._journal, name)


def _waits(folder: Path) -> Iterator[Row]:
    """Messages arrive one by one, each is booked as the intake of a live account books them: alone, or with what came meanwhile."""
    journal = open_journal(folder, folder / "keys", "waits")
    watched = _Watched(journal)
    with quiet():  # each of them is an alert
        begun = asyncio.run(_booked(watched))
    journal.close()
    starts, commits = [start for start, _ in watched.commits], [end - start for start, end in watched.commits]
    before = [bisect.bisect_left(starts, start) - bisect.bisect_right(starts, arrived) for arrived, start in begun]
    waits, one = ([1000.0 * value for value in values] for values in ((start - arrived for arrived, start in begun), commits))
    most = float(np.percentile(before, 99))
    note = f"wait p50 {statistics.median(waits):.2f}, p99 {np.percentile(waits, 99):.2f} ms; a commit {statistics.median(one):.2f}, "
    note += f"{np.percentile(one, 99):.2f} ms; {len(waits):,} events, {ARRIVALS_A_SECOND:,} a second, in {len(commits):,} commits"
    goal = "at most one: the one under way"
    yield Row(name="commits that an event waits for before its own, p99", ours=most, unit="commits", goal=goal, met=most <= 1.0, note=note)


async def _booked(watched: _Watched) -> list[tuple[float, float]]:
    """Moments of arrival, and when the commit of each began."""
    loop = asyncio.get_running_loop()
    nothing: Any = None
    desk = Desk(
        cast("Any", watched), Recovered(state=recover([], _none).state, place=None, ts=EPOCH, entries=0), sign_every=5000, now=lambda: T0
    )
    floor = Floor(
        desk=desk, crew=Crew(), known=Known(), broker=nothing, feed=nothing, mailbox=nothing, timeline=nothing, view=nothing,
        settings=nothing, sleep=asyncio.sleep, rng=nothing,
    )  # fmt: skip
    intake, arrived, done = Intake(floor, nothing, nothing), list[float](), asyncio.Event()
    booked = 0

    def heard(frames: Sequence[e.Event]) -> None:
        nonlocal booked
        booked += sum(isinstance(frame, e.NewsNotUnderstood) for frame in frames)
        begun.extend(itertools.repeat(watched.commits[-1][0], booked - len(begun)))
        if booked == ARRIVALS:
            done.set()

    def arrive(at: float) -> None:
        arrived.append(at)
        intake.unknown(UnknownUpdate(what="bench", payload="x" * 200, at=T0))

    def tell() -> None:
        began = time.perf_counter()
        for number in range(ARRIVALS):
            time.sleep(max(0.0, began + number / ARRIVALS_A_SECOND - time.perf_counter()))
            loop.call_soon_threadsafe(arrive, time.perf_counter())

    begun: list[float] = []
    desk.watch(heard)
    threading.Thread(target=tell, daemon=True).start()
    await asyncio.wait_for(done.wait(), 120.0)
    return list(zip(arrived, begun, strict=True))


# ---- bare sqlite3 ---------------------------------------------------------------------------------------------------------------


def _bare(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE frames (seq INTEGER PRIMARY KEY, ts INTEGER, kind TEXT, payload BLOB)")
    return database


def _insert(database: sqlite3.Connection, content: bytes, size: int) -> None:
    database.execute("BEGIN IMMEDIATE")
    database.executemany("INSERT INTO frames (ts, kind, payload) VALUES (?, ?, ?)", [(1, "order_accepted", content)] * size)
    database.execute("COMMIT")


def _timed(work: object) -> float:
    started = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - started


def _cpu(work: Callable[[], object]) -> float:
    """Seconds of the processor: a neighbour on the machine slows the clock many times over."""
    started = time.process_time()
    work()
    return time.process_time() - started


def _restart(folder: Path) -> Iterator[Row]:
    journal = open_journal(folder, folder / "keys", "restart")
    desk = Desk(journal, Recovered(state=recover([], _none).state, place=None, ts=EPOCH, entries=0), sign_every=5000, now=lambda: T0)
    _live_through(desk, journal)
    entries = journal.head.seq
    journal.close()

    journal = open_journal(folder, folder / "keys", "restart")
    with_snapshot = _cpu(lambda: restart(journal, _none))
    whole = _cpu(lambda: recover(journal.read(), _none))
    journal.close()
    for name, took, note in (
        ("with a snapshot", with_snapshot, "the snapshot is at most 5,000 entries behind"),
        ("without one", whole, "as after an upgrade: every decision is made again; the first commit keeps a snapshot for the next start"),
    ):
        named = f"restart at {entries:,} entries {name}"
        yield Row(name=named, ours=took, unit="s of one core", goal="at most 10 s", met=took <= 10.0, note=note)


def _none(digest: str) -> Bundle:
    raise LookupError(digest)


def _live_through(desk: Desk, journal: SqliteJournal) -> None:
    """Days of a live account as its journal holds them: prices, decisions, orders, acceptances, fills in parts, books, cash lines."""
    names = tuple(Instrument(instrument_id=f"N{n:02d}", symbol=f"N{n:02d}") for n in range(20))
    opened = e.AccountOpened(
        ts=T0, account="restart", book="b", mode="paper", broker="alpaca", instruments=names, initial_cash=Decimal(1_000_000),
        source="alpaca", price_kind="raw",
    )  # fmt: skip
    mandate = msgspec.Raw(msgspec.json.encode(read_settings().mandates["discretionary"]))
    desk.open([opened, e.ConfigurationLoaded(ts=T0, digest="d", mandate=mandate)])
    day, turn = 0, 0
    while journal.head.seq < ENTRIES:
        if turn % TURNS_A_DAY == 0:
            session = str((T0 + timedelta(days=day)).date())
            desk.fold([e.SessionBegan(ts=T0 + timedelta(days=day), session=session)])
            day += 1
        _turn(desk, T0 + timedelta(days=day - 1, minutes=turn % TURNS_A_DAY), turn)
        turn += 1


def _turn(desk: Desk, ts: datetime, turn: int) -> None:
    """A rebalance of two names and what follows from it, as a minute of an account has it."""
    state, prices = desk.state, tuple(100.0 + n for n in range(20))
    session = state.session
    wanted = {f"N{(turn + n) % 20:02d}": Decimal(10 + turn % 7) for n in range(2)}
    due = e.DecisionDue(
        ts=ts, session=session, for_session=session, time_in_force="day", rebalance=True, target_weights={}, target_quantities=wanted
    )
    seen = [
        e.PricesSeen(ts=ts + timedelta(seconds=n), session=session, price=prices, bid=prices, ask=prices, age_seconds=(1.0,) * 20)
        for n in range(8)
    ]
    commands = desk.fold([*seen, due])
    desk.book([item for command in commands if isinstance(command, SubmitOrder) for item in _lived(command.order, ts, session)])
    held = {key: position.quantity for key, position in desk.state.ledger.positions.items() if position.quantity}
    desk.fold(
        [
            e.BrokerReported(
                ts=ts, session=session, cash=desk.state.ledger.cash, positions=held, open_orders=(), last_broker_seq=desk.state.broker_seq,
                lagging=True,
            )
        ]
    )  # fmt: skip


def _lived(order: Order, ts: datetime, session: str) -> list[e.BrokerNews]:
    """Accepted, and filled in two parts."""
    name = order.client_order_id
    news: list[e.BrokerNews] = [e.OrderAccepted(ts=ts, broker_seq=0, client_order_id=name, broker_order_id=f"b-{name}")]
    first = order.quantity // 2
    for number, quantity in enumerate((first, order.quantity - first)):
        if quantity > 0:
            fill = e.OrderFilled(
                ts=ts, broker_seq=0, client_order_id=name, broker_order_id=f"b-{name}", fill_id=f"b-{name}:{number}", quantity=quantity,
                price=order.reference_price, commission=Decimal(0), session=session,
            )  # fmt: skip
            news.append(fill)
    return news
