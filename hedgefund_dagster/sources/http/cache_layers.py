"""Layers of the cache that need no server: the memory of this process and a folder on disk."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

_MAX_ENTRIES = 4_000


class LayerFault(Exception):
    """A layer could not be read or written; it never leaves the cache, which counts it and asks the next layer."""


class CacheLayer(Protocol):
    """A place for sealed bytes. Anything may be lost at any time; what comes back is proved by the cache."""

    @property
    def name(self) -> str:
        """Name in the counts."""

    def get(self, key: str) -> bytes | None:
        """The bytes, or None; raises LayerFault."""

    def put(self, key: str, sealed: bytes, seconds: float) -> None:
        """Keep the bytes, at most so many seconds where the layer can forget by itself; raises LayerFault."""

    def drop(self, key: str) -> None:
        """Forget them; raises LayerFault."""


class Memory:
    """Bytes by key, the least recently used forgotten first once there are too many of them. Threads may share it."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """The bytes, now the most recently used."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def put(self, key: str, sealed: bytes) -> None:
        """Keep the bytes unless they alone are more than a quarter of what there is room for."""
        with self._lock:
            self._forget(key)
            if len(sealed) * 4 > self._limit:
                return
            self._held[key] = sealed
            self._size += len(sealed)
            while self._size > self._limit:
                self._forget(next(iter(self._held)))

    def drop(self, key: str) -> None:
        """Forget them."""
        with self._lock:
            self._forget(key)

    def _forget(self, key: str) -> None:
        self._size -= len(self._held.pop(key, b""))


@functools.cache
def process_memory(limit_bytes: int) -> Memory:
    """The one memory of this process: clients come and go with each asset, it stays."""
    return Memory(limit_bytes)


class MemoryLayer:
    """The process's memory, seen from one vendor's folder: two data folders in one process share nothing."""

    name = "memory"

    def __init__(self, memory: Memory, folder: Path) -> None:
        self._memory = memory
        self._folder = str(folder)

    def get(self, key: str) -> bytes | None:
        """The bytes, or None."""
        return self._memory.get(f"{self._folder}:{key}")

    def put(self, key: str, sealed: bytes, seconds: float) -> None:
        """Keep the bytes until they are the least recently used."""
        self._memory.put(f"{self._folder}:{key}", sealed)

    def drop(self, key: str) -> None:
        """Forget them."""
        self._memory.drop(f"{self._folder}:{key}")


class DiskLayer:
    """A file a value, replaced whole. A full or read-only disk is a fault of this layer, not of the fetch."""

    name = "disk"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> bytes | None:
        """The file's bytes, or None if there is none."""
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LayerFault from error

    def put(self, key: str, sealed: bytes, seconds: float) -> None:
        """Write beside, then rename."""
        path = self._path(key)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(sealed)
            temporary.replace(path)
            self._prune()
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise LayerFault from error

    def drop(self, key: str) -> None:
        """Delete the file."""
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise LayerFault from error

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.entry"

    def _prune(self) -> None:
        """Forget the oldest tenth once there are too many."""
        entries = list(self._folder.glob("*.entry"))
        if len(entries) <= _MAX_ENTRIES:
            return
        for path in sorted(entries, key=lambda path: path.stat().st_mtime)[: len(entries) // 10]:
            path.unlink(missing_ok=True)
