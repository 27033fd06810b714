"""The lake: Parquet and npz files under one root, local or object store, written atomically, each with a manifest.

``bars`` is versioned by ``recorded_at``: storing the same rows again adds nothing, a row that differs adds a version.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import msgspec
import numpy as np
import pyarrow as pa
from upath import UPath

from hedgefund_core import layout
from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_core.quant.panel_codec import data_version, pack_arrays, pack_panel, unpack_arrays, unpack_panel
from hedgefund_core.schemas import Table
from hedgefund_dagster.resources.lake_bars import WriteResult, append_bars, bar_versions, first_versions, latest_versions, visible
from hedgefund_dagster.resources.lake_files import Manifest, conform, parquet_bytes, read_parquet, rows_digest, write_atomic, write_manifest
from hedgefund_dagster.resources.lake_grids import GridStore
from hedgefund_dagster.resources.lake_quarantine import QuarantineStore
from hedgefund_dagster.resources.lake_raw import RawRecord, RawStore
from hedgefund_dagster.resources.lake_reference import Reference
from hedgefund_dagster.resources.lake_versions import VersionStore

__all__ = ["Lake", "LakeResource", "PanelManifest", "WriteResult", "bar_versions", "first_versions", "latest_versions"]

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


class Lake:
    """Reader and writer of the lake.

    Stores of their own: ``raw``, ``quarantine``, ``versions`` (every table with an identity), ``grids`` (date-major as-of reads of
    bars), ``reference`` (who a symbol was, what a universe held, on a day).
    """

    def __init__(self, root: UPath | Path | str) -> None:
        self.root = UPath(root)
        self.raw = RawStore(self.root)
        self.quarantine = QuarantineStore(self.root)
        self.versions = VersionStore(self.root)
        self.grids = GridStore(self.root)
        self.reference = Reference(self.versions)

    def write_bars(self, source: str, partition: str, rows: pa.Table, *, run_id: str = "") -> WriteResult:
        """Add the rows of one partition that are new or differ from their latest version."""
        return append_bars(self.root / layout.bars_partition(source, partition), rows, run_id)

    def read_bars(self, source: str, recorded_as_of: datetime | None = None, *, known_by: datetime | None = None) -> pa.Table:
        """Per (symbol, session) the latest version recorded by then, in the order (symbol, session, source_row).

        Versions known after ``known_by`` do not exist yet. Rows one payload repeats for the same key are all returned: telling
        them apart is the work of validation.
        """
        return latest_versions(visible(bar_versions(self.root, source), known_by=known_by, recorded_by=recorded_as_of))

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
        panel = unpack_panel(path.read_bytes(), str(path))
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
        """Run a DuckDB query; every table somebody wrote is a view of its name, the quarantine too."""
        from hedgefund_dagster.resources.lake_sql import run_query

        return run_query(self.root, query)

    def _table_file(self, table: Table, source: str) -> UPath:
        return self.root / layout.table_file(table.name, source)


class LakeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The lake as a Dagster resource; ``root`` is a folder or an address universal-pathlib knows; empty: HEDGEFUND_DATA_DIR."""

    root: str = ""
    config: str = ""

    def open(self) -> Lake:
        """The lake itself, its bars and actions in the store that the configuration names."""
        from hedgefund_dagster.settings import opened_lake  # which itself needs this module

        return opened_lake(self.root, self.config)
