"""The executor: a frame of bars to journalled orders, orders a second, the broker's rate limit, a restart, a halt."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from hedgefund_core.account import State
from hedgefund_core.errors import JournalError
from hedgefund_core.layout import journal_file
from hedgefund_core.machine import Record, SubmitOrder, step
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Order
from live_executor.brokers.alpaca.broker import order_body
from live_executor.brokers.alpaca.budget import RESERVE
from live_executor.commands import Halt, Resume, send
from live_executor.journals.sqlite import JournalReader, open_journal
from live_executor.ports import JournalEntry
from live_executor.settings import read_settings
from tests.benchmark.names import NAMES, ROUNDS, filled, frame_of, panel_of_names, ready_account
from tests.benchmark.row import Row

FRAME_GOAL_MS = 10.0
LIMIT = 200
"""Requests a minute that Alpaca allows. Source: Alpaca's trading API documentation."""
HALTS = 20
QUIET_SECONDS = 90.0
ACCOUNT = "bench"
ROOT = Path(__file__).resolve().parents[2]


def measure(folder: Path) -> Iterator[Row]:
    """All rows of the area."""
    yield from _frame(folder / "flat", holding=False)
    yield from _frame(folder / "holding", holding=True)
    yield from _sustained(folder / "sustained")
    yield from _limited(folder / "twenty", names=20, goal_seconds=30.0)
    yield from _limited(folder / "all", names=NAMES, goal_seconds=300.0)
    yield from _halted(folder / "halted")
    yield from _quiet(folder / "quiet")


# ---- a whole executor against a broker in a process of its own ------------------------------------------------------------------------


def _sustained(folder: Path) -> Iterator[Row]:
    with _trading(folder, names=NAMES) as run:
        seconds, orders = run.accepted()
    rate = orders / seconds
    yield Row(
        name=f"{orders} orders from decision to acceptance",
        ours=rate,
        unit="orders a second",
        goal="at least 100 a second",
        met=rate >= 100.0,
        note="one decision, every intent durable before its request, every acceptance durable too; broker on loopback",
    )


def _limited(folder: Path, *, names: int, goal_seconds: float) -> Iterator[Row]:
    """In real time: what the names are is asked for before the decision and takes from the same minutes."""
    with _trading(folder, names=names, limit=LIMIT) as run:
        seconds, orders = run.accepted()
    yield Row(
        name=f"{orders}-name rebalance under {LIMIT} requests a minute",
        ours=seconds,
        unit="s",
        goal=f"at most {goal_seconds:g} s",
        met=orders >= names and seconds <= goal_seconds,
        note=f"in real time, from the decision to the last acceptance; entries leave {RESERVE:.0%} of the server's window unused",
    )


def _halted(folder: Path) -> Iterator[Row]:
    taken = []
    with _trading(folder, names=3) as run:
        run.accepted()
        for number in range(HALTS):
            taken.append(run.until_ladder(Halt(level=1, reason=f"bench {number}", person="bench"), "reducing"))
            run.until_ladder(Resume(reason="bench", person="bench"), "active")
    worst = max(taken) * 1000
    note = f"median {statistics.median(taken) * 1000:.0f} ms of {HALTS}; from the command left to the latch durable, while it trades"
    yield Row(name="level 1 halt, slowest", ours=worst, unit="ms", goal="at most 100 ms", met=worst <= 100.0, note=note)


def _quiet(folder: Path) -> Iterator[Row]:
    """What is wanted is held and prices stand still, while drift is looked at every second."""
    with _trading(folder, names=20, every="1s") as run:
        run.accepted()
        time.sleep(QUIET_SECONDS / 3)  # the fills, and the first report after them
        before = run.bytes_written()
        time.sleep(QUIET_SECONDS)
        taken = (run.bytes_written() - before) * 3600.0 / QUIET_SECONDS / 1e6
    note = "20 names, drift looked at every second, the broker's books every minute; prices do not move"
    yield Row(name="journal of a quiet hour", ours=taken, unit="MB", goal="at most 1 MB", met=taken <= 1.0, note=note)


class _Run:
    """An executor that trades targets, looked at through its journal."""

    def __init__(self, folder: Path, names: int) -> None:
        self._data, self._names = folder / "data", names

    def accepted(self) -> tuple[float, int]:
        """Seconds from the first decision to the last acceptance, and how many orders."""
        deadline = time.monotonic() + 600.0
        while time.monotonic() < deadline:
            frames = [entry.frame for entry in self._read("decision_due", "order_accepted")]
            done = [frame for frame in frames if isinstance(frame, e.OrderAccepted)]
            if len(done) >= self._names:
                return (done[-1].ts - frames[0].ts).total_seconds(), len(done)
            time.sleep(0.2)
        raise RuntimeError(f"{len(self._read('order_accepted'))} of {self._names} orders were accepted in time")

    def until_ladder(self, command: Halt | Resume, level: str) -> float:
        """Seconds until the journal has the ladder there."""
        before = len(self._read("ladder_moved"))
        started = time.perf_counter()
        send(self._data, ACCOUNT, command)
        while len(moves := self._read("ladder_moved")) == before or getattr(moves[-1].frame, "after", "") != level:
            if time.perf_counter() - started > 10.0:
                raise RuntimeError(f"the ladder did not reach {level}")
            time.sleep(0.001)
        return time.perf_counter() - started

    def bytes_written(self) -> int:
        """Bytes of all entries so far."""
        return sum(len(entry.payload) for entry in self._read())

    def _read(self, *kinds: str) -> list[JournalEntry]:
        path = self._data / journal_file(ACCOUNT)
        if not path.exists():
            return []
        try:
            reader = JournalReader(path)
        except JournalError:
            return []  # it is just being made
        try:
            return list(reader.read(kinds=kinds))
        except JournalError:
            return []
        finally:
            reader.close()


