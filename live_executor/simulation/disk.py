"""A journal on a disk that can be told to fail: the real hash chain in memory. What was appended stays when the process dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from hedgefund_core.errors import JournalError
from hedgefund_core.trading.events import Event, encode, kind_of
from live_executor.journals.chain import GENESIS, chain_hash, microseconds
from live_executor.ports import Head, JournalEntry

_MEND = "the disk of a simulation: it heals by itself"


class Disk:
    """What survives a power cut."""

    def __init__(self) -> None:
        self.entries: list[JournalEntry] = []
        self.heads: list[Head] = []
        self.snapshots: list[tuple[int, bytes]] = []
        self.full = False
        self.fail_next: float | None = None
        """Of the next commit: 0 = it fails and nothing is there, 1 = it fails and everything is there all the same."""
        self.on_durable: Callable[[Sequence[Event]], None] = lambda _frames: None

    @property
    def head(self) -> Head:
        """The newest entry."""
        last = self.entries[-1] if self.entries else None
        return Head(seq=0, hash=GENESIS) if last is None else Head(seq=last.seq, hash=last.hash)


class SimulatedJournal:
    """The writing end of one process."""

    def __init__(self, disk: Disk, alive: Callable[[], None]) -> None:
        self._disk, self._alive = disk, alive
        self._failed = ""

    def append(self, frames: Sequence[Event]) -> Head:
        """All of them or none; after a failure nothing more."""
        self._alive()
        if self._failed:
            raise JournalError(f"the journal refused an earlier write and stays closed: {self._failed}", mend=_MEND)
        if self._disk.full:
            self._refuse("no space left on device")
        failing, self._disk.fail_next = self._disk.fail_next, None
        if failing is None or failing > 0.0:
            self._write(frames)
        if failing is not None:
            self._refuse("fsync: input/output error")
        return self._disk.head

    def _write(self, frames: Sequence[Event]) -> None:
        head = self._disk.head
        previous, seq = head.hash, head.seq
        for frame in frames:
            seq += 1
            ts, kind, payload = microseconds(frame.ts), kind_of(frame), encode(frame)
            previous = chain_hash(previous, seq, ts, kind, payload)
            self._disk.entries.append(JournalEntry(seq=seq, ts=ts, kind=kind, payload=payload, hash=previous))
        self._disk.on_durable(frames)

    def _refuse(self, reason: str) -> None:
        self._failed = reason
        raise JournalError(f"cannot write the journal: {reason}", mend=_MEND)

    def tidy(self) -> None:
        """A simulated disk has no second file."""

    def read(self, after_seq: int = 0) -> Iterator[JournalEntry]:
        """Entries after ``after_seq``: they are numbered from 1 without holes."""
        return iter(self._disk.entries[after_seq:])

    @property
    def head(self) -> Head:
        """The newest entry."""
        return self._disk.head

    def sign_head(self, signed_at: datetime) -> None:
        """Remember which head was signed."""
        self._alive()
        if not self._failed:
            self._disk.heads.append(self._disk.head)

    def save_snapshot(self, payload: bytes) -> None:
        """Keep a state."""
        self._alive()
        if not self._failed:
            self._disk.snapshots.append((self._disk.head.seq, payload))

    def snapshot(self) -> bytes | None:
        """The newest."""
        return self._disk.snapshots[-1][1] if self._disk.snapshots else None

    def close(self) -> None:
        """Nothing to let go of."""
