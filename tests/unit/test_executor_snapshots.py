"""A snapshot shortens a restart and can never change what it comes to."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from hedgefund_core.layout import journal_file
from hedgefund_core.trading import events
from live_executor import recovery, snapshots
from live_executor.app import RunRequest, bundles_of, run
from live_executor.desk import Desk
from live_executor.journals.sqlite import SqliteJournal, open_journal
from live_executor.recovery import Recovered, recover, restart
from live_executor.settings import read_settings
from live_executor.simulation.disk import Disk, SimulatedJournal
from tests.builders import tradable_panel, write_executor_house

T0 = datetime(2026, 3, 2, 15, tzinfo=UTC)


@pytest.fixture
def journal(own_house: Path) -> SqliteJournal:
    bundle = write_executor_house(own_house, tradable_panel(n_sessions=150))
    run(read_settings(), RunRequest(account="a", source="noise", bundle=bundle, max_sessions=12))
    return open_journal(own_house / "data", own_house / "config" / "keys", "a")


def packed(found: Recovered, seq: int, digest: bytes) -> bytes:
    return snapshots.pack(found.state, seq=seq, digest=digest, place=found.place, ts=found.ts)


def same(left: Recovered, right: Recovered) -> bool:
    """States hold arrays: their packed bytes are compared."""
    return (packed(left, 0, b""), left.place, left.ts, left.entries) == (packed(right, 0, b""), right.place, right.ts, right.entries)


def saved_at_head(journal: SqliteJournal) -> Recovered:
    whole = recover(journal.read(), bundles_of(read_settings(), "a"))
    journal.save_snapshot(packed(whole, journal.head.seq, journal.head.hash))
    return whole


def test_a_restart_from_a_snapshot_is_the_restart_from_the_beginning(journal: SqliteJournal, own_house: Path) -> None:
    bundles = bundles_of(read_settings(), "a")
    entries = list(journal.read())
    inputs = [entry.seq for entry in entries if entry.kind == "decision_due"]
    end = inputs[len(inputs) // 2] - 1  # the last entry before a decision in the middle
    middle = recover(entries[:end], bundles)
    journal.save_snapshot(packed(middle, end, entries[end - 1].hash))
    whole = recover(entries, bundles)
    assert same(restart(journal, bundles), whole)
    folded = [turn.seq for turn in recovery.refold(journal.read(end), bundles, start=middle.state)]
    assert 0 < len(folded) < len([entry for entry in entries if entry.kind != "x"])
    journal.close()


@pytest.mark.parametrize("harm", ["signature", "hash", "program", "garbage"])
def test_a_snapshot_that_cannot_be_believed_is_left_aside(
    journal: SqliteJournal, own_house: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    bundles = bundles_of(read_settings(), "a")
    whole = saved_at_head(journal)
    path = own_house / "data" / journal_file("a")
    if harm == "signature":
        with sqlite3.connect(path) as database:
            database.execute("UPDATE snapshots SET payload = CAST(payload || x'00' AS BLOB)")
        database.close()
    elif harm == "hash":
        journal.save_snapshot(packed(whole, journal.head.seq, bytes(32)))
    elif harm == "garbage":
        journal.save_snapshot(b"no snapshot at all")
    else:
        monkeypatch.setattr(snapshots, "program_digest", lambda: "another program")
    folded: list[int] = []
    original = recovery.refold

    def counted(*arguments: object, **named: object) -> object:
        for turn in original(*arguments, **named):  # type: ignore[arg-type]
            folded.append(turn.seq)
            yield turn

    monkeypatch.setattr(recovery, "refold", counted)
    found = restart(journal, bundles)
    assert folded[0] == 1  # from the beginning
    monkeypatch.undo()
    assert same(found, whole)
    journal.close()


def test_a_believed_snapshot_folds_only_what_came_after(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = saved_at_head(journal)
    found = restart(journal, bundles_of(read_settings(), "a"))
    assert same(found, whole)
    assert msgspec.structs.asdict(found.state).keys() == msgspec.structs.asdict(whole.state).keys()
    journal.close()


def test_the_head_of_a_quiet_journal_is_signed_every_few_minutes_and_no_order_waits_for_it() -> None:
    disk, now = Disk(), T0
    journal = SimulatedJournal(disk, lambda: None)
    desk = Desk(journal, restart(journal, lambda _digest: pytest.fail("no bundle")), sign_every=100, now=lambda: now)
    signed = []
    for minute in range(12):
        now = T0 + timedelta(minutes=minute)
        desk.fold([events.SessionBegan(ts=now, session=f"2026-03-{minute + 1:02d}")])
        before = len(disk.heads)
        desk.tidy()
        signed.append((before, len(disk.heads)))
    assert signed == [(0, 0)] * 5 + [(0, 1)] + [(1, 1)] * 4 + [(1, 2)] + [(2, 2)]
    now += timedelta(hours=1)
    desk.tidy()
    desk.tidy()
    assert len(disk.heads) == 3, "what is signed already is not signed again"


def test_a_start_that_had_to_fold_everything_keeps_its_state_with_its_first_commit() -> None:
    disk = Disk()

    def begun() -> Desk:
        journal = SimulatedJournal(disk, lambda: None)
        return Desk(journal, restart(journal, lambda _digest: pytest.fail("no bundle")), sign_every=100, now=lambda: T0, snapshot_every=5)

    for day in range(1, 8):
        begun().fold([events.SessionBegan(ts=T0, session=f"2026-03-{day:02d}")])
    assert [seq for seq, _ in disk.snapshots] == [5]
    disk.snapshots.clear()  # of no use any more: another program made it
    begun().fold([events.SessionBegan(ts=T0, session="2026-03-09")])
    assert [seq for seq, _ in disk.snapshots] == [8], "killed the next moment, it starts quickly again"
