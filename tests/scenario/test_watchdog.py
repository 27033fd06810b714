"""The dead-man switch: fires once for a silence while the market is open, with its own key, and never twice in two processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hedgefund_core.errors import ConfigError
from live_executor.live import heartbeat
from live_executor.watchdog import own_keys
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


def test_its_own_key_takes_the_place_of_the_executors() -> None:
    env = {"ALPACA_API_KEY": "a", "ALPACA_SECRET_KEY": "b"}
    assert own_keys(env) == (env, False)
    own, has = own_keys(env | {"ALPACA_WATCHDOG_API_KEY": "c", "ALPACA_WATCHDOG_SECRET_KEY": "d"})
    assert has
    assert (own["ALPACA_API_KEY"], own["ALPACA_SECRET_KEY"]) == ("c", "d")
    with pytest.raises(ConfigError):
        own_keys(env | {"ALPACA_WATCHDOG_API_KEY": "c"})
