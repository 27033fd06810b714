"""Records every message of a live feed as it came, in append-only segments under the account's folder, so that a day can be replayed.

A segment has one line per message. The open segment is made durable about every second: a kill loses at most the messages since then,
and a line that was cut does no harm to those before it. A segment that is full or old enough is closed, and its sha256 is journaled.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import msgspec

from hedgefund_core.errors import DataInvalid
from hedgefund_core.trading.events import SegmentRecorded
from hedgefund_core.trading.observed import (
    BandSighting,
    BarSighting,
    FeedUpdate,
    HaltSighting,
    LinkChanged,
    QuoteSighting,
    SplitSighting,
    UnknownUpdate,
)
from live_executor.logging import logger
from live_executor.ports import UNREADABLE, Clock, LiveFeed

_log = logger("recorder")
FOLDER, SUFFIX, OPEN, DAMAGED = "recorded", ".jsonl", ".open", ".damaged"
_WORDS: dict[type, bytes] = {
    QuoteSighting: b"quote",
    BarSighting: b"bar",
    HaltSighting: b"halt",
    BandSighting: b"band",
    LinkChanged: b"link",
    UnknownUpdate: b"unknown",
}
_KINDS: dict[str, type] = {word.decode(): kind for kind, word in _WORDS.items()}
_encode = msgspec.json.Encoder(decimal_format="string").encode


class _Line(msgspec.Struct, frozen=True):
    kind: str
    at: datetime
    """When we had it."""
    seen: msgspec.Raw


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a segment."""

    at: datetime
    update: FeedUpdate


class Recorder:
    """Writes segments. If the disk is full the recording ends, but not the trading."""

    def __init__(
        self, folder: Path, clock: Clock, *, rotate_after: timedelta = timedelta(minutes=15), rotate_bytes: int = 64 << 20
    ) -> None:
        self._folder, self._clock = folder / FOLDER, clock
        self._rotate_after, self._rotate_bytes = rotate_after, rotate_bytes
        self._file: BinaryIO | None = None
        self._path = Path()
        self._first = self._last = clock.now()
        self._count = self._size = self._written = 0
        self._digest = hashlib.sha256()
        self.trouble = ""

    def adopt(self) -> list[SegmentRecorded]:
        """Close segments that an earlier process left open, cut after their last whole line; returns the frames to be journaled.

        One that cannot be read (a power cut may leave holes in a file) is renamed and left out, so that it cannot keep the account from
        starting.
        """
        found = []
        left = set(self._folder.glob(f"*{SUFFIX}{OPEN}")) - ({self._path} if self._file is not None else set())  # ours is still written
        for path in sorted(left):
            try:
                closed = self._closed(path)
                found += [] if closed is None else [closed]
            except (DataInvalid, OSError) as error:
                _log.error("a segment cannot be adopted", segment=path.name, reason=str(error))
                with contextlib.suppress(OSError):
                    path.rename(path.with_suffix(DAMAGED))
        return found

    def _closed(self, path: Path) -> SegmentRecorded | None:
        """A segment that was left open, closed; None (and no file) where it holds no whole line. Raises DataInvalid or OSError."""
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        lines = [_read_line(line, path) for line in whole.splitlines()]
        if not lines:
            path.unlink()
            return None
        with path.open("r+b") as file:
            file.truncate(len(whole))
            os.fdatasync(file.fileno())
        closed = path.with_suffix("")
        path.rename(closed)
        return self._frame(closed, lines[0].at, lines[-1].at, len(lines), len(whole), hashlib.sha256(whole).hexdigest())

    def take(self, update: FeedUpdate) -> None:
        """Write one message."""
        if self.trouble:
            return
        now = self._clock.now()
        line = b'["%b","%b",%b]\n' % (_WORDS[type(update)], now.isoformat().encode(), _encode(update))
        try:
            if self._file is None:
                self._begin(now)
            if self._file is not None:
                self._file.write(line)
        except OSError as error:
            self._give_up(error)
            return
        self._digest.update(line)
        self._last, self._count, self._size = now, self._count + 1, self._size + len(line)

    def sync(self) -> list[SegmentRecorded]:
        """Make what was written durable; a segment that is full or old enough is closed and told."""
        if self._file is None or self.trouble:
            return []
        try:
            if self._written != self._size:
                self._file.flush()
                os.fdatasync(self._file.fileno())
                self._written = self._size
        except OSError as error:
            self._give_up(error)
            return []
        old = self._clock.now() - self._first >= self._rotate_after
        return self.close() if old or self._size >= self._rotate_bytes else []

    def close(self) -> list[SegmentRecorded]:
        """Close the open segment."""
        file, self._file = self._file, None
        if file is None or self.trouble:
            return []
        try:
            file.flush()
            os.fdatasync(file.fileno())
            file.close()
            closed = self._path.with_suffix("")
            self._path.rename(closed)
        except OSError as error:
            self._give_up(error)
            return []
        return [self._frame(closed, self._first, self._last, self._count, self._size, self._digest.hexdigest())]

    def _begin(self, now: datetime) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path = self._folder / f"{now:%Y%m%dT%H%M%S%f}{SUFFIX}{OPEN}"
        self._file = self._path.open("xb")
        self._first, self._count, self._size, self._written, self._digest = now, 0, 0, 0, hashlib.sha256()

    def _frame(self, path: Path, first: datetime, last: datetime, count: int, size: int, digest: str) -> SegmentRecorded:
        return SegmentRecorded(
            ts=self._clock.now(), segment=f"{FOLDER}/{path.name}", first_at=first, last_at=last, messages=count, size=size, sha256=digest
        )

    def _give_up(self, error: OSError) -> None:
        self.trouble = f"the feed is recorded no more: {error}"
        _log.error("recording ended", reason=str(error), folder=str(self._folder), mend="free the disk, then run again")


