"""Bad input, as a person meets it: what, why, the command that mends it, the exit code; a traceback only when asked for."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hedgefund_core.layout import broker_book_file, journal_file
from live_executor.cli import app
from live_executor.settings import read_settings
from tests.builders import tradable_panel, write_bundle, write_executor_house


def executor(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def refused(code: int, *arguments: str) -> str:
    result = executor(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    if code != 2:
        assert re.search(r"^error: .+\n  why:  .+", result.stderr, re.MULTILINE)
        assert re.search(r"^  mend: .+\n  id:   [0-9a-f]{12}$", result.stderr, re.MULTILINE)
    return result.stderr


def test_a_misspelt_key_names_file_and_key_and_the_nearest_one(own_house: Path) -> None:
    path = own_house / "config" / "trading.yaml"
    path.write_text(path.read_text().replace("initial_cash:", "inital_cash:"))
    for command in (("run",), ("status",), ("config", "validate")):
        said = refused(3, *command)
        assert "config/trading.yaml" in said
        assert "inital_cash" in said
        assert "initial_cash" in said


@pytest.mark.parametrize("name", ["trading", "risk", "models", "sources"])
def test_a_missing_or_unreadable_file_is_a_configuration_error(own_house: Path, name: str) -> None:
    path = own_house / "config" / f"{name}.yaml"
    path.write_text("a: [")
    assert f"{name}.yaml" in refused(3, "config", "validate")
    path.unlink()
    assert f"{name}.yaml" in refused(3, "config", "validate")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--mode", "turbo"), "replay | paper | live"),
        (("--mode", "replay", "--broker", "ibkr"), "simulated | simulated_process"),
        (
            (
                "--mode",
                "paper",
            ),
            "ALPACA_API_KEY",
        ),
        (("--broker", "alpaca"), "ALPACA_API_KEY"),
        (("--feed", "alpaca"), "ALPACA_API_KEY"),
        (("--targets", "t.json"), "ALPACA_API_KEY"),
        (("--mode", "paper", "--rebalance-every", "often"), "500ms, 30s, 1m, 1h or session"),
        (("--mode", "live"), "--live"),
        (("--mode", "live", "--live"), "live.sentence"),
        (("--mode", "paper", "--live"), "--mode live --live"),
    ],
)
def test_what_cannot_be_traded_on_is_said(own_house: Path, arguments: tuple[str, ...], said: str) -> None:
    assert said in refused(3, "run", *arguments)


def test_no_journal_says_which_command_makes_one(own_house: Path) -> None:
    assert "executor run" in refused(7, "status")
    assert "make demo" in refused(7, "replay", "--verify", "--account", "nobody")


def test_no_data_says_which_command_brings_it(own_house: Path) -> None:
    assert "make demo" in refused(7, "run")
    assert "not opened yet" in refused(7, "status", "--account", "demo")


def test_no_champion_is_a_dependency_that_is_down(own_house: Path) -> None:
    write_executor_house(own_house, tradable_panel(n_sessions=60), trained=40)
    assert "make demo" in refused(7, "run", "--source", "noise")


def test_a_tampered_bundle_is_refused_with_nothing_traded(own_house: Path) -> None:
    bundle = write_executor_house(own_house, tradable_panel(n_sessions=60), trained=40)
    model = bundle / "model.npz"
    content = bytearray(model.read_bytes())
    content[-30] ^= 1
    model.write_bytes(bytes(content))
    assert "model.npz is not the file that was signed" in refused(4, "run", "--source", "noise", "--bundle", str(bundle))
    assert refused(4, "run", "--source", "noise", "--bundle", str(bundle), "--account", "other")


def test_a_version_that_did_not_pass_the_gate_is_refused(own_house: Path) -> None:
    panel = tradable_panel(n_sessions=60)
    write_executor_house(own_house, panel, trained=40)
    ungated = write_bundle(own_house, panel, trained=40, name="ungated", passed=False)
    said = refused(4, "run", "--source", "noise", "--bundle", str(ungated))
    assert "gate" in said
    assert "alias" in said


def test_an_unknown_key_signs_nothing(own_house: Path) -> None:
    bundle = write_executor_house(own_house, tradable_panel(n_sessions=60), trained=40)
    (own_house / "config" / "keys" / "promotion.pub").unlink()
    assert "not signed by a trusted key" in refused(4, "run", "--source", "noise", "--bundle", str(bundle))


def test_a_damaged_panel_is_bad_data(own_house: Path) -> None:
    bundle = write_executor_house(own_house, tradable_panel(n_sessions=60), trained=40)
    panel = own_house / "data" / "processed" / "panels" / "noise" / "panel.npz"
    panel.write_bytes(panel.read_bytes()[:5000])
    assert panel.name in refused(4, "run", "--source", "noise", "--bundle", str(bundle))


def test_a_tampered_journal_stops_the_executor_and_the_audit_says_where(traded: Path) -> None:
    with sqlite3.connect(traded / "data" / journal_file("traded")) as database:
        seq, payload = database.execute("SELECT seq, payload FROM frames WHERE kind = 'account_marked' ORDER BY seq LIMIT 1").fetchone()
        database.execute("UPDATE frames SET payload = ? WHERE seq = ?", (payload.replace(b'"gross":0.0', b'"gross":0.1'), seq))
    result = executor("audit", "verify")
    assert result.exit_code == 1
    assert f"entry {seq}" in result.stdout
    refused(1, "run", "--source", "noise", "--bundle", str(traded / "bundle"), "--account", "traded")


def test_a_journal_that_is_no_database_is_said(traded: Path) -> None:
    path = traded / "data" / journal_file("traded")
    for file in path.parent.glob("journal.sqlite*"):
        file.unlink()
    path.write_bytes(b"not a database" * 400)
    assert path.name in refused(1, "status")
    assert path.read_bytes() == b"not a database" * 400, "what is there may be of use to somebody who mends it"


def test_an_unknown_symbol_is_a_usage_error(traded: Path) -> None:
    for command in (("orders", "--symbol", "NOPE"), ("fills", "--symbol", "NOPE"), ("explain", "--bar", "NOPE@2001-05-04")):
        said = refused(2, *command)
        assert "unknown symbol 'NOPE'" in said
        assert "S1" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "zzz"),
        ("explain",),
        ("explain", ""),
        ("explain", "--bar", "S1@1980-01-01"),
        ("explain", "--bar", "S1"),
        ("decision", "1999"),
        ("decision", "2001"),
        ("statement", "--month", "may"),
        ("replay",),
        ("replay", "--verify", "--session", "soon"),
        ("replay", "--verify", "--session", "1999-01-04"),
        ("orders", "--status", "bogus"),
        ("status", "--account", "../other"),
        ("status", "--account", "a b"),
        ("run", "--from", "yesterday"),
        ("config", "schema", "nothing"),
        ("nonsense",),
        ("status", "--nonsense"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(traded: Path, arguments: tuple[str, ...]) -> None:
    assert refused(2, *arguments)


def test_a_traceback_is_shown_only_with_debug_wherever_it_stands(own_house: Path) -> None:
    for arguments in (("--debug", "status"), ("status", "--debug")):
        result = executor(*arguments)
        assert result.exit_code == 7
        assert "Traceback" in result.stderr


def test_ctrl_c_anywhere_is_130_without_a_traceback(traded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from live_executor.queries import account

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(account, "positions", interrupted)
    result = executor("positions")
    assert result.exit_code == 130
    assert "Traceback" not in result.output


def test_an_account_cannot_be_named_out_of_its_folder(own_house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEDGEFUND_TRADING__ACCOUNT", "../../elsewhere")
    assert "is no account name" in refused(3, "run")
    assert not (own_house / "elsewhere").exists()


def test_a_start_that_fails_does_not_become_the_account_looked_at(traded: Path) -> None:
    refused(7, "run", "--source", "noise", "--account", "mistyped")
    assert '"account": "traded"' in executor("status", "--json").stdout


def test_an_empty_variable_means_the_default_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEDGEFUND_DATA_DIR", "HEDGEFUND_CONFIG_DIR"):
        monkeypatch.setenv(name, "")
    settings = read_settings()
    assert (settings.data, settings.config) == (Path("data"), Path("config"))


def test_a_lost_journal_is_not_begun_again(traded: Path) -> None:
    path = traded / "data" / journal_file("traded")
    for file in path.parent.glob("journal.sqlite*"):
        file.unlink()
    for _ in range(2):
        assert "the journal was lost" in refused(1, "run", "--source", "noise", "--bundle", str(traded / "bundle"), "--account", "traded")


def test_a_lost_book_of_the_broker_is_not_begun_again(traded: Path) -> None:
    path = traded / "data" / broker_book_file("traded")
    for file in path.parent.glob("*"):
        file.unlink()
    for _ in range(2):
        assert "the book was lost" in refused(5, "run", "--source", "noise", "--bundle", str(traded / "bundle"), "--account", "traded")


def test_a_folder_that_cannot_be_written_is_said_and_not_called_unforeseen(own_house: Path) -> None:
    (own_house / "data").mkdir(exist_ok=True)
    (own_house / "data" / "live").write_text("a file stands where the folder should be")
    said = refused(1, "run")
    assert "make the folder writable" in said
    assert "nobody foresaw" not in said
