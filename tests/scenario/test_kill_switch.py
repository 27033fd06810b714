"""The kill switch: whatever the executor, the network and the broker's own answers do, what is open is proven gone by query."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest

from hedgefund_core.layout import halt_file
from live_executor.journals.emergency import Act, EmergencyLog
from tests.alpaca_server.trading import Settings
from tests.live_house import House

NAMES = tuple(f"K{number:02d}" for number in range(40))
QUOTES = {name: (Decimal("49.99"), Decimal("50.01")) for name in NAMES}


@contextmanager
def frozen(process: subprocess.Popen[str]) -> Iterator[None]:
    """A process that hangs, and goes on afterwards if it still lives."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGCONT)


def log_of(house: House) -> EmergencyLog:
    return EmergencyLog(house.folder / "data" / "live" / house.account)


def test_zero_open_is_proven_with_the_daemon_stopped_cancels_ignored_and_requests_refused(house_of: Callable[..., House]) -> None:
    house = house_of(quotes=QUOTES, positions={"K00": (Decimal(7), Decimal(50))}, settings=Settings(autofill=False))
    house.want({"quantities": dict.fromkeys(NAMES[1:], 5) | {"K00": 12}})
    with house.running() as process:
        house.until(lambda: len(house.exchange.open_orders()) == 40)
        house.until(lambda: house.json("status")["orders_open"] == 40)
        with frozen(process):
            house.exchange.fault("cancel_stays_open", target="order", times=60)
            house.exchange.fault("status", route="GET /v2/orders", status=429, headers={"Retry-After": "0.2"}, times=3, skip=1)
            house.exchange.fault("status", route="DELETE /v2/orders/", status=429, headers={"Retry-After": "0.2"}, times=5, skip=10)
            held, sent = house.exchange.held(), len(house.exchange.truth()["orders"])
            done = house.json("halt", "--level", "2", "--reason", "drill", "--wait", "0.3")
            assert (done["verified"], done["by"], done["orders_left"], done["journal_seq"]) == (True, "broker", [], 0)
            assert house.exchange.open_orders() == []
            assert house.exchange.held() == held == {"K00": 7}, "level 2 leaves positions alone"
            assert (house.folder / "data" / halt_file("paper")).exists()
            assert [act.act for act in log_of(house).read()] == [Act.HALT, Act.CANCEL_ALL, Act.VERIFIED]
        house.until(lambda: house.json("status")["state"] == "cancelling")
        house.until(lambda: house.json("status")["orders_open"] == 0)
    taken = house.exchange.truth()["faults_taken"]
    assert (taken["cancel_stays_open"], taken["status"]) == (60, 8)
    assert len(house.exchange.truth()["orders"]) == sent, "nothing new left after it went on"
    house.agree()


def test_a_running_executor_says_verified_only_when_its_own_queries_show_nothing(house_of: Callable[..., House]) -> None:
    house = house_of(settings=Settings(autofill=False), positions={"MSFT": (Decimal(3), Decimal(100))})
    house.want({"quantities": {"AAPL": 5}})
    with house.trading():
        house.until(lambda: bool(house.entries("reconciled")) and house.json("status")["orders_open"] == 1)
        house.exchange.fault("cancel_stays_open", target="order", times=25)
        asked = ("halt", "--level", "2", "--reason", "drill", "--wait", "10")
        early = house.json(*asked, "--patience", "1", code=5)
        assert (early["verified"], early["by"], len(early["left"])) == (False, "executor", 1)
        assert (house.json(*asked)["verified"], house.exchange.open_orders(), house.exchange.held()) == (True, [], {"MSFT": 3})
        armed = house.json("flatten", "--reason", "drill", "--wait", "10", "--patience", "0")
        assert (armed["verified"], armed["state"]) == (False, "flattening"), "armed is what was asked for: exit 0"


