"""Kill -9 anywhere: the broker's book, orders and client ids end up as if nothing had happened.

The broker is a process of its own with its own book. The executor is a process of its own, killed at every named point and at
random times, and started again. The oracle is an undisturbed run on another data folder.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from hedgefund_core.errors import HedgefundError, JournalError
from hedgefund_core.layout import broker_book_file, journal_file
from hedgefund_core.trading import events as e
from hedgefund_core.trading.order import Order
from live_executor.app import RunRequest, bundles_of, run
from live_executor.brokers.book import DurableBook
from live_executor.brokers.simulated_client import port_file
from live_executor.brokers.simulated_server import main as serve
from live_executor.crash import CRASH_POINTS
from live_executor.journals.sqlite import JournalReader
from live_executor.recovery import recover
from live_executor.settings import read_settings
from tests.builders import tradable_panel, write_executor_house

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["live_executor.app", "live_executor.brokers.simulated_server"])
SETTLED = 40.0


def trade(env: dict[str, str], bundle: Path) -> None:
    """Body of the executor's process."""
    os.environ.update(env)
    try:
        summary = run(read_settings(), RunRequest(account="a", source="noise", broker="simulated_process", bundle=bundle))
    except HedgefundError as error:
        os._exit(error.exit_code)
    os._exit(summary.exit_code)


def broke(env: dict[str, str]) -> None:
    """Body of the broker's process."""
    os.environ.update(env)
    os._exit(serve(["--account", "a", "--source", "noise"]))


@dataclass(kw_only=True)
class Town:
    """One data folder with its broker running."""

    house: Path
    bundle: Path
    env: dict[str, str]
    broker: BaseProcess | None = None
    runs: list[int] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.house / "data"

    def start_broker(self) -> None:
        self.broker = FORKS.Process(target=broke, args=(self.env,))
        self.broker.start()
        deadline = time.monotonic() + SETTLED
        while not port_file(self.data, "a").exists():
            assert self.broker.is_alive(), "the broker did not start"
            assert time.monotonic() < deadline, "the broker did not announce itself"
            time.sleep(0.005)

    def start(self, crash_at: str = "") -> BaseProcess:
        process = FORKS.Process(target=trade, args=({**self.env, "HEDGEFUND_CRASH_AT": crash_at}, self.bundle))
        process.start()
        return process

    def run(self, crash_at: str = "") -> int:
        """Exit code of one executor, negative if it was killed."""
        process = self.start(crash_at)
        process.join(SETTLED)
        assert process.exitcode is not None, "the executor hangs"
        self.runs.append(process.exitcode)
        return process.exitcode

    def stop(self) -> None:
        if self.broker is not None and self.broker.is_alive():
            self.broker.kill()
            self.broker.join()

    def book(self) -> tuple[list[Order], list[e.BrokerNews], str]:
        """The broker's truth, read from its own file."""
        book = DurableBook(self.data / broker_book_file("a"), read_settings().trading.initial_cash)
        account = book.load()
        found = book.orders(), book.news(0), f"{account.cash} {account.positions} {account.session}"
        book.close()
        return found

    def journal(self) -> list[e.Frame]:
        """Frames of the journal, after it has been verified and folded again."""
        reader = JournalReader(self.data / journal_file("a"))
        assert reader.verify(self.house / "config" / "keys").ok
        recover(reader.read(), bundles_of(read_settings(self.env), "a"))
        frames = [entry.frame for entry in reader.read()]
        reader.close()
        return frames


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house before its first run: all towns have the same keys and the same bundle."""
    house = tmp_path_factory.mktemp("template")
    shutil.copytree(Path(__file__).parents[2] / "config", house / "config", ignore=shutil.ignore_patterns("keys"))
    write_executor_house(house, tradable_panel(n_sessions=152, n_symbols=6), trained=130)
    return house


def build(template: Path, house: Path) -> Town:
    shutil.copytree(template, house)
    env = {
        "HEDGEFUND_DATA_DIR": str(house / "data"),
        "HEDGEFUND_CONFIG_DIR": str(house / "config"),
        "HEDGEFUND_RISK__MANDATES__MARKET_NEUTRAL__REBALANCING__ANCHOR": "every",
        "OPENBLAS_NUM_THREADS": "1",
    }
    return Town(house=house, bundle=house / "bundle", env=env)


@pytest.fixture
def town(template: Path, tmp_path: Path) -> Iterator[Town]:
    found = build(template, tmp_path / "town")
    found.start_broker()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def oracle(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A run that nobody disturbed."""
    found = build(template, tmp_path_factory.mktemp("oracle") / "town")
    found.start_broker()
    assert found.run() == 0
    yield found
    found.stop()


def same_inputs(frames: list[e.Frame]) -> list[e.Frame]:
    """What happened, without what only a restart adds (a look-up's proof of absence) and in the broker's own numbering."""
    inputs = (e.BrokerEvent, e.BarsClosed, e.DecisionDue, e.SessionBegan, e.BrokerReported)
    kinds = (*inputs, e.DecisionMade, e.OrdersIntended, e.OrdersDenied)
    return [frame for frame in frames if isinstance(frame, kinds)]


