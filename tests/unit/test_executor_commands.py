"""The mailbox: a halt gets through whatever lies in the folder, and whatever the disk takes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hedgefund_core.errors import JournalError
from hedgefund_core.layout import commands_folder, halt_file
from live_executor.commands import Halt, Mailbox, send
from live_executor.journals import external
from live_executor.live import cursor, heartbeat
from live_executor.live.cursor import ActivityCursor

T0 = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
STOP = Halt(level=2, reason="enough", person="ann")


def test_a_file_of_another_name_keeps_nobody_from_leaving_a_halt(tmp_path: Path) -> None:
    folder = tmp_path / commands_folder("a")
    folder.mkdir(parents=True)
    (folder / "note-to-self.json").write_text("{}")
    assert send(tmp_path, "a", STOP).name.startswith("00000001-")
    assert send(tmp_path, "a", STOP).name.startswith("00000002-")


def test_what_cannot_be_read_is_the_strictest_halt(tmp_path: Path) -> None:
    (tmp_path / commands_folder("a") / "00000001-1.json").mkdir(parents=True)
    (tmp_path / halt_file("a")).mkdir()
    mailbox = Mailbox(tmp_path, "a")
    assert [command.level for _, command in mailbox.commands() if isinstance(command, Halt)] == [4]
    latched = mailbox.halt_file_event("2026-03-02", T0)
    assert latched is not None
    assert latched.level == 4


def test_a_halt_file_that_cannot_be_written_stops_no_cancel(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path, "a")
    mailbox.mirror(on=True)  # the account has no folder
    assert mailbox.halt_file_event("2026-03-02", T0) is None
    (tmp_path / halt_file("a")).parent.mkdir(parents=True)
    mailbox.mirror(on=True)
    assert mailbox.halt_file_event("2026-03-02", T0) is None, "ours is a mirror and asks for nothing"
    mailbox.mirror(on=False)
    assert not (tmp_path / halt_file("a")).exists()


def test_a_mirror_never_covers_the_halt_file_of_a_person_that_nobody_has_read(tmp_path: Path) -> None:
    (tmp_path / halt_file("a")).parent.mkdir(parents=True)
    (tmp_path / halt_file("a")).write_text("stop everything")
    mailbox = Mailbox(tmp_path, "a")
    mailbox.mirror(on=True)  # somebody else asks for less at the same time
    latched = mailbox.halt_file_event("2026-03-02", T0)
    assert latched is not None
    assert latched.level == 4


@pytest.mark.parametrize("content", [b'{"after":"\xff","pid":1}', b"[" * 100_000], ids=["no text", "too deep"])
def test_a_file_whose_bytes_have_rotted_ends_nothing(tmp_path: Path, content: bytes) -> None:
    for name in (cursor.FILE, heartbeat.FILE):
        (tmp_path / name).write_bytes(content)
    assert ActivityCursor(tmp_path, fallback="7").after == "7", "the journal's own"
    assert heartbeat.read(tmp_path) is None
    (tmp_path / commands_folder("a")).mkdir(parents=True)
    (tmp_path / commands_folder("a") / "00000001-1.json").write_bytes(content)
    ((_, command),) = Mailbox(tmp_path, "a").commands()
    assert isinstance(command, Halt)
    (tmp_path / external.FOLDER).mkdir()
    (tmp_path / external.FOLDER / "a.j.json").write_bytes(content)
    with pytest.raises(JournalError, match="no signed head"):
        external.kept(tmp_path, "a", "j")
