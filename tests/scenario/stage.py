"""A live account on virtual time, its broker and its file of targets."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import async_solipsism
import msgspec
import pytest

from hedgefund_core.layout import journal_file
from hedgefund_core.trading import events as e
from live_executor.commands import Mailbox
from live_executor.journals.sqlite import JournalReader, open_journal
from live_executor.live.heartbeat import Heartbeat
from live_executor.live.opening import Opening
from live_executor.live.runtime import Live, LiveParts
from live_executor.ports import Journal, JournalEntry
from live_executor.recovery import recover
from live_executor.settings import read_settings
from live_executor.targets import TargetsFile
from tests.live_fakes import LoopClock, MemoryBroker, MemoryFeed

NOON = datetime(2026, 11, 24, 17, tzinfo=UTC)
Script = Callable[["Stage"], Awaitable[None]]


class Stage:
    """One account, its broker and its file of targets."""

    def __init__(self, folder: Path, start: datetime = NOON) -> None:
        self.folder, self.start = folder, start
        self.targets = folder / "targets.json"
        self.targets.write_text('{"quantities": {"AAPL": 10}}')
        self.clock = LoopClock(start)
        self.broker = MemoryBroker(self.clock, {"AAPL": Decimal(100), "MSFT": Decimal(50)})
        self.broker_name = "memory"
        self.feed = MemoryFeed(self.broker, self.clock)
        self.frames: list[e.Frame] = []
        self.once = False
        self.own_folder: Path | None = None
        """Of the account, where what lies beside its journal matters."""
        self.beats: deque[Heartbeat] = deque(maxlen=100)

    def play(self, script: Script, *, every: float = 60.0, **changes: object) -> None:
        """Run the account beside ``script``; it stops when the script has ended."""
        journal = open_journal(self.folder / "data", read_settings().keys, "v")
        loop = async_solipsism.EventLoop()
        try:
            loop.run_until_complete(self._played(script, self._parts(journal, every, changes)))
        finally:
            self.frames = [entry.frame for entry in journal.read()]
            journal.close()
            loop.close()

    async def _played(self, script: Script, parts: LiveParts) -> None:
        recovered = recover(parts.journal.read(), lambda _digest: pytest.fail("no bundle is used"))
        live = self.live = Live(parts, recovered)

        async def act() -> None:
            try:
                await script(self)
            finally:
                live.stop("end")

        acting = asyncio.ensure_future(act())
        try:
            self.summary = await live.run()
        finally:
            acting.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # it ended by itself
            await acting

    def _parts(self, journal: Journal, every: float, changes: dict[str, object]) -> LiveParts:
        settings = read_settings()
        quick = {"mailbox_every_seconds": 0.5, **changes}
        return LiveParts(
            journal=journal,
            broker=self.broker,
            feed=self.feed,
            mailbox=Mailbox(self.folder / "data", "v"),
            clock=self.clock,
            sleep=asyncio.sleep,
            rng=random.Random(1),
            settings=msgspec.structs.replace(settings.trading.live, **quick),
            sign_every=500,
            opening=Opening(
                account="v", book="b", mode="paper", broker=self.broker_name, source="memory", mandate=settings.mandates["discretionary"]
            ),
            targets=TargetsFile(self.targets),
            rebalance_every=every,
            once=self.once,
            folder=self.own_folder,
            on_beat=lambda _state, beat: self.beats.append(beat),
        )

    def entries(self) -> list[JournalEntry]:
        reader = JournalReader(self.folder / "data" / journal_file("v"))
        try:
            return list(reader.read())
        finally:
            reader.close()

    def of(self, kind: type[e.Event]) -> list[e.Frame]:
        return [frame for frame in self.frames if isinstance(frame, kind)]

    def held(self) -> dict[str, Decimal]:
        return {symbol: quantity for symbol, quantity in self.broker.held.items() if quantity}


async def wait(seconds: float) -> None:
    await asyncio.sleep(seconds)
