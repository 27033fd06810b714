"""``--help`` is quick, complete and honest: what is listed exists, and nothing heavy is loaded to list it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from live_executor.cli import app

ROOT = Path(__file__).resolve().parents[2]
READING = [
    "status", "positions", "orders", "fills", "pnl", "risk", "signals", "models", "explain", "plan", "decision", "statement",
    "reconcile", "replay", "parity", "doctor",
]  # fmt: skip
COMMANDS = [
    *READING, "run", "order", "cancel", "backup", "restore", "halt", "resume", "flatten", "simulate", "watchdog", "audit", "config",
    "model",
]  # fmt: skip
HEAVY = {"numpy", "msgspec", "yaml", "rich", "asyncio", "sqlite3", "structlog"}
BUDGET_SECONDS = 0.3
BUSY = 3.0
"""Tests share their cores: the budget is the quiet machine's."""


def test_help_lists_every_command_and_no_other() -> None:
    text = CliRunner().invoke(app, ["--help"]).stdout
    listed = [line.split()[0] for line in text.split("Commands:")[1].splitlines() if line.strip()]
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage:")


def test_help_is_quick() -> None:
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-m", "live_executor", "--help"], cwd=ROOT, check=True, capture_output=True)
        seconds.append(time.perf_counter() - begun)
    assert min(seconds) <= BUDGET_SECONDS * BUSY, f"best of five: {min(seconds):.2f} s"


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, live_executor.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert not HEAVY & set(done.stdout.split())


def test_the_reading_commands_take_json() -> None:
    for command in READING:
        assert "--json" in CliRunner().invoke(app, [command, "--help"]).stdout, command
    assert "--json" in CliRunner().invoke(app, ["audit", "verify", "--help"]).stdout
    assert "--json" in CliRunner().invoke(app, ["config", "show", "--help"]).stdout
