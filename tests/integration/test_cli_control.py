"""A person's hand on the account, and a daemon in a process of its own: halts are latched, whoever journals them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hedgefund_core.errors import JournalError
from hedgefund_core.layout import commands_folder, halt_file, journal_file
from live_executor.cli import app
from live_executor.commands import Halt, send
from live_executor.journals.sqlite import JournalReader

_OPERATOR = ("halt_requested", "resume_requested")
ROOT = Path(__file__).resolve().parents[2]


def executor(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def parsed(*arguments: str, code: int = 0):
    result = executor(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@contextmanager
def daemon(house: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`executor run` at some sessions a second; returns once it trades."""
    command = [sys.executable, "-m", "live_executor", "run", "--source", "noise", "--bundle", str(house / "bundle"), *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ.copy(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


def begun(path: Path) -> int:
    """Sessions in a journal; none while its first process is still making the file."""
    try:
        reader = JournalReader(path)
        return sum(1 for _ in reader.read(kinds=("session_began",)))
    except JournalError:
        return 0


def wait_for_sessions(house: Path, account: str, count: int, process: subprocess.Popen[str]) -> None:
    path = house / "data" / journal_file(account)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and begun(path) >= count:
            return
        time.sleep(0.05)
    pytest.fail(f"the daemon did not trade: {process.poll()}")


@pytest.mark.parametrize(("level", "state"), [(1, "reducing"), (2, "cancelling"), (3, "flattening"), (4, "halted")])
def test_a_halt_without_an_executor_is_journaled_and_latched_until_a_person_resumes(traded: Path, level: int, state: str) -> None:
    done = parsed("halt", "--level", str(level), "--reason", "drill", "--person", "ada")
    assert (done["state"], done["by"], done["person"]) == (state, "command", "ada")
    assert (traded / "data" / halt_file("traded")).exists()
    found = parsed("status")
    assert (found["state"], found["cause"]) == (state, "drill")
    assert found["journal"]["seq"] == done["journal_seq"]
    assert parsed("replay", "--verify")["ok"]
    assert parsed("audit", "verify")["signed_through"] == done["journal_seq"]
    assert parsed("resume", "--reason", "drill is over", "--person", "bob")["state"] == "active"
    assert not (traded / "data" / halt_file("traded")).exists()
    assert parsed("status")["state"] == "active"


def test_a_halted_account_does_not_run_and_goes_on_after_a_resume(traded: Path) -> None:
    executor("halt", "--level", "4", "--reason", "drill")
    arguments = ("run", "--source", "noise", "--bundle", str(traded / "bundle"), "--account", "traded")
    before = parsed("status")["session"]
    (traded / "data" / "processed" / "panels" / "noise" / "manifest.json").unlink(missing_ok=True)
    longer(traded)
    refused = executor(*arguments)
    assert refused.exit_code == 5
    assert "drill" in refused.stderr
    assert "executor resume" in refused.stderr
    executor("resume", "--reason", "over")
    assert executor(*arguments).exit_code == 0
    assert parsed("status")["session"] > before
    assert parsed("replay", "--verify")["ok"]
    assert parsed("reconcile")["ok"]


def longer(house: Path) -> None:
    """The same prices and ten sessions more."""
    from hedgefund_core.layout import panel_file
    from hedgefund_core.quant.panel_codec import pack_panel
    from live_executor.panels import read_panel
    from tests.builders import noisy_panel

    old = read_panel(house / "data", "noise")
    more = noisy_panel(seed=5, n_sessions=10, n_symbols=len(old.symbols))
    shift = old.sessions[-1] - more.sessions[0] + 3
    scale = old.close[-1] / more.close[0]
    from dataclasses import replace

    rows = replace(
        more,
        sessions=more.sessions + shift,
        split_ratios=None if old.split_ratios is None else more.split_ratios * 0 + 1,
        **{name: getattr(more, name) * scale for name in ("open", "high", "low", "close")},
        dividends=None if old.dividends is None else more.close * 0,
        close_at=(more.sessions + shift).astype("datetime64[us]") + (old.close_at[0] - old.sessions[0].astype("datetime64[us]")),
        known_at=(more.sessions + shift).astype("datetime64[us]") + (old.known_at[0] - old.sessions[0].astype("datetime64[us]")),
    )
    (house / "data" / panel_file("noise")).write_bytes(pack_panel(old.extend(rows)))


def test_flatten_closes_the_book(traded: Path) -> None:
    assert parsed("positions")
    assert parsed("flatten", "--reason", "enough")["state"] == "flattening"
    plan = parsed("plan")
    assert plan["purpose"] == "flatten"
    assert {row["leg"] for row in plan["orders"]} == {"close"}
    longer(traded)
    assert executor("run", "--source", "noise", "--bundle", str(traded / "bundle"), "--account", "traded").exit_code == 0
    assert sum(abs(row["weight"]) for row in parsed("positions")) < 0.01
    assert parsed("status")["state"] == "flattening", "a person's word holds until a person resumes"


def test_a_running_executor_takes_a_halt_refuses_a_second_and_stops_on_ctrl_c(traded: Path) -> None:
    account = ("--account", "watched")
    with daemon(traded, *account, "--speed", "10") as process:
        wait_for_sessions(traded, "watched", 3, process)
        assert parsed("status")["account"] == "watched", "the account last used is the default"
        assert parsed("status")["running"] is True
        second = executor("run", "--source", "noise", "--bundle", str(traded / "bundle"), *account)
        assert second.exit_code == 5
        assert str(process.pid) in second.stderr
        done = parsed("halt", "--level", "1", "--reason", "drill", "--wait", "20", *account)
        assert (done["state"], done["by"]) == ("reducing", "executor")
        assert (traded / "data" / halt_file("watched")).exists()
        assert parsed("resume", "--reason", "over", "--wait", "20", *account)["state"] == "active"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
    assert parsed("replay", "--verify", *account)["ok"]
    assert parsed("reconcile", *account)["ok"]


def test_a_halt_reaches_an_executor_that_hangs(traded: Path) -> None:
    account = ("--account", "hung")
    with daemon(traded, *account, "--speed", "10") as process:
        wait_for_sessions(traded, "hung", 2, process)
        process.send_signal(signal.SIGSTOP)
        result = executor("halt", "--level", "4", "--reason", "it hangs", "--wait", "0.3", *account)
        assert result.exit_code == 7
        assert f"kill -9 {process.pid}" in result.stderr
        assert (traded / "data" / halt_file("hung")).exists()
        process.kill()
        process.wait(timeout=20)
    again = executor("run", "--source", "noise", "--bundle", str(traded / "bundle"), *account)
    assert again.exit_code == 5, "the request was waiting for it"
    assert "it hangs" in again.stderr


@pytest.mark.parametrize("arguments", [("--level", "5"), ("--level", "0"), ("--level", "2", "--reason", "  ")])
def test_a_halt_needs_a_level_and_a_reason(traded: Path, arguments: tuple[str, ...]) -> None:
    given = arguments if "--reason" in arguments else (*arguments, "--reason", "drill")
    assert executor("halt", *given).exit_code == 2
    assert parsed("status")["state"] == "active"


def test_a_mistake_in_the_configuration_keeps_nobody_from_halting(traded: Path) -> None:
    path = traded / "config" / "trading.yaml"
    text = path.read_text()
    path.write_text(text + "misspelt: 1\n")
    result = executor("halt", "--level", "2", "--reason", "odd prices")
    assert result.exit_code == 3
    assert "HALT file made" in result.stderr
    path.write_text(text)
    assert executor("run", "--source", "noise", "--bundle", str(traded / "bundle"), "--account", "traded").exit_code in {0, 5}
    longer(traded)
    assert executor("run", "--source", "noise", "--bundle", str(traded / "bundle"), "--account", "traded").exit_code == 5
    assert parsed("status")["state"] == "halted"


def test_a_journal_that_cannot_be_read_keeps_nobody_from_halting(traded: Path) -> None:
    (traded / "data" / journal_file("traded")).write_bytes(b"no database" * 1000)
    result = executor("halt", "--level", "4", "--reason", "odd prices")
    assert (result.exit_code, "HALT file made" in result.stderr) == (1, True)
    assert "odd prices" in (traded / "data" / halt_file("traded")).read_text()
    assert executor("halt", "--level", "4", "--reason", "odd", "--account", "misspelt").exit_code == 7
    assert not (traded / "data" / "live" / "misspelt").exists()


def test_a_halt_asked_while_the_last_session_ends_is_taken_before_the_executor_leaves(traded: Path) -> None:
    (traded / "data" / halt_file("traded")).write_text("stop\n")
    again = executor("run", "--source", "noise", "--bundle", str(traded / "bundle"), "--account", "traded")
    assert again.exit_code == 5, "no session was left, and the file was heard all the same"
    assert parsed("status")["state"] == "halted"


def test_a_request_that_nobody_took_is_journaled_before_a_later_one(traded: Path) -> None:
    send(traded / "data", "traded", Halt(level=2, reason="asked first", person="ann"))
    assert parsed("resume", "--reason", "asked second")["state"] == "active"
    asked = [type(entry.frame).__name__ for entry in JournalReader(traded / "data" / journal_file("traded")).read(kinds=_OPERATOR)]
    assert asked == ["HaltRequested", "ResumeRequested"]
    assert not list((traded / "data" / commands_folder("traded")).glob("*.json"))
    assert parsed("replay", "--verify")["ok"]


def test_a_halt_whose_executor_ends_without_taking_it_is_journaled_by_the_command(traded: Path) -> None:
    account = ("--account", "leaving")
    with daemon(traded, *account, "--speed", "0.2") as process:
        wait_for_sessions(traded, "leaving", 1, process)
        process.send_signal(signal.SIGSTOP)
        asking = subprocess.Popen(
            [sys.executable, "-m", "live_executor", "halt", "--level", "1", "--reason", "now", "--wait", "2", "--json", *account],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        folder = traded / "data" / commands_folder("leaving")
        deadline = time.monotonic() + 30
        while not list(folder.glob("*.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
        said, _ = asking.communicate(timeout=30)
    assert asking.returncode == 0
    assert json.loads(said)["by"] == "command"
    assert not list(folder.glob("*.json"))
