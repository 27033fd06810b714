"""Backup and restore as a person gives the commands, and what a head outside the data folder notices."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hedgefund_core.layout import account_folder, journal_file
from live_executor.cli import app
from live_executor.journals.chain import chain_hash
from live_executor.journals.sqlite import open_journal

ACCOUNT = "traded"


def executor(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def parsed(*arguments: str, code: int = 0) -> dict:
    result = executor(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_a_restored_account_is_the_one_that_was_backed_up(traded: Path, tmp_path: Path) -> None:
    before = {name: executor(name, "--json").stdout for name in ("positions", "orders", "fills", "pnl")}
    exchange = traded / "data" / account_folder(ACCOUNT) / "exchange.json"
    exchange.write_text("the book of the simulated broker on the wall clock")
    made = parsed("backup", "--to", str(tmp_path / "kept.tar.gz"))
    shutil.rmtree(traded / "data" / account_folder(ACCOUNT))
    assert executor("status").exit_code != 0
    found = parsed("restore", str(tmp_path / "kept.tar.gz"))
    assert (found["account"], found["entries"], found["head"], found["moved_aside"]) == (ACCOUNT, made["seq"], made["head"], "")
    assert {name: executor(name, "--json").stdout for name in before} == before
    assert exchange.read_text() == "the book of the simulated broker on the wall clock"
    assert parsed("audit", "verify")["ok"]
    assert parsed("reconcile")["ok"]
    assert parsed("replay", "--verify")["ok"]


def test_what_was_there_is_moved_aside_and_a_running_executor_is_left_alone(traded: Path, tmp_path: Path) -> None:
    target = tmp_path / "kept.tar.gz"
    parsed("backup", "--to", str(target))
    journal = open_journal(traded / "data", traded / "config" / "keys", ACCOUNT)
    refused = executor("restore", str(target))
    journal.close()
    assert refused.exit_code == 5
    assert "holds account" in refused.output
    found = parsed("restore", str(target))
    assert (Path(found["moved_aside"]) / "journal.sqlite").exists()


@pytest.mark.parametrize("harm", ["cut", "changed", "foreign", "empty"])
def test_a_damaged_backup_changes_nothing(traded: Path, tmp_path: Path, harm: str) -> None:
    target = tmp_path / "kept.tar.gz"
    parsed("backup", "--to", str(target))
    content = target.read_bytes()
    if harm == "cut":
        target.write_bytes(content[: len(content) // 2])
    elif harm == "empty":
        target.write_bytes(b"")
    elif harm == "foreign":
        with tarfile.open(target, "w:gz") as archive:
            archive.add(traded / "config" / "risk.yaml", arcname="risk.yaml")
    else:
        _change_inside(target, tmp_path / "open")
    before = executor("positions", "--json").stdout
    refused = executor("restore", str(target))
    assert refused.exit_code == 4
    assert str(target) in refused.output.replace("\n", "")
    assert executor("positions", "--json").stdout == before
    assert not list((traded / "data" / "live").glob(".restore-*"))


def _change_inside(target: Path, folder: Path) -> None:
    with tarfile.open(target) as archive:
        archive.extractall(folder, filter="data")
    with sqlite3.connect(folder / "journal.sqlite") as database:
        database.execute("UPDATE frames SET ts = ts + 1 WHERE seq = 3")
    database.close()
    with tarfile.open(target, "w:gz") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.add(path, arcname=str(path.relative_to(folder)))


def test_an_end_cut_off_with_all_heads_inside_is_noticed_by_the_head_outside(traded: Path) -> None:
    whole = parsed("audit", "verify")
    assert whole["outside_head"] == whole["entries"] > 100
    with sqlite3.connect(traded / "data" / journal_file(ACCOUNT)) as database:
        database.execute("DELETE FROM heads")
        database.execute("DELETE FROM frames WHERE seq > 100")
    database.close()
    found = parsed("audit", "verify", code=1)
    assert found["first_broken"] == 101
    assert "the end is missing" in found["reason"]
    refused = executor("run", "--account", ACCOUNT)  # it would sign over what shows the cut
    assert refused.exit_code == 1
    assert f"lacks entry {whole['entries']}" in refused.output
    assert "executor restore" in refused.output


def test_an_older_backup_put_in_place_by_a_person_is_whole_and_goes_on(traded: Path, tmp_path: Path) -> None:
    made = parsed("backup", "--to", str(tmp_path / "kept.tar.gz"))
    assert executor("resume", "--reason", "more is journaled and signed after the backup").exit_code == 0
    later = parsed("audit", "verify")
    assert later["outside_head"] > made["seq"]
    aside = Path(parsed("restore", str(tmp_path / "kept.tar.gz"))["moved_aside"])
    assert parsed("audit", "verify")["outside_head"] == made["seq"]
    assert json.loads((aside / "head.json").read_bytes())["seq"] == later["outside_head"]
    assert executor("resume", "--reason", "it goes on").exit_code == 0


def test_a_journal_re_hashed_whole_is_another_journal_and_says_so(traded: Path) -> None:
    with sqlite3.connect(traded / "data" / journal_file(ACCOUNT)) as database:
        database.execute("DELETE FROM heads")
        previous = bytes(32)
        for seq, ts, kind, payload in database.execute("SELECT seq, ts, kind, payload FROM frames ORDER BY seq").fetchall():
            previous = chain_hash(previous, seq, ts + 1, kind, payload)
            database.execute("UPDATE frames SET hash = ?, ts = ? WHERE seq = ?", (previous, ts + 1, seq))
    database.close()
    found = parsed("audit", "verify")
    assert found["outside_head"] == 0
    assert len(found["other_journals"]) == 1
    assert "another journal" in executor("audit", "verify").output
