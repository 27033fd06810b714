"""Registry of journals: a new store is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from live_executor.ports import Journal


def _sqlite(data: Path, keys: Path, account: str) -> Journal:
    from live_executor.journals.sqlite import open_journal

    return open_journal(data, keys, account)


JOURNALS: dict[str, Callable[[Path, Path, str], Journal]] = {"sqlite": _sqlite}
"""Name -> opener of the writing end: ``opener(data folder, keys folder, account)``."""