def test_flat_after_a_closed_night_and_a_halted_name_without_any_executor(house_of: Callable[..., House]) -> None:
    held = {"AAPL": (Decimal(10), Decimal(100)), "MSFT": (Decimal(-5), Decimal(110)), "KO": (Decimal("2.5"), Decimal(190))}
    house = house_of(positions=held, hours="regular", now="2026-11-24T15:00:00+00:00")
    house.want({"quantities": {}})
    with house.trading():
        house.until(lambda: bool(house.entries("reconciled")))
    house.exchange.act("halt", symbol="MSFT")
    house.exchange.ask("/_clock", {"now": "2026-11-24T22:00:00+00:00"})
    night = house.json("flatten", "--reason", "enough", "--patience", "2", code=5)
    assert night["positions_left"] == {"AAPL": "10", "MSFT": "-5", "KO": "2.5"}
    assert len(night["closing_orders"]) == len(house.exchange.open_orders()) == 3
    house.exchange.ask("/_clock", {"now": "2026-11-25T14:30:01+00:00"})
    house.exchange.act("session", moment="open", by_clock=True)
    assert house.exchange.held() == {"MSFT": -5}
    house.exchange.act("halt", symbol="MSFT", halted=False)
    assert house.exchange.held() == {}
    done = house.json("flatten", "--reason", "enough")
    assert (done["verified"], done["positions_left"]) == (True, {})
    with house.trading():  # what was done past the journal is adopted: our own orders, nobody else's
        house.until(lambda: house.frames("reconciled")[-1].ok and house.json("status")["orders_open"] == 0)
        assert house.json("status")["state"] == "flattening"
    assert house.frames("external_filled") == []
    assert sorted(frame.number for frame in house.frames("emergency_adopted")) == [act.number for act in log_of(house).read()]
    house.agree()


def test_the_daemon_itself_is_flat_after_a_closed_night_and_a_halted_name(house_of: Callable[..., House]) -> None:
    held = {"AAPL": (Decimal(10), Decimal(100)), "MSFT": (Decimal(-5), Decimal(110))}
    house = house_of(positions=held, hours="regular", now="2026-11-24T20:59:50+00:00")
    house.want({"quantities": {}})
    with house.trading():
        house.until(lambda: bool(house.entries("reconciled")))
        house.exchange.act("halt", symbol="MSFT")
        house.exchange.ask("/_clock", {"now": "2026-11-24T21:00:05+00:00"})
        house.until(lambda: bool(house.frames("session_ended")))
        assert house.json("flatten", "--reason", "enough", "--wait", "10", "--patience", "0")["state"] == "flattening"
        assert house.exchange.held() == {"AAPL": 10, "MSFT": -5}
        house.exchange.ask("/_clock", {"now": "2026-11-25T14:30:01+00:00"})
        house.exchange.act("session", moment="open", by_clock=True)
        house.until_held(MSFT=-5)
        house.exchange.act("halt", symbol="MSFT", halted=False)
        house.until_held()
        house.until(lambda: house.json("positions") == [])
    house.agree()


def test_a_broker_that_never_answers_and_orders_that_stay_have_their_own_exit_codes(house: House) -> None:
    house.want({})
    with house.trading():
        house.until(lambda: bool(house.entries("reconciled")) and house.json("status")["gates"] == [])
        house.json("order", "KO", "BUY", "5", "--limit", "180", "--wait", "5")
    house.exchange.act("external", symbol="XOM", side="buy", qty="3", type="limit", limit_price="170")
    house.exchange.fault("cancel_stays_open", target="order", times=1000)
    left = house.json("halt", "--level", "2", "--reason", "drill", "--patience", "1.5", code=5)
    assert len(left["orders_left"]) == len(house.exchange.open_orders()) == 1, "the executor cancelled its own when it stopped"
    assert left["journal_seq"] > 0
    assert house.json("status")["state"] == "cancelling"
    os.environ["ALPACA_TRADING_URL"] = "http://127.0.0.1:9"  # undone with the rest of the house
    away = house.json("halt", "--level", "2", "--reason", "drill", "--patience", "0.5", code=6)
    assert (away["answered"], away["verified"]) == (False, False)
    assert "127.0.0.1:9" in away["trouble"]


@pytest.mark.slow
def test_positions_that_are_shown_late_are_not_closed_twice(house_of: Callable[..., House]) -> None:
    held = {"AAPL": (Decimal(10), Decimal(100)), "MSFT": (Decimal(-5), Decimal(110))}
    house = house_of(positions=held, settings=Settings(positions_lag=1.2))
    house.want({"quantities": {}})
    with house.trading():
        house.until(lambda: bool(house.entries("reconciled")))
        house.exchange.act("flags")  # what is held now is what is shown for a while
        time.sleep(1.3)
    done = house.json("flatten", "--reason", "enough")
    assert done["verified"]
    assert sorted(order["symbol"] for order in house.exchange.truth()["orders"]) == ["AAPL", "MSFT"]
    assert house.exchange.held() == {}


def test_a_signal_halts(house: House) -> None:
    house.want({"quantities": {"AAPL": 10}})
    with house.running() as process:
        house.until_held(AAPL=10)
        for number, state in ((signal.SIGUSR1, "reducing"), (signal.SIGUSR2, "cancelling")):
            process.send_signal(number)
            house.until(lambda state=state: house.json("status")["state"] == state)
            assert house.frames("halt_requested")[-1].person == "signal"
        assert process.poll() is None
    assert process.returncode == 0
