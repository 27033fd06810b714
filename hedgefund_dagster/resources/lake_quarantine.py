"""The quarantine table: rows that broke a rule wait here with the reason; a person may release them."""

from __future__ import annotations

import fcntl
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from hedgefund_core import layout
from hedgefund_core.schemas import QUARANTINE
from hedgefund_dagster.resources.lake_files import arrow_schema, conform, parquet_bytes, read_parquet, write_atomic

_KEY = ("source", "symbol", "ts", "rule")


@contextmanager
def _exclusive(path: UPath) -> Iterator[None]:
    """Two validations may end at once, and both re-write the one file: take turns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(path, pathlib.Path):
        yield
        return
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class QuarantineStore:
    """One Parquet file over all sources; a finding, once made, stays, and a release is kept over re-validations."""

    def __init__(self, root: UPath) -> None:
        self._path = root / layout.QUARANTINE_BARS

    def read(self, source: str | None = None) -> pa.Table:
        """All findings, or those of a source."""
        rows = read_parquet(self._path) if self._path.exists() else arrow_schema(QUARANTINE).empty_table()
        return rows if source is None else rows.filter(pc.equal(rows.column("source"), source))

    def add(self, findings: pa.Table) -> int:
        """Add findings that are not there yet; returns how many were new."""
        findings = conform(findings, QUARANTINE)
        with _exclusive(self._path):
            known = self.read()
            seen = set(_keys(known))
            fresh = [position for position, key in enumerate(_keys(findings)) if not (key in seen or seen.add(key))]  # type: ignore[func-returns-value]
            if fresh or not self._path.exists():
                write_atomic(self._path, parquet_bytes(pa.concat_tables([known, findings.take(pa.array(fresh, pa.int64()))])))
        return len(fresh)

    def release(self, *, source: str, symbol: str, ts: str, rule: str) -> int:
        """Let rows back in; they count from the next validation on. Returns how many findings matched."""
        with _exclusive(self._path):
            known = self.read()
            matches = [key == (source, symbol, ts, rule) for key in _keys(known)]
            released = pc.or_(known.column("released"), pa.chunked_array([matches], pa.bool_()))
            position = known.schema.get_field_index("released")
            write_atomic(self._path, parquet_bytes(known.set_column(position, known.schema.field("released"), released)))
        return sum(matches)

    def released(self, source: str) -> set[tuple[str, str, str]]:
        """(symbol, ts, rule) of error rows a person let back in."""
        rows = self.read(source)
        kept = rows.filter(pc.and_(rows.column("released"), pc.equal(rows.column("severity"), "error")))
        return {(symbol, ts, rule) for _, symbol, ts, rule in _keys(kept)}


def _keys(rows: pa.Table) -> list[tuple[str, str, str, str]]:
    """Keys of findings, the time as RFC 3339 text."""
    columns = [rows.column(name).to_pylist() for name in _KEY]
    return [(source, symbol, ts.isoformat(), rule) for source, symbol, ts, rule in zip(*columns, strict=True)]
