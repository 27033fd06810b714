"""Tables that keep every version (macro, fundamentals, news, instruments): added to, never rewritten, read as of a moment."""

from __future__ import annotations

from datetime import datetime

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from upath import UPath

from hedgefund_core import layout
from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_core.quant.point_in_time import Versions, as_of
from hedgefund_core.schemas import Table
from hedgefund_dagster.resources.lake_files import Manifest, conform, parquet_bytes, read_parquet, rows_digest, write_atomic, write_manifest

_UNSAID = ("recorded_at", "raw_sha256", "source_row")
_SEPARATOR = "\x1f"


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """What an append changed."""

    added: int
    unchanged: int


class VersionStore:
    """A file a write under ``processed/<table>/source=<source>/``, each with its manifest."""

    def __init__(self, root: UPath) -> None:
        self._root = root

    def append(self, table: Table, source: str, rows: pa.Table, *, run_id: str = "") -> Appended:
        """Add the rows that are new or say something else than the latest version of their key.

        Raises DataInvalid if two of the offered rows contradict each other under one key.
        """
        rows = once(conform(rows, table), table)
        stored = self._stored(table, source)
        fresh = rows if stored is None else _news(rows, stored, table)
        if fresh.num_rows:
            recorded = pc.max(fresh.column("recorded_at")).as_py()
            digest = rows_digest(fresh)
            path = self._folder(table, source) / f"{recorded:%Y%m%dT%H%M%S%f}-{digest[:12]}.parquet"
            content = parquet_bytes(fresh)
            manifest = Manifest(
                file=path.name,
                sha256=write_atomic(path, content),
                content_sha256=digest,
                rows=fresh.num_rows,
                recorded_at=recorded.isoformat(),
                run_id=run_id,
            )
            write_manifest(path, manifest)
        return Appended(added=fresh.num_rows, unchanged=rows.num_rows - fresh.num_rows)

    def read(self, table: Table, source: str, *, known_by: datetime | None = None, recorded_by: datetime | None = None) -> pa.Table:
        """What a reader at a moment would have seen: per ``table.identity`` the version known last, of those the one recorded last.

        ``known_by`` None = everything there is; ``recorded_by`` pins a read, so that it can be repeated.
        Raises DataUnavailable if the table was never written.
        """
        rows = self._stored(table, source)
        if rows is None:
            message = f"no {table.name} of {source} are stored"
            raise DataUnavailable(message, mend=f"materialize the assets of {source}")
        rows = rows.take(pc.sort_indices(rows, sort_keys=[("recorded_at", "ascending")])).combine_chunks()
        known = _moments(rows, "known_at")
        # "Recorded" is given as known_at: of two vintages the one published later counts, even if the earlier was fetched later.
        versions = Versions(
            instrument_id=_identity(rows, tuple(name for name in table.identity if name != "ts")),
            ts=_moments(rows, "ts") if "ts" in table.identity else np.zeros(rows.num_rows, "datetime64[us]"),
            known_at=known,
            recorded_at=known,
        )
        kept = np.ones(rows.num_rows, np.bool_) if recorded_by is None else _moments(rows, "recorded_at") <= _moment(recorded_by)
        places = np.flatnonzero(kept)
        part = Versions(
            instrument_id=versions.instrument_id[places],
            ts=versions.ts[places],
            known_at=known[places],
            recorded_at=known[places],
        )
        last = np.datetime64(np.iinfo(np.int64).max, "us")
        seen = as_of(part, known_by=last if known_by is None else _moment(known_by))
        return rows.take(pa.array(places[seen]))

    def has(self, table: Table, source: str) -> bool:
        """Whether anything of the table is stored."""
        return bool(self._paths(table, source))

    def _folder(self, table: Table, source: str) -> UPath:
        return self._root / layout.versions_folder(table.name, source)

    def _paths(self, table: Table, source: str) -> list[UPath]:
        folder = self._folder(table, source)
        return sorted(folder.glob("*.parquet")) if folder.exists() else []

    def _stored(self, table: Table, source: str) -> pa.Table | None:
        paths = self._paths(table, source)
        return pa.concat_tables([read_parquet(path) for path in paths]).combine_chunks() if paths else None


def _moment(value: datetime) -> np.datetime64:
    return np.datetime64(int(value.timestamp() * 1_000_000), "us")


def _moments(rows: pa.Table, name: str) -> NDArray[np.datetime64]:
    moments: NDArray[np.datetime64] = rows.column(name).cast(pa.int64()).to_numpy().astype("datetime64[us]")
    return moments


def _identity(rows: pa.Table, names: tuple[str, ...]) -> NDArray[np.str_]:
    """The columns as one text a row."""
    texts = [pc.fill_null(rows.column(name).cast(pa.string()), "") for name in names]
    joined = pc.binary_join_element_wise(*texts, _SEPARATOR)
    return np.array(joined.to_pylist(), dtype=np.str_) if rows.num_rows else np.array([], dtype=np.str_)


def _said(rows: pa.Table, table: Table) -> list[tuple[object, ...]]:
    """What each row says apart from when and where we read it; times count only where they are part of the key."""
    silent = {*_UNSAID, *(name for name in ("ts", "known_at") if name not in table.key)}
    columns = [rows.column(name).to_pylist() for name in table.column_names if name not in silent]
    return list(zip(*columns, strict=True))


def once(rows: pa.Table, table: Table) -> pa.Table:
    """Rows without repetitions; overlapping pages repeat, contradicting ones are an error."""
    first: dict[str, tuple[object, ...]] = {}
    keep: list[bool] = []
    for key, said in zip(_identity(rows, table.key).tolist(), _said(rows, table), strict=True):
        known = first.setdefault(key, said)
        keep.append(known is said)
        if known != said:
            message = f"table {table.name}: two rows contradict each other under the key {key.replace(_SEPARATOR, ', ')}"
            raise DataInvalid(message, mend="look at the raw payload named in the asset's metadata")
    return rows.filter(pa.array(keep, pa.bool_()))


def _news(rows: pa.Table, stored: pa.Table, table: Table) -> pa.Table:
    """Rows whose key is new, or that differ from the last recorded version of it."""
    order = pc.sort_indices(stored, sort_keys=[("recorded_at", "ascending")])
    stored = stored.take(order)
    known = dict(zip(_identity(stored, table.key).tolist(), _said(stored, table), strict=True))
    offered = zip(_identity(rows, table.key).tolist(), _said(rows, table), strict=True)
    return rows.filter(pa.array([known.get(key) != said for key, said in offered], pa.bool_()))
