"""A few bytes of state that all processes of this machine share: a JSON file changed under a file lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from filelock import FileLock

T = TypeVar("T", bound=msgspec.Struct)
R = TypeVar("R")
_LOCK_SECONDS = 30.0


class SharedState(Generic[T]):
    """One struct in one file. A lost or damaged file is an empty state: it costs politeness, never correctness."""

    def __init__(self, path: Path, empty: T) -> None:
        self._path = path
        self._empty = empty
        self._lock = FileLock(path.with_name(f"{path.name}.lock"), timeout=_LOCK_SECONDS)

    def read(self) -> T:
        """The state as it stands."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=type(self._empty))
        except (OSError, msgspec.DecodeError):
            return self._empty

    def change(self, step: Callable[[T], tuple[T, R]]) -> R:
        """Replace the state by what ``step`` makes of it, nobody else changing it meanwhile."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            before = self.read()
            after, result = step(before)
            if after != before:
                temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
                temporary.write_bytes(msgspec.json.encode(after))
                temporary.replace(self._path)
        return result
