"""The end of a run: every task ends, also one that loses the first word of it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from live_executor.live import crew as crews
from live_executor.live.crew import Crew


def test_a_task_that_loses_a_cancel_gets_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "_CANCEL_SECONDS", 0.01)
    ended = list[str]()

    async def deaf(name: str, times: int) -> None:
        for _ in range(times):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def body() -> None:
        crew = Crew()
        for name, times in (("good", 0), ("deaf", 2)):
            crew.start(name, deaf(name, times), forever=True)
        await asyncio.sleep(0)
        await crew.dismiss()
        assert ended == ["good", "deaf"]
        await crew.dismiss()

    asyncio.run(asyncio.wait_for(body(), 5))
