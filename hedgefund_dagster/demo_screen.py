"""What a person sees while the demo runs: one bar a stage, its time when it is done, and plain lines where nobody watches."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from hedgefund_dagster.progress import WATCHER


class Screen:
    """Progress and the seconds of each stage."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.seconds: dict[str, float] = {}
        self._began = time.perf_counter()

    @property
    def total(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._began

    @contextmanager
    def stage(self, key: str, title: str) -> Iterator[None]:
        """A stage with its bar; several stages of one key add up."""
        started = time.perf_counter()
        with Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        ) as bars:
            task = bars.add_task(title, total=None, detail="")

            def watch(what: str, done: int, total: int) -> None:
                bars.update(task, completed=done, total=max(total, 1), detail=what)

            token = WATCHER.set(watch)
            try:
                yield
            finally:
                WATCHER.reset(token)
        spent = time.perf_counter() - started
        self.seconds[key] = self.seconds.get(key, 0.0) + spent
        self.console.print(f"[green]✓[/green] {title} [dim]{spent:.1f} s[/dim]", highlight=False)

    def say(self, words: str) -> None:
        """A line between stages."""
        self.console.print(words, highlight=False)
