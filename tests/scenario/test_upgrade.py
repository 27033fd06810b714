"""An upgrade changes feature code: the account's books survive it, its old model does not trade on, a new one does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from live_executor.app import RunRequest, run
from live_executor.settings import read_settings
from tests.builders import tradable_panel, write_executor_house

ROOT = Path(__file__).resolve().parents[2]
TRAINED = 130
AFTER_THE_UPGRADE = """
import sys
from pathlib import Path
from hedgefund_core.errors import HedgefundError
from live_executor.app import RunRequest, run
from live_executor.settings import read_settings
from tests.builders import tradable_panel, write_bundle

house, old = Path(sys.argv[1]), Path(sys.argv[2])
panel = tradable_panel(n_sessions=138, n_symbols=6)
try:
    run(read_settings(), RunRequest(account="a", source="noise", bundle=old))
except HedgefundError as error:
    print(type(error).__name__, error.exit_code)
fresh = write_bundle(house, panel, feature="volatility_63", trained=134, name="fresh")
summary = run(read_settings(), RunRequest(account="a", source="noise", bundle=fresh))
print(summary.sessions, summary.fills > 0, summary.state.ledger.cash)
"""


def test_an_account_survives_a_change_of_feature_code(own_house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEDGEFUND_RISK__MANDATES__MARKET_NEUTRAL__REBALANCING__ANCHOR", "every")
    panel = tradable_panel(n_sessions=138, n_symbols=6)
    bundle = write_executor_house(own_house, panel, trained=TRAINED)
    before = run(read_settings(), RunRequest(account="a", source="noise", bundle=bundle, last=str(panel.sessions[TRAINED + 4])))
    upgraded = tmp_path / "upgraded"
    for package in ("hedgefund_core", "live_executor", "tests"):
        shutil.copytree(ROOT / package, upgraded / package, ignore=shutil.ignore_patterns("__pycache__"))
    kernels = upgraded / "hedgefund_core" / "quant" / "features" / "kernels.py"
    kernels.write_text(kernels.read_text(encoding="utf-8") + "\n# another version\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", AFTER_THE_UPGRADE, str(own_house), str(bundle)],
        cwd=upgraded,
        env={**os.environ, "PYTHONPATH": str(upgraded)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    refused, traded = done.stdout.splitlines()
    assert refused == "ModelOutdated 4"  # the old bundle must not trade with code it was not trained with
    sessions, filled, cash = traded.split()
    assert (sessions, filled) == ("3", "True")
    assert cash != str(before.state.ledger.cash)
