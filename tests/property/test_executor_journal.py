"""The journal: durable, chained, signed; every kind of damage is named, and a second writer is refused."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Timer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgefund_core.errors import ConfigError, Halted, JournalError
from hedgefund_core.layout import journal_file
from hedgefund_core.trading import events as e
from live_executor.journals import JOURNALS
from live_executor.journals.chain import chain_hash, microseconds
from live_executor.journals.lock import holder_of
from live_executor.journals.sqlite import JournalReader, SqliteJournal, open_journal

T0 = datetime(2020, 1, 2, 21, 15, tzinfo=UTC)


def frames(count: int) -> list[e.Event]:
    return [e.SessionBegan(ts=T0 + timedelta(microseconds=n), session=f"2020-01-{n % 28 + 1:02d}") for n in range(count)]


@pytest.fixture
def data(own_house: Path) -> Path:
    return own_house / "data"


@pytest.fixture
def keys(own_house: Path) -> Path:
    return own_house / "config" / "keys"


def written(data: Path, keys: Path, count: int = 12) -> Path:
    journal = open_journal(data, keys, "a")
    for frame in frames(count):
        journal.append([frame])
    journal.sign_head(T0)
    journal.close()
    return data / journal_file("a")


def damaged(path: Path, statement: str, values: tuple[object, ...] = ()) -> JournalReader:
    with sqlite3.connect(path) as database:
        database.execute(statement, values)
    database.close()
    return JournalReader(path)


def rehash(path: Path) -> None:
    """What an honest or a dishonest tool would do after a change: chain everything again."""
    previous = bytes(32)
    with sqlite3.connect(path) as database:
        for seq, ts, kind, payload in database.execute("SELECT seq, ts, kind, payload FROM frames ORDER BY seq").fetchall():
            previous = chain_hash(previous, seq, ts, kind, payload)
            database.execute("UPDATE frames SET hash = ? WHERE seq = ?", (previous, seq))
    database.close()


def test_what_was_appended_is_read_back_in_order_and_verifies(data: Path, keys: Path) -> None:
    reader = JournalReader(written(data, keys))
    assert [entry.frame for entry in reader.read()] == frames(12)
    assert [entry.seq for entry in reader.read(after_seq=9)] == [10, 11, 12]
    assert list(reader.read(kinds=("bars_closed",))) == []
    result = reader.verify(keys)
    assert (result.ok, result.entries, result.signed_through, result.first_broken) == (True, 12, 12, None)


def test_layout_of_the_hash_is_what_the_docstring_says(data: Path, keys: Path) -> None:
    import hashlib

    entry = next(JournalReader(written(data, keys, 1)).read())
    told = bytes(32) + (1).to_bytes(8, "big") + microseconds(T0).to_bytes(8, "big", signed=True) + b"session_began" + entry.payload
    assert entry.hash == hashlib.sha256(told).digest()


def test_a_group_is_written_whole_and_a_restart_continues_the_chain(data: Path, keys: Path) -> None:
    journal = open_journal(data, keys, "a")
    assert journal.append(frames(5)).seq == 5
    journal.close()
    again = JOURNALS["sqlite"](data, keys, "a")
    assert again.head.seq == 5
    again.append(frames(2))
    again.close()
    assert JournalReader(data / journal_file("a")).verify(keys).entries == 7


@given(
    number=st.integers(1, 6), column=st.sampled_from(["ts", "kind", "payload", "hash"]), place=st.integers(0, 10_000), bit=st.integers(0, 7)
)
def test_any_flipped_bit_is_named(tmp_path_factory: pytest.TempPathFactory, number: int, column: str, place: int, bit: int) -> None:
    house = tmp_path_factory.getbasetemp() / "flipped"
    original = house / "original.sqlite"
    if not original.exists():
        shutil.copy(written(house / "data", house / "keys", 6), original)
    copy = tmp_path_factory.mktemp("flip") / "journal.sqlite"
    shutil.copy(original, copy)
    with sqlite3.connect(copy) as database:
        value = database.execute(f"SELECT {column} FROM frames WHERE seq = ?", (number,)).fetchone()[0]
        if column == "ts":
            changed: object = value ^ (1 << (place % 50))
        else:
            raw = bytearray(value.encode() if column == "kind" else value)
            raw[place % len(raw)] ^= 1 << (bit % 7 if column == "kind" else bit)
            changed = raw.decode() if column == "kind" else bytes(raw)
        database.execute(f"UPDATE frames SET {column} = ? WHERE seq = ?", (changed, number))
    database.close()
    reader = JournalReader(copy)
    result = reader.verify(house / "keys")
    reader.close()
    assert (result.ok, result.first_broken) == (False, number)


def test_a_missing_entry_is_named(data: Path, keys: Path) -> None:
    result = damaged(written(data, keys), "DELETE FROM frames WHERE seq = 5").verify(keys)
    assert (result.ok, result.first_broken) == (False, 5)


def test_a_cut_off_end_is_found_by_the_signed_head(data: Path, keys: Path) -> None:
    result = damaged(written(data, keys), "DELETE FROM frames WHERE seq > 7").verify(keys)
    assert (result.ok, result.first_broken, result.entries) == (False, 8, 7)
    assert "signed at 12" in result.reason


def test_an_honest_rehash_is_found_by_the_signed_head(data: Path, keys: Path) -> None:
    path = written(data, keys)
    damaged(path, "UPDATE frames SET payload = ? WHERE seq = 3", (e.encode(frames(20)[15]),)).close()
    rehash(path)
    result = JournalReader(path).verify(keys)
    assert (result.ok, result.first_broken) == (False, 12)
    assert "re-hashed" in result.reason


def test_a_forged_head_is_found(data: Path, keys: Path) -> None:
    path = written(data, keys)
    damaged(path, "UPDATE heads SET signature = ?", (bytes(64),)).close()
    assert not JournalReader(path).verify(keys).ok


def test_a_torn_tail_loses_only_what_was_never_acknowledged(data: Path, keys: Path) -> None:
    journal = open_journal(data, keys, "a")
    path, wal = data / journal_file("a"), (data / journal_file("a")).with_name("journal.sqlite-wal")
    copy = data / "torn.sqlite"
    for frame in frames(6):
        journal.append([frame])
    shutil.copy(path, copy)
    intact = wal.read_bytes()
    used = len(intact.rstrip(b"\0"))
    kept = []
    for cut in range(used, used - 9000, -1500):
        copy.with_name("torn.sqlite-wal").write_bytes(intact[:cut])
        copy.with_name("torn.sqlite-shm").unlink(missing_ok=True)
        with sqlite3.connect(copy) as database:
            numbers = [row[0] for row in database.execute("SELECT seq FROM frames ORDER BY seq")]
        database.close()
        shutil.copy(path, copy)
        assert numbers == list(range(1, len(numbers) + 1))
        kept.append(len(numbers))
    assert kept == sorted(kept, reverse=True)
    journal.close()


def test_durability_settings_are_those_promised(data: Path, keys: Path) -> None:
    journal = open_journal(data, keys, "a")
    assert journal._database.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert journal._database.execute("PRAGMA synchronous").fetchone()[0] == 2
    journal.close()


def test_after_a_failed_commit_nothing_more_is_written(data: Path, keys: Path) -> None:
    journal = open_journal(data, keys, "a")
    journal.append(frames(2))
    journal._database.execute("PRAGMA max_page_count = 1")  # SQLite raises it to the present size: the file cannot grow, as on a full disk
    large = e.AlertRaised(ts=T0, severity="info", message="x" * 20_000_000)  # more than the space reserved
    with pytest.raises(JournalError, match="cannot write"):
        journal.append([large])
    written_so_far = journal.head.seq
    journal._database.execute("PRAGMA max_page_count = 1000000")
    with pytest.raises(JournalError, match="stays closed"):
        journal.append(frames(1))
    journal.close()
    result = JournalReader(data / journal_file("a")).verify(keys)
    assert (result.ok, result.entries) == (True, written_so_far)


def test_a_second_writer_is_refused_naming_the_holder(data: Path, keys: Path) -> None:
    journal = open_journal(data, keys, "a")
    attempt = """if True:
        import sys
        from pathlib import Path
        from hedgefund_core.errors import Halted
        from live_executor.journals.sqlite import open_journal
        try:
            open_journal(Path(sys.argv[1]), Path(sys.argv[2]), "a")
        except Halted as error:
            print(error.message)
            sys.exit(error.exit_code)
    """
    second = subprocess.run([sys.executable, "-c", attempt, str(data), str(keys)], capture_output=True, text=True, check=False)
    assert second.returncode == 5
    assert f"process {os.getpid()}" in second.stdout
    with pytest.raises(Halted):
        open_journal(data, keys, "a")
    assert holder_of(data / "live" / "a") == os.getpid()
    journal.close()
    assert holder_of(data / "live" / "a") is None
    open_journal(data, keys, "a").close()


def test_readers_read_while_the_writer_writes(data: Path, keys: Path) -> None:
    journal = open_journal(data, keys, "a")
    journal.append(frames(3))
    reader = JournalReader(data / journal_file("a"))
    journal.append(frames(2))
    assert reader.head.seq == 5
    assert sum(1 for _ in reader.read()) == 5
    journal.close()


def test_a_journal_that_is_being_made_is_waited_for_and_never_called_broken(data: Path, keys: Path) -> None:
    path = data / journal_file("paper")
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(JournalError, match="still making it"):
        JournalReader(path)
    maker = Timer(0.2, lambda: open_journal(data, keys, "paper").close())
    maker.start()
    try:
        assert list(JournalReader(path).read()) == []
    finally:
        maker.join()


def test_key_is_private_and_a_public_one_is_refused(data: Path, keys: Path) -> None:
    written(data, keys)
    assert (keys / "journal.key").stat().st_mode & 0o777 == 0o600
    (keys / "journal.key").chmod(0o644)
    with pytest.raises(ConfigError, match="read by others"):
        open_journal(data, keys, "b")


def test_a_lost_public_key_is_read_from_the_private_one_and_losing_both_is_said(data: Path, keys: Path) -> None:
    path = written(data, keys)
    (keys / "journal.pub").unlink()
    assert JournalReader(path).verify(keys).ok
    assert not (keys / "journal.pub").exists()  # reading writes nothing
    (keys / "journal.key").unlink()
    with pytest.raises(ConfigError, match=r"neither journal\.pub nor journal\.key"):
        JournalReader(path).verify(keys)


def test_no_journal_is_said_with_the_mending_command(data: Path) -> None:
    with pytest.raises(JournalError) as caught:
        JournalReader(data / journal_file("nobody"))
    assert "executor run" in caught.value.mend


def test_a_file_damaged_below_the_rows_is_reported_not_raised(data: Path, keys: Path) -> None:
    path = written(data, keys, 400)
    content = bytearray(path.read_bytes())
    size = int.from_bytes(content[16:18], "big")  # of a page: https://sqlite.org/fileformat.html
    for page in range(2 * size, len(content), size):
        if b"session_began" in content[page : page + size]:
            content[page : page + 8] = b"\xff" * 8
    path.write_bytes(content)
    result = JournalReader(path).verify(keys)
    assert not result.ok
    assert result.first_broken is not None


def test_writer_type_is_the_port(data: Path, keys: Path) -> None:
    journal = open_journal(data, keys, "a")
    assert isinstance(journal, SqliteJournal)
    assert journal.head.seq == 0
    journal.sign_head(T0)  # an empty journal has no head to sign
    journal.close()
    assert JournalReader(data / journal_file("a")).signed_heads() == []


def test_a_journal_of_an_earlier_format_is_refused_but_still_verified(data: Path, keys: Path) -> None:
    journal = open_journal(data, keys, "a")
    journal.append([e.SessionBegan(ts=T0, session="2020-01-02")])
    journal.sign_head(T0)
    journal.close()
    path = data / journal_file("a")
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version=0")
    with pytest.raises(JournalError, match="format 1, this program reads format"):
        open_journal(data, keys, "a")
    reader = JournalReader(path)
    with pytest.raises(JournalError, match="format 1"):
        next(reader.read())
    assert next(reader.read(kinds=("session_began",))).seq == 1, "an account can be halted whatever wrote its journal"
    assert reader.verify(keys).ok
    reader.close()


def test_a_journal_of_other_pages_keeps_them_and_goes_on(data: Path, keys: Path) -> None:
    path = data / journal_file("a")
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA page_size=4096")
        database.execute("CREATE TABLE begun (by TEXT)")
    database.close()
    journal = open_journal(data, keys, "a")
    journal.append([*frames(40), e.AlertRaised(ts=T0, severity="warning", message="x" * 300_000)])
    journal.sign_head(T0)
    journal.close()
    assert int.from_bytes(path.read_bytes()[16:18], "big") == 4096
    found = JournalReader(path).verify(keys)
    assert (found.ok, found.entries) == (True, 41)


def test_tidying_moves_what_is_durable_and_changes_nothing(data: Path, keys: Path) -> None:
    journal = open_journal(data, keys, "a")
    for _ in range(4):
        journal.append([e.AlertRaised(ts=T0, severity="warning", message="x" * 300_000)])
    path, hashes = data / journal_file("a"), [entry.hash for entry in journal.read()]
    assert b"x" * 3000 not in path.read_bytes(), "commits stand in the write-ahead log"
    log, began = path.with_name(f"{path.name}-wal"), 32  # bytes that say where a log began
    journal.tidy()
    assert b"x" * 3000 in path.read_bytes()
    begun = log.read_bytes()[:began]
    journal.append(frames(1))
    assert log.read_bytes()[:began] == begun, "no commit after it has to begin the log anew"
    assert [entry.hash for entry in journal.read()][:4] == hashes
    journal.close()
    assert JournalReader(path).verify(keys).ok
