"""Answers kept on disk with their validators. Losing the folder costs time, nothing else: every entry proves itself or is a miss."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=(\d+)")
_MAX_ENTRIES = 4_000


class CacheEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Beside each body: what to ask the vendor with, and until when asking is not needed."""

    origin: str
    sha256: str
    etag: str
    last_modified: str
    fresh_until: float
    retrieved_at: datetime

    def validators(self) -> dict[str, str]:
        """Headers of a conditional request."""
        found = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in found.items() if value}


class HttpCache:
    """Keyed by the address without secrets; bodies are written only after their content was checked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, origin: str) -> tuple[CacheEntry, bytes] | None:
        """Entry and body, or None; a damaged entry is None."""
        head, body = self._paths(origin)
        try:
            entry = msgspec.json.decode(head.read_bytes(), type=CacheEntry)
            content = body.read_bytes()
        except (OSError, msgspec.DecodeError):
            return None
        good = entry.origin == origin and hashlib.sha256(content).hexdigest() == entry.sha256
        return (entry, content) if good else None

    def keep(self, origin: str, body: bytes, headers: Mapping[str, str], retrieved_at: datetime) -> None:
        """Store an answer the vendor allows to be stored; a full or read-only disk is no reason to fail."""
        control = headers.get("cache-control", "").lower()
        if "no-store" in control:
            return
        age = _MAX_AGE.search(control)
        seconds = 0.0 if age is None or "no-cache" in control else float(age[1])
        entry = CacheEntry(
            origin=origin,
            sha256=hashlib.sha256(body).hexdigest(),
            etag=headers.get("etag", ""),
            last_modified=headers.get("last-modified", ""),
            fresh_until=retrieved_at.timestamp() + seconds,
            retrieved_at=retrieved_at,
        )
        if not seconds and not entry.validators():
            return
        head, place = self._paths(origin)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path, content in ((place, body), (head, msgspec.json.encode(entry))):
                temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
                temporary.write_bytes(content)
                temporary.replace(path)
            self._prune()
        except OSError:
            return

    def _paths(self, origin: str) -> tuple[Path, Path]:
        name = hashlib.sha256(origin.encode()).hexdigest()[:32]
        return self._folder / f"{name}.json", self._folder / f"{name}.body"

    def _prune(self) -> None:
        """Forget the oldest tenth once there are too many."""
        heads = list(self._folder.glob("*.json"))
        if len(heads) <= _MAX_ENTRIES:
            return
        for head in sorted(heads, key=lambda path: path.stat().st_mtime)[: len(heads) // 10]:
            head.unlink(missing_ok=True)
            head.with_suffix(".body").unlink(missing_ok=True)
