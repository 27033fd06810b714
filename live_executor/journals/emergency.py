"""The emergency log: what was done at the broker when the journal could not be written, or its process hung.

Cancels and reductions only. The file is as large as it will ever be from the account's first day, so that a full disk cannot
keep anyone from writing into it. Record: length (4 bytes) ‖ CRC-32 (4 bytes) ‖ JSON; a torn record ends the log. What it holds is
adopted into the journal at the next start and never deleted: ``adopted`` acts are known by their number.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec.structs import replace

from hedgefund_core.errors import JournalError
from hedgefund_core.trading.order import Order

FILE = "emergency.log"
_SIZE = 512 * 1024
_HEAD = struct.Struct(">II")


def _put(handle: int, content: bytes, place: int) -> None:
    """Write all of it, or raise OSError: a disk with room for a part takes that part and says no more than how much it was."""
    if os.pwrite(handle, content, place) < len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Act(StrEnum):
    """What was done past the journal."""

    HALT = "halt"
    CANCEL = "cancel"
    CANCEL_ALL = "cancel_all"
    REDUCE = "reduce"
    VERIFIED = "verified"
    """The broker was asked and showed nothing open, or nothing held."""
    CONTINUED = "continued"
    """First record of a log that was begun anew; the one before it lies beside it."""


class EmergencyAct(msgspec.Struct, frozen=True, kw_only=True):
    """One act: written before it is done."""

    number: int
    ts: datetime
    act: Act
    person: str
    reason: str
    level: int = 0
    """Of a halt."""
    client_order_id: str = ""
    order: Order | None = None
    """The order of a reduction, as sent."""
    note: str = ""


class EmergencyLog:
    """The log of one account."""

    def __init__(self, folder: Path, name: str = FILE) -> None:
        self._path = folder / name

    def prepare(self) -> None:
        """Take the room on the disk, once; raises OSError where there is none."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(handle).st_size < _SIZE:
                _put(handle, bytes(_SIZE - os.fstat(handle).st_size), os.fstat(handle).st_size)  # zeros that are really there
                os.fsync(handle)
        finally:
            os.close(handle)

    def begin_anew(self, adopted: int, now: datetime) -> None:
        """Keep a log that is half full under another name and go on in a fresh one, if everything in it is adopted; numbers go on.

        Raises OSError where the disk has no room for another: then the old one stays in use.
        """
        records = list(self._records())
        last = max((act.number for act, _ in records), default=0)
        if last > adopted or sum(size for _, size in records) < _SIZE // 2:
            return
        fresh = EmergencyLog(self._path.parent, f".{FILE}.{os.getpid()}")
        fresh.prepare()
        fresh.write(EmergencyAct(number=last + 1, ts=now, act=Act.CONTINUED, person="executor", reason=f"{self._path.stem}-{last}.log"))
        os.link(self._path, self._path.with_name(f"{self._path.stem}-{last}.log"))
        fresh._path.replace(self._path)

    def put_aside(self, now: datetime) -> None:
        """Keep what an account of the same name left here under another name; raises OSError."""
        if any(True for _ in self._records()):
            self._path.rename(self._path.with_name(f"{self._path.stem}-before-{now:%Y%m%dT%H%M%S}.log"))

    def write(self, act: EmergencyAct) -> None:
        """Durable when it returns; raises JournalError where even this is impossible, or the log is full.

        Watchdog and command line may write at the same time: whoever comes second gets the next number.
        """
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                content = msgspec.json.encode(replace(act, number=max(act.number, self.next_number)))
                record = _HEAD.pack(len(content), zlib.crc32(content)) + content
                place = sum(size for _, size in self._records())
                if place + len(record) > max(_SIZE, os.fstat(handle).st_size):
                    raise JournalError(f"{self._path} is full", mend="start the executor, which adopts it, then move it away")
                _put(handle, record, place)
                os.fdatasync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise JournalError(
                f"cannot write {self._path}: {error}", mend="free disk space; act at the broker's own page meanwhile"
            ) from error

    def read(self, after: int = 0) -> list[EmergencyAct]:
        """Acts with a number above ``after``, oldest first."""
        return [act for act, _ in self._records() if act.number > after]

    @property
    def stamp(self) -> int:
        """Changes whenever something is written: whoever has read this far looks at nothing else."""
        try:
            return self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    @property
    def next_number(self) -> int:
        """Number of the next act."""
        return max((act.number for act, _ in self._records()), default=0) + 1

    def _records(self) -> Iterator[tuple[EmergencyAct, int]]:
        content = self._path.read_bytes() if self._path.exists() else b""
        place = 0
        while place + _HEAD.size <= len(content):
            length, checksum = _HEAD.unpack_from(content, place)
            body = content[place + _HEAD.size : place + _HEAD.size + length]
            if length == 0 or len(body) < length or zlib.crc32(body) != checksum:
                return
            yield msgspec.json.decode(body, type=EmergencyAct), _HEAD.size + length
            place += _HEAD.size + length
