"""Live against backtest of the same sessions: nothing differs on a replay, and each planted difference is named by its cause."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace as changed
from typer.testing import CliRunner

from hedgefund_core.layout import journal_file, panel_file
from hedgefund_core.quant.panel_codec import pack_panel, unpack_panel
from hedgefund_core.trading import events as e
from live_executor.cli import app

CAUSES = ("data", "model", "decision", "execution", "cost")


def report(*more: str) -> Any:
    result = CliRunner().invoke(app, ["parity", "--account", "traded", "--json", *more])
    assert result.exit_code == 0, result.output + result.stderr
    return json.loads(result.stdout)


def sums_conserve(found: Any) -> None:
    for row in found["sessions"]:
        parts = sum(Decimal(row["by_cause"][cause]) for cause in CAUSES)
        assert parts == Decimal(row["live_pnl"]) - Decimal(row["backtest_pnl"]), row
    totals = sum(Decimal(found["by_cause"][cause]) for cause in CAUSES)
    assert totals == Decimal(found["live_pnl"]) - Decimal(found["backtest_pnl"])


def change(house: Path, edit: Callable[[e.Frame], e.Frame | None]) -> None:
    """Edit the journal's frames in place; its chain is then broken, which is another command's business."""
    with sqlite3.connect(house / "data" / journal_file("traded")) as connection:
        connection.execute("DROP TRIGGER IF EXISTS frames_no_update")
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        for seq, payload in connection.execute("SELECT seq, payload FROM frames").fetchall():
            edited = edit(e.decode(bytes(payload)))
            if edited is not None:
                connection.execute("UPDATE frames SET payload = ? WHERE seq = ?", (e.encode(edited), seq))


def test_a_replayed_account_equals_its_backtest_to_the_last_digit(traded: Path) -> None:
    found = report()
    assert found["ok"], found["findings"][:5]
    assert len(found["sessions"]) > 60
    assert {Decimal(found["by_cause"][cause]) for cause in CAUSES} == {Decimal(0)}
    assert found["findings"] == []
    assert sum(row["fills"] for row in found["sessions"]) > 20
    (kind,) = found["slippage"]
    assert kind["live_bps"] == pytest.approx(kind["simulated_bps"])
    one = found["sessions"][10]["session"]
    assert [row["session"] for row in report("--session", one)["sessions"]] == [one]


def test_a_bar_that_the_lake_corrected_is_a_difference_of_data_only(traded: Path) -> None:
    session = report()["sessions"][20]["session"]
    path = next((traded / "data").glob(panel_file("noise")))
    panel = unpack_panel(path.read_bytes())
    row = int(np.searchsorted(panel.sessions, np.datetime64(session)))
    close = panel.close.copy()
    close[row, :4] *= 1.03
    path.write_bytes(pack_panel(replace(panel, close=close, data_version="")))
    found = report()
    sums_conserve(found)
    assert not found["ok"]
    assert {finding["cause"] for finding in found["findings"]} == {"data"}
    assert Decimal(found["by_cause"]["data"]) != 0
    assert {cause for cause in CAUSES if Decimal(found["by_cause"][cause]) != 0} == {"data"}


def test_a_bar_changed_in_the_journal_is_named_as_data(traded: Path) -> None:
    sessions = [row["session"] for row in report()["sessions"]]

    def edit(frame: e.Frame) -> e.Frame | None:
        if isinstance(frame, e.BarsClosed) and frame.session == sessions[20]:
            return changed(frame, close=(frame.close[0] * 1.2, *frame.close[1:]))
        return None

    change(traded, edit)
    found = report()
    sums_conserve(found)
    assert found["findings"][0]["cause"] == "data"
    assert Decimal(found["by_cause"]["decision"]) == 0


def test_worse_fills_are_execution_and_higher_commissions_are_cost(traded: Path) -> None:
    filled: list[e.OrderFilled] = []

    def edit(frame: e.Frame) -> e.Frame | None:
        if isinstance(frame, e.OrderFilled) and not filled:
            filled.append(frame)
            return changed(frame, commission=frame.commission + Decimal("7.5"))
        return None

    change(traded, edit)
    found = report("--session", filled[0].session)
    sums_conserve(found)
    assert Decimal(found["by_cause"]["cost"]) == Decimal("-7.5")
    assert {finding["cause"] for finding in found["findings"]} >= {"cost"}


def test_another_model_at_hand_is_a_difference_of_the_model(traded: Path) -> None:
    (manifest,) = (traded / "data" / "live" / "traded" / "bundles").glob("*/manifest.json")
    content = json.loads(manifest.read_bytes())
    manifest.write_bytes(json.dumps({**content, "name": "another"}).encode())
    found = report()
    sums_conserve(found)
    assert {finding["cause"] for finding in found["findings"]} == {"model"}
    assert not found["ok"]


def test_the_asset_tells_the_same_and_its_check_names_the_cause(traded: Path) -> None:
    import dagster as dg

    from hedgefund_dagster.defs.post_trade.assets import journal_frames, parity
    from hedgefund_dagster.defs.post_trade.checks import live_equals_backtest
    from hedgefund_dagster.resources.journal_reader import JournalReaderResource
    from hedgefund_dagster.resources.lake import LakeResource

    resources = {"journals": JournalReaderResource(data_dir=str(traded / "data")), "lake": LakeResource(data_dir=str(traded / "data"))}
    ops = {asset.op.name: {"config": {"account": "traded"}} for asset in (journal_frames, parity)}
    done = dg.materialize([journal_frames, parity, live_equals_backtest], resources=resources, run_config={"ops": ops})
    assert done.success
    (check,) = done.get_asset_check_evaluations()
    assert check.passed, check.description
    written = json.loads((traded / "data" / "reports" / "parity_traded.json").read_bytes())
    shown = report()
    assert {name: written[name] for name in ("live_pnl", "backtest_pnl", "by_cause")} == {
        name: shown[name] for name in ("live_pnl", "backtest_pnl", "by_cause")
    }
