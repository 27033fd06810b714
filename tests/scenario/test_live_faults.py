"""Processes and disks that fail: killed, frozen, out of room or time, away from the broker. The books stay right, nothing doubles."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import libfaketime
import pytest

from live_executor.journals.emergency import Act, EmergencyLog
from tests.live_house import ROOT, House

FAKETIME = Path(libfaketime.__file__).parent / "vendor/libfaketime/src/libfaketime.so.1"
STRACE = shutil.which("strace") is not None
CRASHES = ("before_journal:6", "after_journal:6", "before_send:2", "after_send", "after_acknowledgement", "before_fill:2", "after_fill:2")


def acts_of(house: House) -> list[Act]:
    return [act.act for act in EmergencyLog(house.folder / "data" / "live" / house.account).read()]


def traded(house: House) -> float:
    """Shares that changed hands: whoever orders twice trades more."""
    return sum(float(fill["qty"]) for fill in house.exchange.truth()["fills"])


def resting(house: House) -> None:
    """An order that works and does not fill."""
    house.until(lambda: bool(house.entries("reconciled")) and house.json("status")["gates"] == [])
    house.json("order", "KO", "BUY", "5", "--limit", "180", "--wait", "10")


# ---- killed -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "point", [point if place == 6 else pytest.param(point, marks=pytest.mark.slow) for place, point in enumerate(CRASHES)]
)
def test_killed_at_a_crash_point_it_comes_back_whole(house: House, point: str) -> None:
    house.exchange.ask("/_settings", {"slices": 2, "fill_delay": 0.1})
    house.want({"quantities": {"AAPL": 20, "MSFT": -10, "GOOG": 6}})
    killed = house.start(env={"HEDGEFUND_CRASH_AT": point})
    assert killed.wait(40) == -signal.SIGKILL
    killed.communicate()
    house.process = None
    with house.trading():
        house.until_held(AAPL=20, MSFT=-10, GOOG=6)
        house.until(lambda: house.json("status")["orders_open"] == 0 and house.json("status")["gates"] == [])
    assert traded(house) == 36, "nothing was traded twice"
    assert house.frames("external_filled") == []
    house.agree()
    assert house.json("audit", "verify")["ok"]


@pytest.mark.slow
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
@pytest.mark.parametrize("number", [3, 12, 25, 40])
def test_killed_in_the_middle_of_a_write_it_comes_back_whole(house: House, call: str, number: int) -> None:
    house.want({"quantities": {"AAPL": 20, "MSFT": -10}})
    end = run_with_injection(house, f"{call}:signal=KILL:when={number}")
    assert end in {-signal.SIGKILL, 128 + signal.SIGKILL}
    with house.trading():
        house.until_held(AAPL=20, MSFT=-10)
        house.until(lambda: house.json("status")["orders_open"] == 0)
    assert traded(house) == 30
    house.agree()


@pytest.mark.slow
def test_without_memory_it_ends_and_comes_back_whole(house: House) -> None:
    house.want({"quantities": {"AAPL": 20}})
    process = house.start()
    house.until_held(AAPL=20)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (64 << 20, 64 << 20))  # less than it has: no more is given
    house.want({"quantities": {"AAPL": 20, **dict.fromkeys(("MSFT", "GOOG", "AMZN", "NVDA", "META", "TSLA"), 3)}})
    try:
        process.wait(8)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate()
    house.process = None
    with house.trading():
        house.until_held(AAPL=20, MSFT=3, GOOG=3, AMZN=3, NVDA=3, META=3, TSLA=3)
        house.until(lambda: house.json("status")["orders_open"] == 0)
    assert traded(house) == 38
    house.agree()


# ---- the disk ---------------------------------------------------------------------------------------------------------------------


def test_a_disk_without_room_stops_entries_at_once_and_cancels_by_the_emergency_log(house: House) -> None:
    house.want({"quantities": {"AAPL": 10}})
    process = house.start()
    house.until_held(AAPL=10)
    resting(house)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, 4096))  # from now on no file grows, and none is written beyond a page
    sent = len(house.exchange.truth()["orders"])
    ends_without_sending(house, process, sent)
    assert acts_of(house) == [Act.HALT, Act.CANCEL_ALL, Act.VERIFIED]
    with house.trading():
        house.until(lambda: house.json("status")["orders_open"] == 0)
        assert house.json("status")["state"] == "cancelling", "a person resumes"
        assert house.json("resume", "--reason", "room again")["state"] == "active"
        house.until_held(AAPL=10, MSFT=10)
    house.agree()


@contextmanager
def injected(house: House, injection: str) -> Iterator[subprocess.Popen[str]]:
    """An executor under strace, without it where there is none; both end with the block."""
    calls = injection.partition(":")[0]
    command = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={injection}"] if STRACE else []
    run = [sys.executable, "-m", "live_executor", "run", "--targets", str(house.targets), "--rebalance-every", "500ms"]
    process = subprocess.Popen(
        [*command, *run], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


def run_with_injection(house: House, injection: str) -> int:
    """Until it ends by itself; without strace by a signal or a limit at some moment."""
    with injected(house, injection) as process:
        if not STRACE:
            house.until(lambda: len(house.entries()) > 8)
            if "signal=KILL" in injection:
                process.kill()
            else:
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        return process.wait(60)


@pytest.mark.slow
def test_a_slow_disk_slows_and_doubles_nothing(house: House) -> None:
    house.want({"quantities": {"AAPL": 10, "MSFT": -5}})
    with injected(house, "fdatasync:delay_exit=400000"):
        house.until_held(AAPL=10, MSFT=-5)
        assert house.json("flatten", "--reason", "enough", "--wait", "30")["state"] == "flattening"
        house.until_held()
    assert traded(house) == 30
    with house.trading():
        house.until(lambda: bool(house.entries("reconciled")) and house.json("status")["orders_open"] == 0)
    house.agree()


@pytest.mark.slow
@pytest.mark.parametrize("error", ["pwrite64:error=ENOSPC:when=60", "fdatasync:error=EIO:when=20"])
def test_a_write_that_fails_is_never_tried_again(house: House, error: str) -> None:
    """From that call on: while the journal takes its room for later, and in the middle of trading."""
    house.want({"quantities": {"AAPL": 10, "MSFT": 10}})
    assert run_with_injection(house, f"{error}+") == 1
    intents = {order.client_order_id for frame in house.frames("orders_intended") for order in frame.orders}
    assert {order["client_order_id"] for order in house.exchange.truth()["orders"]} <= intents
    with house.trading():
        house.until(lambda: len(house.frames("emergency_adopted")) == len(acts_of(house)) and bool(house.entries("reconciled")))
        house.json("resume", "--reason", "the disk is mended")
        house.until_held(AAPL=10, MSFT=10)
        house.until(lambda: house.json("status")["orders_open"] == 0)
    house.agree()


@pytest.mark.slow
def test_a_disk_that_becomes_read_only_sends_nothing_more_and_cancels_all_the_same(house: House) -> None:
    """As after `errors=remount-ro`: not even the emergency log can be written; a cancel needs no record, for it only takes risk away."""
    house.want({"quantities": {"AAPL": 10}})
    process = house.start()
    house.until_held(AAPL=10)
    resting(house)
    sent = len(house.exchange.truth()["orders"])
    with failing(process, "pwrite64:error=EROFS"):
        ends_without_sending(house, process, sent)
    assert acts_of(house) == []
    with house.trading():
        house.until_held(AAPL=10, MSFT=10)
        house.until(lambda: house.json("status")["orders_open"] == 0)
    house.agree()


def ends_without_sending(house: House, process: subprocess.Popen[str], sent: int) -> None:
    """More is wanted of a process that can write nothing down: it ends, and what rested at the broker is gone."""
    house.want({"quantities": {"AAPL": 10, "MSFT": 10}})
    assert process.wait(30) == 1
    assert "cannot write" in process.communicate()[1]
    house.process = None
    assert len(house.exchange.truth()["orders"]) == sent, "nothing leaves that is not written down"
    assert house.exchange.open_orders() == []


@contextmanager
def failing(process: subprocess.Popen[str], error: str) -> Iterator[None]:
    """From here on these calls of a process that runs fail; without strace no file of it can be written beyond a page."""
    if not STRACE:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        yield
        return
    call, output = error.partition(":")[0], ["-o", os.devnull]
    tracer = subprocess.Popen(["strace", "-f", "-p", str(process.pid), *output, "-e", f"trace={call}", "-e", f"inject={error}"])
    try:
        while "TracerPid:\t0" in Path(f"/proc/{process.pid}/status").read_text():
            time.sleep(0.01)
        yield
    finally:
        tracer.terminate()
        tracer.wait(20)


# ---- time -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", ["+3601", pytest.param("-7200", marks=pytest.mark.slow)])
def test_a_clock_that_jumps_moves_nothing(house: House, tmp_path: Path, jump: str) -> None:
    moved = tmp_path / "time"
    moved.write_text("+0\n")
    env = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(moved),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    house.want({"quantities": {"AAPL": 10}})
    with house.running(env=env) as process:
        house.until_held(AAPL=10)
        moved.write_text(f"{jump}\n")
        house.want({"quantities": {"AAPL": 10, "MSFT": -4}})
        house.until_held(AAPL=10, MSFT=-4)
        house.until(lambda: house.json("status")["orders_open"] == 0)
        assert process.poll() is None
        assert len(house.frames("session_began")) == 1
        beat = house.json("status")
        assert (beat["gates"], beat["frozen"]) in (([], {}), ([], []))
    stamps = [entry.ts for entry in house.entries()]
    assert max(stamps) - min(stamps) < 600e6, "the journal's times are those of the market"
    house.agree()


# ---- frozen -----------------------------------------------------------------------------------------------------------------------


def test_a_frozen_executor_keeps_its_account_and_asks_before_it_goes_on(house: House) -> None:
    house.want({"quantities": {"AAPL": 10, "MSFT": -5}})
    with house.running() as process:
        house.until_held(AAPL=10, MSFT=-5)
        house.until(lambda: house.json("status")["orders_open"] == 0)
        with stopped(process):
            second = house.start()
            assert second.wait(40) == 5
            assert str(process.pid) in second.communicate()[1]
            house.process = process
            house.want({"quantities": {"AAPL": 10, "MSFT": -5, "GOOG": 8}})
            time.sleep(2.2)
            flat = house.json("flatten", "--reason", "it hangs", "--wait", "0.3")
            assert flat["verified"]
            assert house.exchange.held() == {}
            sent = len(house.exchange.truth()["orders"])
        house.until(lambda: house.json("status")["state"] == "flattening")
        house.until(lambda: house.frames("reconciled")[-1].ok and house.json("positions") == [])
        assert any("stood still" in frame.message for frame in house.frames("alert_raised"))
        assert len(house.exchange.truth()["orders"]) == sent, "what was wanted meanwhile never left"
        assert house.frames("external_filled") == [], "the closing orders are ours"
        assert sorted(frame.act for frame in house.frames("emergency_adopted")) == sorted(acts_of(house))
    house.agree()


@contextmanager
def stopped(process: subprocess.Popen[str]) -> Iterator[None]:
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


# ---- the broker -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [4.0, pytest.param(60.0, marks=pytest.mark.slow)])
def test_a_broker_that_is_away_is_waited_for(house: House, seconds: float) -> None:
    house.want({"quantities": {"AAPL": 10}})
    with house.trading():
        house.until_held(AAPL=10)
        for route in ("GET /v2", "POST /v2", "DELETE /v2"):
            house.exchange.fault("reset", route=route, times=100_000)
        house.exchange.fault("http", target="trade", status=503, times=100_000)
        house.exchange.fault("http", target="data", status=503, times=100_000)
        house.exchange.act("disconnect")
        house.exchange.act("disconnect", stream="data")
        house.want({"quantities": {"AAPL": 10, "MSFT": 10}})
        time.sleep(seconds)
        assert house.exchange.held() == {"AAPL": 10}
        house.exchange.server.faults.armed.clear()
        house.until(lambda: house.exchange.held() == {"AAPL": 10, "MSFT": 10}, 90)
        house.until(lambda: house.json("status")["orders_open"] == 0 and house.json("status")["gates"] == [], 90)
    assert sorted(order["symbol"] for order in house.exchange.truth()["orders"] if order["filled_qty"] != "0") == ["AAPL", "MSFT"]
    house.agree()


@pytest.mark.slow
def test_a_key_that_is_withdrawn_ends_the_run_and_a_new_one_goes_on(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.want({"quantities": {"AAPL": 10}})
    process = house.start()
    house.until_held(AAPL=10)
    house.exchange.server.scenario.secret = "another"
    assert process.wait(40) == 3
    assert "ALPACA_SECRET_KEY" in process.communicate()[1]
    house.process = None
    monkeypatch.setenv("ALPACA_SECRET_KEY", "another")
    house.want({"quantities": {"AAPL": 4}})
    with house.trading():
        house.until_held(AAPL=4)
        house.until(lambda: house.json("status")["orders_open"] == 0)
    house.agree()