class RecordingFeed:
    """A feed whose every message is written down before anybody acts on it."""

    def __init__(self, feed: LiveFeed, recorder: Recorder) -> None:
        self._feed, self._recorder = feed, recorder

    async def subscribe(self, symbols: Sequence[str]) -> None:
        """As the feed."""
        await self._feed.subscribe(symbols)

    async def updates(self) -> AsyncIterator[FeedUpdate]:
        """As the feed, each message recorded first."""
        async for update in self._feed.updates():
            self._recorder.take(update)
            yield update

    async def latest(self, symbols: Sequence[str]) -> list[QuoteSighting]:
        """As the feed, recorded."""
        found = await self._feed.latest(symbols)
        for quote in found:
            self._recorder.take(quote)
        return found

    async def daily_bars(self, symbols: Sequence[str], first: str, last: str) -> list[BarSighting]:
        """As the feed, recorded."""
        found = await self._feed.daily_bars(symbols, first, last)
        for bar in found:
            self._recorder.take(bar)
        return found

    async def splits(self, symbols: Sequence[str], first: str, last: str) -> list[SplitSighting]:
        """As the feed; what is announced is no market data and is journaled as itself."""
        return await self._feed.splits(symbols, first, last)

    async def close(self) -> None:
        """As the feed."""
        await self._feed.close()


def read_segment(path: Path) -> Iterator[Recorded]:
    """The messages of a segment in order; a line that a kill cut is left out, another that cannot be read is DataInvalid."""
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            return
        read = _read_line(line, path)
        yield Recorded(at=read.at, update=msgspec.json.decode(read.seen, type=_KINDS[read.kind]))


def _read_line(line: bytes, path: Path) -> _Line:
    try:
        kind, at, seen = msgspec.json.decode(line, type=tuple[str, datetime, msgspec.Raw])
    except UNREADABLE as error:
        message = f"{path.name}: a line cannot be read: {error}"
        raise DataInvalid(message, mend="restore the segment from a backup; the journal has its sha256") from error
    return _Line(kind=kind, at=at, seen=seen)


def segments(folder: Path) -> list[Path]:
    """Segments of an account's folder in order of time, the open one included."""
    return sorted([*(folder / FOLDER).glob(f"*{SUFFIX}"), *(folder / FOLDER).glob(f"*{SUFFIX}{OPEN}")])
