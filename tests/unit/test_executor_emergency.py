"""The emergency log: room from the first day, durable, and a torn end costs the torn record only."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hedgefund_core.errors import JournalError
from live_executor.journals.emergency import FILE, Act, EmergencyAct, EmergencyLog

T0 = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def act(number: int, note: str = "") -> EmergencyAct:
    return EmergencyAct(number=number, ts=T0, act=Act.CANCEL, person="ann", reason="disk full", client_order_id=f"o{number}", note=note)


def test_acts_are_read_in_order_and_numbers_go_on(tmp_path: Path) -> None:
    log = EmergencyLog(tmp_path)
    assert (log.read(), log.next_number) == ([], 1)
    log.prepare()
    for number in (1, 2, 3):
        log.write(act(number))
    assert [found.client_order_id for found in EmergencyLog(tmp_path).read()] == ["o1", "o2", "o3"]
    assert [found.number for found in log.read(after=2)] == [3]
    assert log.next_number == 4


def test_room_is_taken_once_and_what_is_written_stays(tmp_path: Path) -> None:
    log = EmergencyLog(tmp_path)
    log.prepare()
    size = (tmp_path / FILE).stat().st_size
    blocks = (tmp_path / FILE).stat().st_blocks * 512
    log.write(act(1))
    log.prepare()
    assert (tmp_path / FILE).stat().st_size == size
    assert blocks >= size  # no hole: a full disk takes nothing away
    assert log.read() == [act(1)]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A write across the edge takes what fits and says how much that was, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_takes_a_part_is_a_full_disk(tmp_path: Path) -> None:
    log = EmergencyLog(tmp_path)
    log.write(act(1))
    with files_of_at_most((tmp_path / FILE).stat().st_size + 20):
        with pytest.raises(OSError, match="No space"):
            log.prepare()
        with pytest.raises(JournalError, match="No space"):
            log.write(act(2))
    assert log.read() == [act(1)]
    log.write(act(2))
    assert log.read() == [act(1), act(2)]


def test_a_torn_record_ends_the_log_and_costs_nothing_before_it(tmp_path: Path) -> None:
    log = EmergencyLog(tmp_path)
    log.prepare()
    log.write(act(1))
    whole = (tmp_path / FILE).read_bytes()
    log.write(act(2))
    longer = (tmp_path / FILE).read_bytes()
    used = len(longer.rstrip(b"\0"))
    start = len(whole.rstrip(b"\0"))
    for cut in range(start, used):
        (tmp_path / FILE).write_bytes(longer[:cut] + bytes(len(longer) - cut))
        assert log.read() == [act(1)]
    (tmp_path / FILE).write_bytes(longer[:start] + b"\xff" * 40 + bytes(100))
    assert log.read() == [act(1)]


def test_a_log_that_is_half_full_and_adopted_is_kept_and_begun_anew_with_numbers_that_go_on(tmp_path: Path) -> None:
    log = EmergencyLog(tmp_path)
    log.prepare()
    log.begin_anew(0, T0)
    assert log.read() == []
    number = 0
    while sum(len(found.note) for found in log.read(after=number - 300)) < 270_000:
        number += 1
        log.write(act(number, note="x" * 3_000))
    log.begin_anew(number - 1, T0)
    assert log.next_number == number + 1, "one act is not adopted yet"
    log.begin_anew(number, T0)
    assert [(found.number, found.act) for found in log.read()] == [(number + 1, Act.CONTINUED)]
    assert len((tmp_path / f"emergency-{number}.log").read_bytes()) >= 500_000
    log.write(act(1))
    assert [found.number for found in log.read(after=number)] == [number + 1, number + 2]


def test_whoever_writes_second_gets_the_next_number(tmp_path: Path) -> None:
    one, other = EmergencyLog(tmp_path), EmergencyLog(tmp_path)
    one.prepare()
    first, second = act(one.next_number), act(other.next_number)
    before = one.stamp
    one.write(first)
    other.write(second)
    assert [found.number for found in one.read()] == [1, 2]
    assert one.stamp != before


def test_a_full_log_is_said(tmp_path: Path) -> None:
    log = EmergencyLog(tmp_path)
    log.prepare()
    with pytest.raises(JournalError, match="is full"):
        log.write(act(1, note="x" * (600 * 1024)))
    assert log.read() == []
