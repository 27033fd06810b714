"""SQL over the lake: DuckDB views on the Parquet files, nothing loaded before it is asked for."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import duckdb
import pyarrow as pa
from upath import UPath

from hedgefund_core import layout
from hedgefund_core.errors import DataInvalid
from hedgefund_core.schemas import (
    ARTICLES,
    BARS,
    CORPORATE_ACTIONS,
    FEATURES,
    FUNDAMENTALS,
    INSTRUMENTS,
    LABELS,
    MACRO,
    MARKET_SESSIONS,
    NEWS,
    QUARANTINE,
    STATED_ACTIONS,
    VALIDATED_BARS,
)


def run_query(root: UPath, query: str, tables: Mapping[str, pa.Table] | None = None) -> pa.Table:
    """Result of a query, ``tables`` in place of the files of their names; raises DataInvalid with DuckDB's words if it cannot run."""
    with duckdb.connect() as connection:
        if not isinstance(root, pathlib.Path):
            connection.register_filesystem(root.fs)
        for name, pattern in _patterns().items():
            if name in (tables or {}):
                connection.register(name, (tables or {})[name])
            elif next(iter(root.glob(pattern)), None) is not None:
                place = str(root / pattern).replace("'", "''")
                connection.execute(
                    f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{place}', hive_partitioning = true)"  # noqa: S608 - names are ours
                )
        try:
            return connection.sql(query).to_arrow_table()
        except duckdb.Error as error:
            message = f"query failed: {error}"
            raise DataInvalid(message, mend="check table and column names; a table exists once its asset ran") from error


def _patterns() -> dict[str, str]:
    """Where the files of each view lie."""
    single = (VALIDATED_BARS, CORPORATE_ACTIONS, FEATURES, LABELS)
    versioned = (MACRO, FUNDAMENTALS, NEWS, INSTRUMENTS, STATED_ACTIONS, MARKET_SESSIONS, ARTICLES)
    patterns = {table.name: layout.table_file(table.name, "*") for table in single}
    patterns |= {table.name: f"{layout.versions_folder(table.name, '*')}/*.parquet" for table in versioned}
    return {BARS.name: f"{layout.BARS}/*/*/*.parquet", QUARANTINE.name: layout.QUARANTINE_BARS, **patterns}
