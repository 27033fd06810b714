"""SQL over the lake: DuckDB views on the Parquet files, nothing loaded before it is asked for.

A view of a table of versions shows every version ever recorded; its as-of reads are the lake's own.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import duckdb
import pyarrow as pa
from upath import UPath

from hedgefund_core import layout
from hedgefund_core.errors import DataInvalid
from hedgefund_core.schemas import BARS, CORPORATE_ACTIONS, FEATURES, LABELS, QUARANTINE, TABLES, VALIDATED_BARS
from hedgefund_dagster.resources.lake_folders import live_files

_REPLACED = (VALIDATED_BARS, CORPORATE_ACTIONS, FEATURES, LABELS)
"""Tables that each write replaces."""


def run_query(root: UPath, query: str, tables: Mapping[str, pa.Table] | None = None) -> pa.Table:
    """Result of a query, ``tables`` in place of the files of their names; raises DataInvalid with DuckDB's words if it cannot run."""
    with duckdb.connect() as connection:
        if not isinstance(root, pathlib.Path):
            connection.register_filesystem(root.fs)
        for name, paths in view_files(root).items():
            places = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
            if name in (tables or {}):
                connection.register(name, (tables or {})[name])
            elif paths:
                connection.execute(
                    f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{places}], hive_partitioning = true, union_by_name = true)"  # noqa: S608 - names are ours
                )
        try:
            return connection.sql(query).to_arrow_table()
        except duckdb.Error as error:
            message = f"query failed: {error}"
            raise DataInvalid(message, mend="check table and column names; a table exists once its asset ran") from error


def view_files(root: UPath) -> dict[str, list[UPath]]:
    """The files behind each view; a table nobody wrote has none. What a compaction replaced does not count."""
    found = {table.name: sorted(root.glob(layout.table_file(table.name, "*"))) for table in _REPLACED}
    for table in TABLES:
        if table.identity:
            found[table.name] = _live(root, layout.versions_folder(table.name, "*"))
    found[BARS.name] = _live(root, f"{layout.BARS}/source=*/partition=*")
    found[QUARANTINE.name] = sorted(root.glob(layout.QUARANTINE_BARS))
    return found


def _live(root: UPath, pattern: str) -> list[UPath]:
    return [path for folder in sorted(root.glob(pattern)) if folder.is_dir() for path in live_files(folder)]