def assert_undisturbed(town: Town, oracle: Town) -> None:
    orders, news, account = town.book()
    expected_orders, expected_news, expected_account = oracle.book()
    assert [order.client_order_id for order in orders] == [order.client_order_id for order in expected_orders]
    assert orders == expected_orders
    assert news == expected_news
    assert account == expected_account
    frames, expected = town.journal(), oracle.journal()
    assert same_inputs(frames) == same_inputs(expected)
    assert all(frame.ok for frame in frames if isinstance(frame, e.Reconciled))


def test_the_oracle_trades(oracle: Town) -> None:
    orders, news, _ = oracle.book()
    kinds = {e.kind_of(item) for item in news}
    assert len(orders) > 20
    assert {"order_accepted", "order_filled", "order_expired", "cash_posted", "split_processed"} <= kinds


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_killed_at_a_named_point_and_started_again(point: str, town: Town, oracle: Town) -> None:
    for times in (1, 5, 2):
        assert town.run(f"{point}:{times}") == -signal.SIGKILL, f"{point} was not reached"
    assert town.run() == 0
    assert_undisturbed(town, oracle)


def journaled(town: Town) -> int:
    """Frames in the journal now; 0 before there is one."""
    try:
        reader = JournalReader(town.data / journal_file("a"))
    except JournalError:
        return 0
    try:
        return reader.head.seq
    except JournalError:
        return 0
    finally:
        reader.close()


def killed_at_random(town: Town, seed: int, kills: int) -> list[int]:
    """Start, let it journal a random number of frames and run on for a random while, kill; frames journaled at each kill.

    Counted in frames, not in seconds alone: so kills fall all over the run on a fast machine and on one that is busy.
    """
    dice, places = random.Random(seed), [0]
    while len(places) <= kills:
        wanted, longer = places[-1] + dice.randint(1, 90), dice.uniform(0.0, 0.02)
        process = town.start()
        deadline = time.monotonic() + SETTLED
        while process.is_alive() and journaled(town) < wanted and time.monotonic() < deadline:
            time.sleep(0.002)
        process.join(longer)
        assert process.exitcode is None, "the run is too short to be killed so often"
        process.kill()
        process.join()
        places.append(journaled(town))
    assert town.run() == 0
    return places[1:]


def test_killed_at_random_times(town: Town, oracle: Town) -> None:
    places = killed_at_random(town, seed=1, kills=5)
    assert places[-1] > 20  # it was killed while it traded, not only while it started
    assert_undisturbed(town, oracle)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(10))
def test_killed_at_fifty_random_times(seed: int, town: Town, oracle: Town) -> None:
    """Ten towns, five kills in each."""
    assert killed_at_random(town, seed=100 + seed, kills=5)[-1] > 20
    assert_undisturbed(town, oracle)


def test_the_broker_is_killed_too(town: Town, oracle: Town) -> None:
    """An executor whose broker is gone ends with exit 6 or waits for it; when both are back, nothing was lost or doubled."""
    process = town.start()
    time.sleep(0.5)
    town.stop()
    port_file(town.data, "a").unlink(missing_ok=True)
    time.sleep(0.1)
    town.start_broker()
    process.join(SETTLED)
    assert process.exitcode in {0, 6}
    assert town.run() == 0
    orders, news, account = town.book()
    assert (orders, account) == (oracle.book()[0], oracle.book()[2])
    assert [e.kind_of(item) for item in news] == [e.kind_of(item) for item in oracle.book()[1]]
    town.journal()


def trading(town: Town) -> bool:
    """Whether the first session has begun: the process hears signals by then."""
    path = town.data / journal_file("a")
    if not path.exists():
        return False
    try:
        reader = JournalReader(path)
        found = next(reader.read(kinds=("session_began",)), None)
        reader.close()
    except JournalError:  # its tables are being made
        return False
    return found is not None


def test_ctrl_c_finishes_the_step_and_a_restart_goes_on(town: Town, oracle: Town) -> None:
    process = town.start()
    deadline = time.monotonic() + SETTLED
    while process.is_alive() and not trading(town) and time.monotonic() < deadline:
        time.sleep(0.01)
    if process.is_alive():
        os.kill(process.pid, signal.SIGINT)
    process.join(SETTLED)
    assert process.exitcode in {0, 130}
    reader = JournalReader(town.data / journal_file("a"))
    result = reader.verify(town.house / "config" / "keys")
    assert result.ok
    assert result.signed_through == result.entries
    reader.close()
    assert town.run() == 0
    assert_undisturbed(town, oracle)


def test_a_second_executor_is_refused_with_exit_5(town: Town) -> None:
    first = town.start()
    deadline = time.monotonic() + SETTLED
    while not (town.data / "live" / "a" / "executor.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        assert town.run() == 5
    finally:
        os.kill(first.pid, signal.SIGCONT)
    first.join(SETTLED)
    assert first.exitcode == 0
