"""Answers kept for as long as the vendor lets them be, in layers: this process, Valkey, disk. Losing any of them costs time, nothing else.

Every layer holds the same sealed bytes, and every read proves them (address and sha256): garbage, another program's value, a
layer that is gone or hangs are a miss, and the next layer is asked. Where a layer misses and a slower one has it, it gets it back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from hedgefund_core.configuration import CacheSettings
from hedgefund_dagster.sources.http.cache_layers import CacheLayer, DiskLayer, LayerFault, MemoryLayer, process_memory
from hedgefund_dagster.sources.http.cache_valkey import layer_of
from hedgefund_dagster.sources.http.pulse import Pulse
from hedgefund_dagster.sources.http.shared_state import SharedState

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=(\d+)")
SHARED_SECONDS = 300.0
_KEPT_SECONDS = 30 * 86_400.0
"""An answer with a validator is worth keeping long after its age: asking whether it still holds is cheaper than the answer."""


class CacheEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Before each body: what to ask the vendor with, and until when asking is not needed."""

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


class LayerCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What a layer was worth: ``seconds`` is the time its reads took, ``errors`` are reads and writes that failed."""

    hits: int = 0
    misses: int = 0
    errors: int = 0
    seconds: float = 0.0

    def __add__(self, other: LayerCounts) -> LayerCounts:
        return LayerCounts(
            hits=self.hits + other.hits,
            misses=self.misses + other.misses,
            errors=self.errors + other.errors,
            seconds=self.seconds + other.seconds,
        )

    def spelt(self) -> str:
        """For people: hits of reads, mean time of a read, errors if any."""
        reads = self.hits + self.misses
        mean = f", {self.seconds / reads * 1e3:.2f} ms each" if reads else ""
        return f"{self.hits} of {reads}{mean}{f', {self.errors} errors' if self.errors else ''}"


class CacheTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of all processes since the file was made, by layer."""

    layers: dict[str, LayerCounts] = {}


def seal(entry: CacheEntry, body: bytes) -> bytes:
    """Entry and body as one value: a line of JSON, then the body."""
    return msgspec.json.encode(entry) + b"\n" + body


def unseal(origin: str, sealed: bytes) -> tuple[CacheEntry, bytes] | None:
    """Entry and body, or None if these are not the bytes that were sealed for this address."""
    head, _, body = sealed.partition(b"\n")
    try:
        entry = msgspec.json.decode(head, type=CacheEntry)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    good = entry.origin == origin and entry.retrieved_at.tzinfo is not None and hashlib.sha256(body).hexdigest() == entry.sha256
    return (entry, body) if good else None


