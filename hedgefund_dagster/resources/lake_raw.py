"""Raw payloads, kept as they came, with a sidecar that says where from, when and the sha256."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
from upath import UPath

from hedgefund_core import layout
from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_dagster.resources.lake_files import write_atomic
from hedgefund_dagster.sources.source import RawPayload

_CURRENT = "current.json"


class RawRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Sidecar of one payload."""

    source: str
    dataset: str
    origin: str
    file: str
    sha256: str
    size: int
    retrieved_at: str


class RawStore:
    """Content-addressed: the same bytes are stored once, with the time they were first retrieved."""

    def __init__(self, root: UPath) -> None:
        self._root = root

    def put(self, payload: RawPayload) -> RawRecord:
        """Keep a payload; returns the record of these bytes, old or new."""
        folder = self._root / layout.raw_folder(payload.source, payload.dataset)
        path = folder / f"{payload.sha256[:16]}{payload.suffix}"
        sidecar = folder / f"{payload.sha256[:16]}.json"
        if path.exists() and sidecar.exists():
            return msgspec.json.decode(sidecar.read_bytes(), type=RawRecord)
        record = RawRecord(
            source=payload.source,
            dataset=payload.dataset,
            origin=payload.origin,
            file=f"{layout.raw_folder(payload.source, payload.dataset)}/{path.name}",
            sha256=write_atomic(path, payload.content),
            size=len(payload.content),
            retrieved_at=payload.retrieved_at.isoformat(),
        )
        write_atomic(sidecar, msgspec.json.encode(record))
        return record

    def refer(self, source: str, record: RawRecord) -> RawRecord:
        """Note that another source's payload stands behind this source's rows too: a sidecar of its own, the bytes stay where they are."""
        dataset = f"{record.source}.{record.dataset}"
        noted = msgspec.structs.replace(record, source=source, dataset=dataset)
        sidecar = self._root / layout.raw_folder(source, dataset) / f"{record.sha256[:16]}.json"
        if not sidecar.exists():
            write_atomic(sidecar, msgspec.json.encode(noted))
        return noted

    def set_current(self, source: str, records: Sequence[RawRecord]) -> None:
        """Say which payloads the latest fetch consisted of: a file the user took away must not come back."""
        listing = msgspec.json.encode([record.sha256 for record in records])
        write_atomic(self._root / layout.RAW / source / _CURRENT, listing)

    def records(self, source: str) -> list[RawRecord]:
        """Every payload of a source, oldest first."""
        folder = self._root / layout.RAW / source
        if not folder.exists():
            return []
        found = [msgspec.json.decode(path.read_bytes(), type=RawRecord) for path in sorted(folder.glob("*/*.json"))]
        return sorted(found, key=lambda record: (record.retrieved_at, record.dataset, record.sha256))

    def latest(self, source: str) -> dict[str, RawPayload]:
        """The payloads of the latest fetch by dataset, their bytes proved against the recorded sha256."""
        listing = self._root / layout.RAW / source / _CURRENT
        current = set(msgspec.json.decode(listing.read_bytes(), type=list[str])) if listing.exists() else None
        known = [record for record in self.records(source) if current is None or record.sha256 in current]
        newest = {record.dataset: record for record in known}
        if not newest:
            message = f"no raw payload of {source} is stored"
            raise DataUnavailable(message, mend=f"materialize the asset {source}/raw")
        return {dataset: self._load(record) for dataset, record in sorted(newest.items())}

    def _load(self, record: RawRecord) -> RawPayload:
        content = (self._root / record.file).read_bytes()
        if hashlib.sha256(content).hexdigest() != record.sha256:
            message = f"raw payload {record.file} differs from its recorded sha256"
            raise DataInvalid(message, mend=f"remove it with its sidecar and materialize {record.source}/raw again")
        return RawPayload.of(record.source, record.dataset, content, origin=record.origin, retrieved_at=record.retrieved_at)
