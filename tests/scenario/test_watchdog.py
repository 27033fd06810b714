"""The dead-man switch: fires once for a silence while the market is open, with its own key, and never twice in two processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest

from hedgefund_core.errors import ConfigError
from live_executor.clock import SteadyClock
from live_executor.commands import Mailbox
from live_executor.live import heartbeat
from live_executor.watchdog import Fired, Watch, Watchdog, own_keys
from tests.live_house import ROOT, House


@contextmanager
def watching(house: House, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`executor watchdog` of the house's account, begun when it says so."""
    command = [sys.executable, "-m", "live_executor", "watchdog", "--account", house.account, "--json", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        if process.stderr is not None:
            for line in process.stderr:
                if line.startswith(("watching", "error")):
                    break
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_a_silent_executor_is_stopped_once_and_watched_on(house: House) -> None:
    house.want({"quantities": {"AAPL": 10}})
    with house.running() as process:
        house.until_held(AAPL=10)
        house.json("order", "KO", "BUY", "5", "--limit", "180", "--wait", "5")
        with watching(house, "--stale-seconds", "1.5") as dog:
            assert dog.poll() is None
            second = subprocess.run(
                [sys.executable, "-m", "live_executor", "watchdog", "--account", house.account],
                cwd=ROOT, env={**os.environ}, capture_output=True, text=True, check=False, timeout=30,
            )  # fmt: skip
            assert second.returncode == 5
            assert str(dog.pid) in second.stderr
            assert len(house.exchange.open_orders()) == 1, "a living executor is left alone"
            process.send_signal(signal.SIGSTOP)
            deadline = time.monotonic() + 20
            while house.exchange.open_orders() and time.monotonic() < deadline:
                time.sleep(0.1)
            assert house.exchange.open_orders() == []
            time.sleep(2.5)  # silent all the while: not another time
            process.send_signal(signal.SIGCONT)
            house.until(lambda: house.json("status")["state"] == "cancelling")
            assert house.frames("halt_requested")[-1].person == "watchdog"
        said = dog.stdout.read() if dog.stdout is not None else ""
        fired = json.loads(said)  # one firing, one document
        assert (fired["verified"], fired["level"], fired["orders_left"]) == (True, 2, [])
        assert dog.returncode == 0
    assert house.exchange.held() == {"AAPL": 10}
    house.agree()


@pytest.mark.slow
def test_an_executor_that_ended_in_order_is_not_missed_and_one_that_was_killed_is(house: House) -> None:
    house.want({"quantities": {"AAPL": 10}})
    with house.running():
        house.until_held(AAPL=10)
    beat = heartbeat.read(house.folder / "data" / "live" / "paper")
    assert beat is not None
    assert beat.stopped
    with watching(house, "--stale-seconds", "0.5", "--level", "3") as dog:
        time.sleep(1.5)
        assert house.exchange.held() == {"AAPL": 10}
        process = house.start()
        house.until(lambda: bool((now := heartbeat.read(house.folder / "data" / "live" / "paper")) and not now.stopped))
        process.kill()
        process.communicate()
        deadline = time.monotonic() + 20
        while house.exchange.held() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.5)
        assert dog.poll() is None
    assert house.exchange.held() == {}


class Ahead:
    """The clock, and how far a test has moved it."""

    def __init__(self) -> None:
        self._clock, self.seconds = SteadyClock(), 0.0

    def now(self) -> datetime:
        return self._clock.now() + timedelta(seconds=self.seconds)


def beat(house: House, market_open: bool, *, stopped: bool = False, broker: str = "alpaca") -> None:
    """A sign of life, as the executor gives it."""
    link, now = heartbeat.Link(connected=True), SteadyClock().now()
    folder = house.folder / "data" / "live" / house.account
    folder.mkdir(parents=True, exist_ok=True)
    said = heartbeat.Heartbeat(
        pid=1, at=now, mode="paper", broker=broker, session="2026-11-24", market_open=market_open, next_open=None, order_stream=link,
        data_stream=link, price_age_seconds=None, gates=(), searches=0, clock_offset_seconds=0.0, stopped=stopped,
    )  # fmt: skip
    heartbeat.write(folder, said)


def test_it_fires_in_an_open_market_only_once_a_silence_and_again_for_the_next_one(house_of: Callable[..., House]) -> None:
    house = house_of(hours="regular", now="2026-11-24T22:00:00+00:00")
    clock, fired = Ahead(), list[Fired]()
    beat(house, market_open=True)
    dog = Watchdog(Watch(data=house.folder / "data", account="paper", stale_seconds=15), os.environ, tell=fired.append, clock=clock)
    assert dog.look() is None
    clock.seconds = 60
    assert dog.look() is None, "the market is closed, whatever was last said of it"
    house.exchange.ask("/_clock", {"now": "2026-11-25T15:00:00+00:00"})
    house.exchange.act("external", symbol="KO", side="buy", qty="3", type="limit", limit_price="170")
    found = dog.look()
    assert found is not None
    assert (found.verified, found.orders_left, house.exchange.open_orders()) == (True, (), [])
    assert [type(command).__name__ for _, command in Mailbox(house.folder / "data", "paper").commands()] == ["Halt"]
    clock.seconds = 120
    assert dog.look() is None, "the same silence"
    beat(house, market_open=True)
    assert dog.look() is None
    clock.seconds = 180
    assert dog.look() is not None, "another silence"
    beat(house, market_open=True, stopped=True)
    clock.seconds = 300
    assert dog.look() is None
    clock.seconds = 400
    assert dog.look() is None, "an executor that ended in order is not missed"
    assert fired == [found, fired[1]]


def test_no_other_broker_is_stopped_for_an_account_whose_own_is_in_the_executors_process(house: House) -> None:
    clock = Ahead()
    beat(house, market_open=True, broker="simulated")  # and no journal to be read
    dog = Watchdog(Watch(data=house.folder / "data", account="paper", stale_seconds=15), os.environ, tell=pytest.fail, clock=clock)
    house.exchange.act("external", symbol="KO", side="buy", qty="3", type="limit", limit_price="170")
    clock.seconds = 60
    assert dog.look() is None
    assert len(house.exchange.open_orders()) == 1


def test_a_broker_that_does_not_answer_is_asked_again_at_the_next_look(house: House) -> None:
    clock, fired = Ahead(), list[Fired]()
    beat(house, market_open=True)
    env = {**os.environ, "ALPACA_TRADING_URL": "http://127.0.0.1:9", "ALPACA_TRADING_STREAM_URL": "ws://127.0.0.1:9/stream"}
    watch = Watch(data=house.folder / "data", account="paper", stale_seconds=15, broker_seconds=0.1)
    dog = Watchdog(watch, env, tell=fired.append, clock=clock)
    clock.seconds = 60
    for _ in range(2):
        found = dog.look()
        assert found is not None
        assert (found.answered, found.verified) == (False, False)


def test_its_own_key_takes_the_place_of_the_executors() -> None:
    env = {"ALPACA_API_KEY": "a", "ALPACA_SECRET_KEY": "b"}
    assert own_keys(env) == (env, False)
    own, has = own_keys(env | {"ALPACA_WATCHDOG_API_KEY": "c", "ALPACA_WATCHDOG_SECRET_KEY": "d"})
    assert has
    assert (own["ALPACA_API_KEY"], own["ALPACA_SECRET_KEY"]) == ("c", "d")
    with pytest.raises(ConfigError):
        own_keys(env | {"ALPACA_WATCHDOG_API_KEY": "c"})