class LayeredCache:
    """Keyed by the address without secrets; bodies are written only after their content was checked. Nearest layer first."""

    def __init__(
        self, layers: Sequence[CacheLayer], pulse: Pulse, totals: Path | None = None, *, shared_seconds: float = SHARED_SECONDS
    ) -> None:
        self._layers = tuple(layers)
        self._shared_seconds = shared_seconds
        self._pulse = pulse
        self._counts = {layer.name: LayerCounts() for layer in self._layers}
        self._told = dict(self._counts)
        self._totals = None if totals is None else SharedState(totals, CacheTotals())

    def find(self, origin: str) -> tuple[CacheEntry, bytes] | None:
        """Entry and body from the first layer that has them; the layers before it get them back."""
        key = _key(origin)
        for place, layer in enumerate(self._layers):
            started = self._pulse.elapsed()
            sealed, failed = None, 0
            try:
                sealed = layer.get(key)
            except LayerFault:
                failed = 1
            found = None if sealed is None else unseal(origin, sealed)
            if sealed is not None and found is None:
                failed = 1
                self._drop(layer, key)
            took = self._pulse.elapsed() - started
            self._count(layer, LayerCounts(hits=int(found is not None), misses=int(found is None), errors=failed, seconds=took))
            if found is not None and sealed is not None:
                self._put(self._layers[:place], key, sealed, self._seconds_left(found[0]))
                return found
        return None

    def keep(self, origin: str, body: bytes, headers: Mapping[str, str], retrieved_at: datetime, *, shared: bool = False) -> None:
        """Store an answer the vendor allows to be stored; ``shared``: good for a while whatever age it states."""
        control = headers.get("cache-control", "").lower()
        if "no-store" in control:
            return
        age = _MAX_AGE.search(control)
        stated = 0.0 if age is None or "no-cache" in control else float(age[1])
        seconds = max(stated, self._shared_seconds if shared else 0.0)
        entry = CacheEntry(
            origin=origin,
            sha256=hashlib.sha256(body).hexdigest(),
            etag=headers.get("etag", ""),
            last_modified=headers.get("last-modified", ""),
            fresh_until=retrieved_at.timestamp() + seconds,
            retrieved_at=retrieved_at,
        )
        if seconds > 0.0 or entry.validators():
            self._put(self._layers, _key(origin), seal(entry, body), self._seconds_left(entry))

    def forget(self, origin: str) -> None:
        """Leave the answer out of every layer: it turned out to be unreadable."""
        for layer in self._layers:
            self._drop(layer, _key(origin))

    def counts(self) -> dict[str, LayerCounts]:
        """What this cache's layers were worth since it was made; adds what is new of it to the totals of all processes."""
        fresh = dict(self._counts)
        if self._totals is not None and fresh != self._told:
            told, self._told = self._told, fresh
            self._totals.change(lambda before: (_summed(before, told, fresh), None))
        return fresh

    def _seconds_left(self, entry: CacheEntry) -> float:
        left = entry.fresh_until - self._pulse.now().timestamp()
        return max(left, _KEPT_SECONDS if entry.validators() else 1.0)

    def _put(self, layers: Sequence[CacheLayer], key: str, sealed: bytes, seconds: float) -> None:
        for layer in layers:
            try:
                layer.put(key, sealed, seconds)
            except LayerFault:
                self._count(layer, LayerCounts(errors=1))

    def _drop(self, layer: CacheLayer, key: str) -> None:
        try:
            layer.drop(key)
        except LayerFault:
            self._count(layer, LayerCounts(errors=1))

    def _count(self, layer: CacheLayer, more: LayerCounts) -> None:
        self._counts[layer.name] = self._counts[layer.name] + more


def disk_cache(folder: Path, pulse: Pulse) -> LayeredCache:
    """The cache of a vendor nobody configured anything for: its folder."""
    return LayeredCache((DiskLayer(folder / "cache"),), pulse, folder / "cache.json")


def open_cache(settings: CacheSettings, data_folder: Path, folder: Path, pulse: Pulse) -> LayeredCache:
    """The cache of a vendor as configured; raises ConfigError for an address that is none, not for a server that is not there."""
    shared = layer_of(settings.url, data_folder, pulse.elapsed)
    layers: list[CacheLayer] = [MemoryLayer(process_memory(settings.memory_mb * 1024 * 1024), folder)]
    layers += [shared] if shared is not None else []
    return LayeredCache((*layers, DiskLayer(folder / "cache")), pulse, folder / "cache.json", shared_seconds=settings.seconds)


def read_totals(path: Path) -> dict[str, LayerCounts]:
    """Counts of all processes, as last told."""
    return SharedState(path, CacheTotals()).read().layers


def _key(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()[:32]


def _summed(before: CacheTotals, told: Mapping[str, LayerCounts], fresh: Mapping[str, LayerCounts]) -> CacheTotals:
    layers = dict(before.layers)
    for name, counts in fresh.items():
        had = told[name]
        more = LayerCounts(
            hits=counts.hits - had.hits,
            misses=counts.misses - had.misses,
            errors=counts.errors - had.errors,
            seconds=counts.seconds - had.seconds,
        )
        layers[name] = layers.get(name, LayerCounts()) + more
    return CacheTotals(layers=layers)
