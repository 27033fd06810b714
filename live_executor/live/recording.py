"""Drives the recorder of a run: makes it durable about every second, journals closed segments, and alerts once if recording fails."""

from __future__ import annotations

from live_executor.feeds.recorder import Recorder
from live_executor.live.floor import Floor


class Recording:
    """Looks after the recorder of a run."""

    def __init__(self, floor: Floor, recorder: Recorder, sync_seconds: float) -> None:
        self._floor, self._recorder, self._every = floor, recorder, sync_seconds
        self._said = False

    def begin(self) -> None:
        """Close and journal segments that an earlier process left open."""
        left = self._recorder.adopt()
        if left:
            self._floor.take(left)

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._floor.sleep(self._every)
            closed = self._recorder.sync()
            if closed:
                self._floor.take(closed)
            if self._recorder.trouble and not self._said:
                self._said = True
                self._floor.trouble(self._recorder.trouble)

    def end(self) -> None:
        """Close the open segment and journal it."""
        closed = self._recorder.close()
        if closed:
            self._floor.take(closed)