@contextlib.contextmanager
def _trading(folder: Path, *, names: int, limit: int = 0, every: str = "1h") -> Iterator[_Run]:
    """A server, an executor, and a file of targets of so many names."""
    folder.mkdir(parents=True)
    symbols = [f"N{chr(65 + n // 26)}{chr(65 + n % 26)}" for n in range(names)]
    scenario = {"cash": "100000000", "rate_limit": limit, "quotes": {symbol: ["99.99", "100.01"] for symbol in symbols}, "quote_every": 5.0}
    targets = folder / "targets.json"
    targets.write_text(json.dumps({"quantities": dict.fromkeys(symbols, "10")}))
    shutil.copytree(read_settings().config, folder / "config", ignore=shutil.ignore_patterns("keys"))
    env = {"HEDGEFUND_DATA_DIR": str(folder / "data"), "HEDGEFUND_CONFIG_DIR": str(folder / "config")}
    env |= {"HEDGEFUND_TRADING__LIVE__ENTRIES_WAIT_SECONDS": "600", "HEDGEFUND_TRADING__LIVE__REPRICE_SECONDS": "600"}
    with _process("-m", "tests.alpaca_server", "--scenario", json.dumps(scenario), env={}) as server:
        assert server.stdout is not None
        broker = json.loads(server.stdout.readline())["env"]
        command = ["-m", "live_executor", "run", "--targets", str(targets), "--account", ACCOUNT, "--rebalance-every", every]
        with _process(*command, env={**env, **broker}):
            yield _Run(folder, names)


@contextlib.contextmanager
def _process(*arguments: str, env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env={**os.environ, **env}, **pipes)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


# ---- bars to orders ------------------------------------------------------------------------------------------------------------


def _frame(folder: Path, *, holding: bool) -> Iterator[Row]:
    """From a flat account, and from one that holds what it ordered the session before: closings and flips are in its way too."""
    panel = panel_of_names()
    state = ready_account(panel, panel.shape[0] - ROUNDS)
    journal = open_journal(folder, folder / "keys", "frame")
    taken, box, counts = list[float](), list[float](), list[int]()
    for row in range(panel.shape[0] - ROUNDS, panel.shape[0]):
        bars, due = frame_of(panel, row)
        state, _ = step(state, e.SessionBegan(ts=bars.ts, session=bars.session))
        started = time.perf_counter()
        state, orders = _one(state, bars, due, journal.append)
        taken.append((time.perf_counter() - started) * 1000)
        counts.append(len(orders))
        journal.tidy()  # as the executor does between two beats of its heart
        box.append(_counted())
        if holding:
            state = filled(state, orders)
    journal.close()
    p50, p99 = np.percentile(taken, (50, 99))
    least, jitter = min(taken), np.percentile(box, (50, 99)) / min(box)
    held = f" of an account that holds {len(state.ledger.positions)} positions" if holding else ""
    yield Row(
        name=f"{NAMES}-bar frame to {statistics.median_low(counts)} journalled order bodies{held}, p99",
        ours=float(p99),
        unit="ms",
        goal=f"at most {FRAME_GOAL_MS:g} ms",
        met=bool(p99 <= FRAME_GOAL_MS),
        note=f"least {least:.1f}, p50 {p50:.1f} ms: {p50 / least:.1f} and {p99 / least:.1f} times the least; the box itself, counting to a "
        f"fixed number between the frames: {jitter[0]:.1f} and {jitter[1]:.1f} times; bars, features, model, every rule on every order, "
        "one durable commit, the broker's request bodies",
    )


def _one(state: State, bars: e.BarsClosed, due: e.DecisionDue, append: Callable[[list[e.Event]], object]) -> tuple[State, list[Order]]:
    """Bars in, durable intents and request bodies out. The state is the one of before the orders: each frame orders every name anew."""
    frames, orders = list[e.Event](), list[Order]()
    for event in (bars, due):
        after, commands = step(state, event)
        state = after if event is bars else state
        frames.append(event)
        for command in commands:
            if isinstance(command, Record):
                frames.append(command.frame)
            elif isinstance(command, SubmitOrder):
                orders.append(command.order)
    append(frames)
    for order in orders:
        order_body(order)
    return state, orders


def _counted() -> float:
    """Milliseconds for the same whole numbers each time: what they differ by is none of ours."""
    started = time.perf_counter()
    total = 0
    for number in range(50_000):
        total += number
    return (time.perf_counter() - started) * 1000
