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
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
from msgspec.structs import replace

from hedgefund_core import bundle as b
from hedgefund_core.account import State, rows_kept
from hedgefund_core.backtest.event_driven import bars_closed, history_loaded
from hedgefund_core.errors import JournalError
from hedgefund_core.layout import journal_file
from hedgefund_core.machine import Record, SubmitOrder, attach_bundle, fold, step
from hedgefund_core.quant.bars import Panel, PriceKind
from hedgefund_core.quant.features import code_digest, compute_features, resolve
from hedgefund_core.quant.models import single_feature_rule
from hedgefund_core.risk.limits import Mandate, digest_payload
from hedgefund_core.trading import events as e
from hedgefund_core.trading.instrument import Instrument
from live_executor.brokers.alpaca.broker import order_body
from live_executor.brokers.alpaca.budget import RESERVE
from live_executor.commands import Halt, Resume, send
from live_executor.journals.sqlite import JournalReader, open_journal
from live_executor.ports import JournalEntry
from live_executor.settings import read_settings
from tests.benchmark.row import Row

NAMES, ROUNDS = 500, 200
FRAME_GOAL_MS = 10.0
LIMIT = 200
"""Requests a minute that Alpaca allows. Source: Alpaca's trading API documentation."""
HALTS = 20
QUIET_SECONDS = 90.0
ACCOUNT = "bench"
ROOT = Path(__file__).resolve().parents[2]
_FEATURE = "momentum_12_1"


def measure(folder: Path) -> Iterator[Row]:
    """All rows of the area."""
    yield from _frame(folder)
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


def _frame(folder: Path) -> Iterator[Row]:
    panel = panel_of_names()
    state = ready_account(panel, panel.shape[0] - ROUNDS)
    journal = open_journal(folder, folder / "keys", "frame")
    taken: list[float] = []
    orders = 0
    for row in range(panel.shape[0] - ROUNDS, panel.shape[0]):
        bars, due = frame_of(panel, row)
        state, _ = step(state, e.SessionBegan(ts=bars.ts, session=bars.session))
        started = time.perf_counter()
        state, orders = _one(state, bars, due, journal.append)
        taken.append((time.perf_counter() - started) * 1000)
        journal.tidy()  # as the executor does between two beats of its heart
    journal.close()
    p99, p50 = float(np.percentile(taken, 99)), statistics.median(taken)
    yield Row(
        name=f"{NAMES}-bar frame to {orders} journalled order bodies, p99",
        ours=p99,
        unit="ms",
        goal=f"at most {FRAME_GOAL_MS:g} ms",
        met=p99 <= FRAME_GOAL_MS,
        note=f"p50 {p50:.1f} ms; bars, features, model, every rule on every order, one durable commit, the broker's request bodies",
    )


def frame_of(panel: Panel, row: int) -> tuple[e.BarsClosed, e.DecisionDue]:
    """The bars of a session and the decision on them."""
    bars, after = bars_closed(panel, row), str(panel.sessions[row] + np.timedelta64(1, "D"))
    at = bars.ts + timedelta(minutes=15)
    return bars, e.DecisionDue(ts=at, session=bars.session, for_session=after, time_in_force="opg", rebalance=True)


def _one(state: State, bars: e.BarsClosed, due: e.DecisionDue, append: object) -> tuple[State, int]:
    """Bars in, durable intents and request bodies out. The state is the one of before the orders: each frame orders every name anew."""
    frames: list[e.Event] = []
    bodies = 0
    state, commands = step(state, bars)
    for event, made in ((bars, commands), (due, commands := step(state, due)[1])):
        frames.append(event)
        frames += [command.frame for command in made if isinstance(command, Record)]
    append(frames)  # type: ignore[operator]
    for command in commands:
        if isinstance(command, SubmitOrder):
            msgspec.json.encode(order_body(command.order))
            bodies += 1
    return state, bodies


def panel_of_names() -> Panel:
    """500 names: what a model needs of the past, and a session for each round."""
    rng = np.random.default_rng(11)
    shape = (300 + ROUNDS, NAMES)
    close = np.round(60.0 * np.cumprod(1.0 + 0.012 * rng.standard_normal(shape), axis=0), 2)
    sessions = np.arange(np.datetime64("2026-12-30", "D") - shape[0] + 1, np.datetime64("2026-12-31", "D"))
    volume = np.round(5e6 * (0.5 + rng.random(shape)))
    return Panel(
        sessions=sessions, symbols=tuple(f"N{n:03d}" for n in range(NAMES)), price_kind=PriceKind.RAW, close=close, open=close,
        high=close * 1.01, low=close * 0.99, volume=volume, split_ratios=np.ones(shape), source="bench",
    )  # fmt: skip


def ready_account(panel: Panel, stop: int) -> State:
    """An account of 500 names with a model, that knows the bars before row ``stop``."""
    mandate, bundle = _mandate(), _bundle(panel)
    names = tuple(Instrument(instrument_id=symbol, symbol=symbol) for symbol in panel.symbols)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    state = fold(
        State(),
        [
            e.AccountOpened(
                ts=at, account="frame", book="b", mode="replay", broker="simulated", instruments=names, initial_cash=Decimal(20_000_000),
                source=panel.source, price_kind=panel.price_kind.value,
            ),
            e.ConfigurationLoaded(ts=at, digest="d", mandate=msgspec.Raw(digest_payload(mandate))),
        ],
    )  # fmt: skip
    loaded = e.ModelLoaded(
        ts=at, name="rule", version="1", digest=bundle.digest, alias="champion", model_kind="rule",
        trained_through=bundle.manifest.trained_through, expires_after_days=4000,
    )  # fmt: skip
    state = fold(attach_bundle(state, bundle), [loaded])
    return fold(state, [history_loaded(panel.rows(max(0, stop - rows_kept(state)), stop), at=at)])


def _mandate() -> Mandate:
    """The default book, in which every change is traded: 500 orders are wanted here."""
    book = read_settings().mandates["market_neutral"]
    return replace(book, rebalancing=replace(book.rebalancing, minimum_change=Decimal(0), relative_change=Decimal(0)))


def _bundle(panel: Panel) -> b.Bundle:
    specs = tuple(resolve([_FEATURE]))
    features = compute_features(panel, [_FEATURE])
    manifest = b.Manifest(
        schema=b.SCHEMA, name="rule", kind="rule", features=specs, columns=(_FEATURE,), code_digest=code_digest(specs),
        universe=panel.symbols, calendar="observed", price_kind=panel.price_kind.value, source=panel.source,
        trained_from=str(panel.sessions[0]), trained_through=str(panel.sessions[-ROUNDS - 1]), expires_after_days=4000,
        signal_contract=b.SignalContract(min_coverage=0.5, max_abs_score=1e6), mandate="market_neutral",
        data_versions={panel.source: panel.data_version}, mlflow_run_id="run", dagster_run_id="dagster",
        gate=b.GateRecord(kind="bootstrap", passed=True),
    )  # fmt: skip
    manifest, files = b.with_files(manifest, single_feature_rule(_FEATURE), features.values[-2])
    content = b.manifest_bytes(replace(manifest, key_id="k", signature="s"))
    return b.read_bundle({**files, b.MANIFEST: content}, lambda _key, _payload, _signature: True)
