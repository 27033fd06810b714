"""Accounts that several integration tests look at: made once, copied for each test."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import tradable_panel, write_executor_house


@pytest.fixture(scope="session")
def traded_house(tmp_path_factory: pytest.TempPathFactory, session_house: Path) -> Path:
    """An account that has traded some 70 sessions in a process of its own; tests work on copies."""
    house = tmp_path_factory.mktemp("traded")
    shutil.copytree(session_house / "config", house / "config", ignore=shutil.ignore_patterns("keys"))
    bundle = write_executor_house(house, tradable_panel(n_sessions=200))
    command = [sys.executable, "-m", "live_executor", "run", "--source", "noise", "--bundle", str(bundle), "--account", "traded", "--json"]
    env = {"HEDGEFUND_DATA_DIR": str(house / "data"), "HEDGEFUND_CONFIG_DIR": str(house / "config"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fills"] > 20
    return house


@pytest.fixture
def traded(traded_house: Path, own_house: Path) -> Path:
    shutil.copytree(traded_house, own_house, dirs_exist_ok=True)
    return own_house
