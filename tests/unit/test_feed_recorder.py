"""The recorder: what was said is kept and played again; a kill costs the last moment, and the journal has the sha256 of the rest."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_core.trading.observed import (
    BandSighting,
    BarSighting,
    FeedUpdate,
    HaltSighting,
    LinkChanged,
    LinkState,
    QuoteSighting,
    UnknownUpdate,
)
from live_executor.clock import SimulatedClock
from live_executor.feeds.recorded import RecordedFeed
from live_executor.feeds.recorder import Recorder, read_segment, segments

T0 = datetime(2026, 11, 16, 15, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def said() -> list[FeedUpdate]:
    return [
        LinkChanged(state=LinkState.UP, reason="", at=at(0)),
        QuoteSighting(symbol="AAPL", at=at(1), received_at=at(1), bid=Decimal("100.01"), ask=Decimal("100.03")),
        BarSighting(symbol="AAPL", resolution="1m", at=at(2), open=1.5, high=2.0, low=1.0, close=1.7, volume=300.0),
        HaltSighting(symbol="MSFT", halted=True, reason="LUDP", at=at(3)),
        QuoteSighting(symbol="MSFT", at=at(4), received_at=at(4), last=Decimal("7.1"), source="trade"),
        UnknownUpdate(what="odd", payload='{"T":"?"}', at=at(5)),
        BandSighting(symbol="MSFT", lower=Decimal("6.7"), upper=Decimal("7.5"), at=at(6)),
    ]


def recorded(folder: Path, clock: SimulatedClock, **more: object) -> Recorder:
    recorder = Recorder(folder, clock, **more)  # type: ignore[arg-type]
    for second, update in enumerate(said()):
        clock.set(at(second))
        recorder.take(update)
    return recorder


def test_every_kind_of_message_comes_back_as_it_was_and_the_frame_names_the_bytes(tmp_path: Path) -> None:
    clock = SimulatedClock(T0)
    recorder = recorded(tmp_path, clock)
    (frame,) = recorder.close()
    path = tmp_path / frame.segment
    assert [found.update for found in read_segment(path)] == said()
    assert (frame.messages, frame.size) == (7, path.stat().st_size)
    assert frame.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (frame.first_at, frame.last_at) == (at(0), at(6))


def test_segments_are_rotated_by_age_and_by_size(tmp_path: Path) -> None:
    clock = SimulatedClock(T0)
    recorder = recorded(tmp_path, clock, rotate_after=timedelta(seconds=4))
    assert len(recorder.sync()) == 1
    recorder.take(said()[0])
    clock.set(at(6))
    assert recorder.sync() == []
    small = recorded(tmp_path / "small", clock, rotate_bytes=10)
    assert len(small.sync()) == 1
    assert [path.suffix for path in segments(tmp_path)] == [".jsonl", ".open"]


def test_after_a_kill_what_was_made_durable_is_adopted_and_a_torn_line_is_cut(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom datetime import UTC, datetime\nfrom pathlib import Path\n"
        "from hedgefund_core.trading.observed import QuoteSighting\nfrom live_executor.clock import SystemClock\n"
        "from live_executor.feeds.recorder import Recorder\n"
        "r = Recorder(Path(sys.argv[1]), SystemClock())\nnow = datetime.now(UTC)\n"
        "for n in range(1000):\n    r.take(QuoteSighting(symbol=f'S{n}', at=now, received_at=now))\n"
        "r.sync()\nr.take(QuoteSighting(symbol='LOST', at=now, received_at=now))\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    (path,) = segments(tmp_path)
    with path.open("ab") as file:
        file.write(b'["quote","2026-11-16T15:0')  # what a power cut may leave
    assert len(list(read_segment(path))) >= 1000
    (frame,) = Recorder(tmp_path, SimulatedClock(T0)).adopt()
    assert frame.messages >= 1000
    assert frame.sha256 == hashlib.sha256((tmp_path / frame.segment).read_bytes()).hexdigest()
    assert Recorder(tmp_path, SimulatedClock(T0)).adopt() == []


def test_what_this_process_has_open_is_not_adopted(tmp_path: Path) -> None:
    recorder = recorded(tmp_path, SimulatedClock(T0))
    recorder.sync()
    assert recorder.adopt() == []
    recorder.take(said()[0])
    (frame,) = recorder.close()
    assert frame.sha256 == hashlib.sha256((tmp_path / frame.segment).read_bytes()).hexdigest()
    assert recorder.trouble == ""


@pytest.mark.parametrize("hole", [bytes(40), b"\xff" * 40])
def test_a_segment_with_a_hole_is_set_aside_and_those_beside_it_are_adopted(tmp_path: Path, hole: bytes) -> None:
    for start in (T0, at(60)):
        recorded(tmp_path, SimulatedClock(start)).sync()
    first, second = segments(tmp_path)
    content = first.read_bytes()
    first.write_bytes(content[:200] + hole + content[200 + len(hole) :])
    (frame,) = Recorder(tmp_path, SimulatedClock(T0)).adopt()
    assert (tmp_path / frame.segment).name == second.name.removesuffix(".open")
    assert segments(tmp_path) == [tmp_path / frame.segment], "the damaged one is kept beside, and is not played"
    assert len(list((tmp_path / "recorded").glob("*.damaged"))) == 1


def test_a_line_that_was_changed_is_named(tmp_path: Path) -> None:
    (frame,) = recorded(tmp_path, SimulatedClock(T0)).close()
    path = tmp_path / frame.segment
    path.write_bytes(path.read_bytes().replace(b'["bar"', b"{broken", 1))
    with pytest.raises(DataInvalid, match=path.name):
        list(read_segment(path))


def test_a_full_disk_ends_the_recording_and_nothing_else(tmp_path: Path) -> None:
    blocked = tmp_path / "recorded"
    blocked.write_text("a file where the folder should be")
    recorder = recorded(tmp_path, SimulatedClock(T0))
    assert "recorded no more" in recorder.trouble
    assert recorder.sync() == []
    assert recorder.close() == []


@pytest.mark.parametrize(("speed", "waited"), [(1.0, 6.0), (2.0, 3.0), (0.0, 0.0)])
def test_a_recorded_day_is_played_again_at_any_speed_with_its_ages(tmp_path: Path, speed: float, waited: float) -> None:
    (frame,) = recorded(tmp_path, SimulatedClock(T0)).close()
    clock, slept = SimulatedClock(at(86_400)), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.set(clock.now() + timedelta(seconds=seconds))

    async def play() -> list[FeedUpdate]:
        feed = RecordedFeed([tmp_path / frame.segment], clock, sleep, speed=speed)
        await feed.subscribe(["AAPL"])
        heard: list[FeedUpdate] = []
        async for update in feed.updates():
            heard.append(update)
            if isinstance(update, LinkChanged) and update.state is LinkState.DOWN:
                assert [quote.symbol for quote in await feed.latest(["AAPL", "KO"])] == ["AAPL"]
                return heard
        return heard

    heard = asyncio.run(play())
    assert [type(update) for update in heard] == [LinkChanged, QuoteSighting, BarSighting, UnknownUpdate, LinkChanged]
    assert sum(slept) == pytest.approx(waited)
    assert isinstance(heard[1], QuoteSighting)
    assert clock.now() - heard[1].at < timedelta(seconds=10), "a replayed price is as old as it was"
    with pytest.raises(DataUnavailable):
        RecordedFeed([], clock, sleep)
