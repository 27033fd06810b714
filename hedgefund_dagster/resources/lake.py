"""The lake: Parquet and npz files under one root, local or object store, written atomically, each with a manifest.

``bars`` is versioned by ``recorded_at``: storing the same rows again adds nothing, a row that differs adds a version.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from hedgefund_core import layout
from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_core.quant.panel_codec import data_version, pack_arrays, pack_panel, unpack_arrays, unpack_panel
from hedgefund_core.schemas import BARS, Table
from hedgefund_dagster.resources.lake_files import (
    Manifest,
    arrow_schema,
    conform,
    parquet_bytes,
    read_manifest,
    read_parquet,
    rows_digest,
    write_atomic,
    write_manifest,
)
from hedgefund_dagster.resources.lake_quarantine import QuarantineStore
from hedgefund_dagster.resources.lake_raw import RawRecord, RawStore
from hedgefund_dagster.resources.lake_versions import VersionStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hedgefund_core.quant.bars import Panel


class PanelManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What stands behind a panel: a bar can be walked back to the file it came from."""

    source: str
    data_version: str
    sha256: str
    rows: int
    symbols: tuple[str, ...]
    first_session: str
    last_session: str
    price_kind: str
    calendar: str
    currency: str
    benchmark_name: str
    known_at_basis: str
    recorded_as_of: str
    research_start: str
    biases: tuple[tuple[str, str], ...]
    not_evaluable: tuple[str, ...]
    quarantined: int
    raw_files: tuple[RawRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteResult:
    """What a write changed."""

    added: int
    unchanged: int


class Lake:
    """Reader and writer of the lake. ``raw``, ``quarantine`` and ``versions`` (macro, fundamentals, news) are stores of their own."""

    def __init__(self, root: UPath | Path | str) -> None:
        self.root = UPath(root)
        self.raw = RawStore(self.root)
        self.quarantine = QuarantineStore(self.root)
        self.versions = VersionStore(self.root)

    def write_bars(self, source: str, partition: str, rows: pa.Table, *, run_id: str = "") -> WriteResult:
        """Add the rows of one partition that are new or differ from their latest version."""
        rows = conform(rows, BARS)
        folder = self.root / layout.bars_partition(source, partition)
        if rows.num_rows == 0 or self._last_content(folder) == rows_digest(rows):
            return WriteResult(added=0, unchanged=rows.num_rows)
        fresh = _differing(rows, self._read_partition(folder))
        if fresh.num_rows == 0:
            return WriteResult(added=0, unchanged=rows.num_rows)
        recorded = pc.max(fresh.column("recorded_at")).as_py()
        content = parquet_bytes(fresh)
        path = folder / f"{recorded:%Y%m%dT%H%M%S%f}-{rows_digest(fresh)[:12]}.parquet"
        digest = write_atomic(path, content)
        manifest = Manifest(
            file=path.name,
            sha256=digest,
            content_sha256=rows_digest(rows),
            rows=fresh.num_rows,
            recorded_at=recorded.isoformat(),
            run_id=run_id,
        )
        write_manifest(path, manifest)
        return WriteResult(added=fresh.num_rows, unchanged=rows.num_rows - fresh.num_rows)

    def read_bars(self, source: str, recorded_as_of: datetime | None = None) -> pa.Table:
        """Per (symbol, session) the latest version recorded by then, in the order (symbol, session, source_row).

        Rows one payload repeats for the same key are all returned: telling them apart is the work of validation.
        """
        rows = bar_versions(self.root, source)
        if recorded_as_of is not None:
            rows = rows.filter(pc.less_equal(rows.column("recorded_at"), pa.scalar(recorded_as_of, pa.timestamp("us", tz="UTC"))))
        return latest_versions(rows)

    def write_table(self, table: Table, source: str, rows: pa.Table, *, recorded_at: datetime, run_id: str = "") -> Manifest:
        """Replace a source's table (validated bars, corporate actions, features, labels)."""
        rows = conform(rows, table)
        path = self._table_file(table, source)
        content = parquet_bytes(rows)
        manifest = Manifest(
            file=path.name,
            sha256=write_atomic(path, content),
            content_sha256=rows_digest(rows),
            rows=rows.num_rows,
            recorded_at=recorded_at.isoformat(),
            run_id=run_id,
        )
        write_manifest(path, manifest)
        return manifest

    def read_table(self, table: Table, source: str) -> pa.Table:
        """A source's table; raises DataUnavailable if it was never written."""
        path = self._table_file(table, source)
        if not path.exists():
            message = f"no {table.name} of {source} are stored"
            raise DataUnavailable(message, mend=f"materialize the asset {source}/{table.name}")
        return read_parquet(path)

    def remove_table(self, table: Table, source: str) -> None:
        """Forget a source's table: what was known is now unknown (the raw payloads still tell)."""
        self._table_file(table, source).unlink(missing_ok=True)

    def has_table(self, table: Table, source: str) -> bool:
        """Whether the source has that table at all."""
        return self._table_file(table, source).exists()

    def write_panel(self, panel: Panel, manifest: PanelManifest) -> PanelManifest:
        """Write the panel and, after it, its manifest (which names the panel's digest)."""
        content = pack_panel(panel)
        version = data_version(content)
        complete = msgspec.structs.replace(manifest, data_version=version, sha256=version)
        write_atomic(self.root / layout.panel_file(panel.source), content)
        encoded = msgspec.json.format(msgspec.json.encode(complete), indent=1)
        write_atomic(self.root / layout.panel_manifest(panel.source), encoded)
        return complete

    def read_panel(self, source: str) -> Panel:
        """The validated panel of a source; raises DataInvalid if its file is not the one the manifest names."""
        path = self.root / layout.panel_file(source)
        if not path.exists():
            message = f"no panel of {source} is stored"
            raise DataUnavailable(message, mend=f"materialize the asset {source}/panel")
        panel = unpack_panel(path.read_bytes())
        if panel.data_version != self.panel_manifest(source).sha256:
            message = f"the panel of {source} differs from its manifest's sha256"
            raise DataInvalid(message, mend=f"materialize the asset {source}/panel again")
        return panel

    def panel_manifest(self, source: str) -> PanelManifest:
        """The panel's manifest: where each bar came from, biases, ranges."""
        path = self.root / layout.panel_manifest(source)
        if not path.exists():
            message = f"no panel of {source} is stored"
            raise DataUnavailable(message, mend=f"materialize the asset {source}/panel")
        return msgspec.json.decode(path.read_bytes(), type=PanelManifest)

    def write_arrays(self, name: str, arrays: Mapping[str, NDArray[np.generic]]) -> str:
        """Date-major arrays under a relative name; returns the sha256."""
        return write_atomic(self.root / name, pack_arrays(arrays))

    def read_arrays(self, name: str) -> dict[str, NDArray[np.generic]]:
        """Arrays written by `write_arrays`; raises DataUnavailable if there are none."""
        path = self.root / name
        if not path.exists():
            message = f"{name} is not stored"
            raise DataUnavailable(message, mend="materialize the asset that writes it")
        return unpack_arrays(path.read_bytes())

    def sql(self, query: str) -> pa.Table:
        """Run a DuckDB query over the views bars, validated_bars, corporate_actions, features, labels, quarantine."""
        from hedgefund_dagster.resources.lake_sql import run_query

        return run_query(self.root, query)

    def _table_file(self, table: Table, source: str) -> UPath:
        return self.root / layout.table_file(table.name, source)

    def _read_partition(self, folder: UPath) -> pa.Table:
        paths = sorted(folder.glob("*.parquet")) if folder.exists() else []
        return pa.concat_tables([read_parquet(path) for path in paths]) if paths else arrow_schema(BARS).empty_table()

    def _last_content(self, folder: UPath) -> str:
        """Digest of the rows the latest write was given: equal means nothing can be new."""
        paths = sorted(folder.glob("*.parquet")) if folder.exists() else []
        manifest = read_manifest(paths[-1]) if paths else None
        return "" if manifest is None else manifest.content_sha256


def bar_versions(root: UPath, source: str) -> pa.Table:
    """Every version of every bar of a source, as they were recorded; raises DataUnavailable if there is none."""
    folder = root / layout.BARS / f"source={source}"
    paths = sorted(folder.glob("*/*.parquet")) if folder.exists() else []
    if not paths:
        message = f"no bars of {source} are stored"
        raise DataUnavailable(message, mend=f"materialize the asset {source}/bars")
    return pa.concat_tables([read_parquet(path) for path in paths]).combine_chunks()


def latest_versions(rows: pa.Table) -> pa.Table:
    """Rows of the greatest ``recorded_at`` of each (symbol, session), sorted by (symbol, session, source_row)."""
    return _versions(rows, "descending")


def first_versions(rows: pa.Table) -> pa.Table:
    """Rows of the least ``recorded_at`` of each (symbol, session): what was known of it first."""
    return _versions(rows, "ascending")


def _versions(rows: pa.Table, recorded: str) -> pa.Table:
    """Rows of the ``recorded_at`` that comes first in that order, of each (symbol, session)."""
    order = pc.sort_indices(
        rows, sort_keys=[("symbol", "ascending"), ("session", "ascending"), ("recorded_at", recorded), ("source_row", "ascending")]
    )
    rows = rows.take(order).combine_chunks()
    if rows.num_rows == 0:
        return rows
    symbol = rows.column("symbol").combine_chunks().dictionary_encode().indices.to_numpy()
    session = rows.column("session").cast(pa.int32()).to_numpy()
    moments = rows.column("recorded_at").cast(pa.int64()).to_numpy()
    starts = np.concatenate([[True], (np.diff(symbol) != 0) | (np.diff(session) != 0)])
    wanted = moments[np.flatnonzero(starts)][np.cumsum(starts) - 1]
    return rows.filter(pa.array(moments == wanted)).combine_chunks()


def _differing(rows: pa.Table, stored: pa.Table) -> pa.Table:
    """Rows of keys that are new, or whose content differs from the latest stored version."""
    if stored.num_rows == 0:
        return rows
    latest = latest_versions(stored)
    known = _content_by_key(latest)
    offered = _content_by_key(rows)
    symbols, sessions = rows.column("symbol").to_pylist(), rows.column("session").to_pylist()
    keep = [known.get(key) != offered[key] for key in zip(symbols, sessions, strict=True)]
    return rows.filter(pa.array(keep, pa.bool_()))


def _content_by_key(rows: pa.Table) -> dict[tuple[object, object], list[tuple[object, ...]]]:
    """What each (symbol, session) says: its prices, whatever file and row they stand in."""
    names = [c.name for c in BARS.columns if c.name not in ("recorded_at", "raw_sha256", "source_row")]
    content: dict[tuple[object, object], list[tuple[object, ...]]] = {}
    for row in zip(*(rows.column(name).to_pylist() for name in names), strict=True):
        content.setdefault((row[0], row[1]), []).append(row)
    return content


class LakeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The lake as a Dagster resource; ``root`` is a folder or an address universal-pathlib knows; empty: HEDGEFUND_DATA_DIR."""

    root: str = ""

    def open(self) -> Lake:
        """The lake itself."""
        return Lake(self.root or str(Path(os.environ.get("HEDGEFUND_DATA_DIR") or "data").resolve()))
