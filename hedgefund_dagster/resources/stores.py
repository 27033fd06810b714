"""Which store holds bars and actions: Parquet files, or PostgreSQL where config/sources.yaml says so. The rest of the lake is files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
from upath import UPath

from hedgefund_core import layout
from hedgefund_core.configuration import StoreSettings
from hedgefund_core.errors import ConfigError
from hedgefund_core.schemas import BARS, CORPORATE_ACTIONS, STATED_ACTIONS, Table
from hedgefund_dagster.ports import ActionStore, BarStore
from hedgefund_dagster.resources.lake import Lake, WriteResult, bar_versions, first_versions
from hedgefund_dagster.resources.lake_files import Manifest
from hedgefund_dagster.resources.lake_grids import GridStore
from hedgefund_dagster.resources.lake_versions import Appended, VersionStore

URL = "HEDGEFUND_POSTGRES_URL"
Views = Mapping[str, Callable[[], pa.Table]]


class ParquetBars:
    """The bar table of the Parquet lake; see ports.BarStore."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self.write_bars, self.read_bars = lake.write_bars, lake.read_bars
        self.writes, self.history = lake.grids.writes, lake.grids.history

    def first_bars(self, source: str) -> pa.Table:
        """Per (symbol, session) the version recorded first."""
        return first_versions(bar_versions(self._lake.root, source))

    def newest(self, source: str) -> datetime | None:
        """When the newest bar happened."""
        if not (self._lake.root / layout.BARS / f"source={source}").exists():
            return None
        query = f"SELECT epoch_us(max(ts)) AS newest FROM bars WHERE source = '{source}'"  # noqa: S608 - names are ours
        found = self._lake.sql(query).column("newest").to_pylist()[0]
        return None if found is None else datetime.fromtimestamp(found / 1_000_000, UTC)


class ParquetActions:
    """The action tables of the Parquet lake; see ports.ActionStore."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self.append, self.read, self.has, self.history = lake.versions.append, lake.versions.read, lake.versions.has, lake.versions.history
        self.write_table, self.read_table = lake.write_table, lake.read_table
        self.has_table, self.remove_table = lake.has_table, lake.remove_table


class RoutedVersions(VersionStore):
    """Version tables as files, apart from stated actions, which are where the bars are."""

    def __init__(self, root: UPath, actions: ActionStore) -> None:
        super().__init__(root)
        self._actions = actions

    def append(self, table: Table, source: str, rows: pa.Table, *, run_id: str = "") -> Appended:
        """See `VersionStore.append`."""
        if table is STATED_ACTIONS:
            return self._actions.append(table, source, rows, run_id=run_id)
        return super().append(table, source, rows, run_id=run_id)

    def read(self, table: Table, source: str, *, known_by: datetime | None = None, recorded_by: datetime | None = None) -> pa.Table:
        """See `VersionStore.read`."""
        if table is STATED_ACTIONS:
            return self._actions.read(table, source, known_by=known_by, recorded_by=recorded_by)
        return super().read(table, source, known_by=known_by, recorded_by=recorded_by)

    def history(self, table: Table, source: str) -> pa.Table | None:
        """See `VersionStore.history`."""
        if table is STATED_ACTIONS:
            return self._actions.history(table, source)
        return super().history(table, source)

    def has(self, table: Table, source: str) -> bool:
        """See `VersionStore.has`."""
        if table is STATED_ACTIONS:
            return self._actions.has(table, source)
        return super().has(table, source)


class RoutedGrids(GridStore):
    """Date-major as-of reads: the mapped columns stay files, made of the versions the bar store holds."""

    def __init__(self, root: UPath, bars: BarStore) -> None:
        super().__init__(root)
        self._bars = bars

    def writes(self, source: str) -> list[tuple[str, str]]:
        """See `BarStore.writes`."""
        return self._bars.writes(source)

    def history(self, source: str) -> pa.Table:
        """See `BarStore.history`."""
        return self._bars.history(source)


class RoutedLake(Lake):
    """The lake with its bars and actions in another store; everything else stays in its files."""

    def __init__(self, root: UPath | Path | str, bars: BarStore, actions: ActionStore, views: Views) -> None:
        super().__init__(root)
        self._views = views
        self.bars = bars
        self.actions = actions
        self.versions = RoutedVersions(self.root, actions)
        self.grids = RoutedGrids(self.root, bars)

    def write_bars(self, source: str, partition: str, rows: pa.Table, *, run_id: str = "") -> WriteResult:
        """See `BarStore.write_bars`."""
        return self.bars.write_bars(source, partition, rows, run_id=run_id)

    def read_bars(self, source: str, recorded_as_of: datetime | None = None, *, known_by: datetime | None = None) -> pa.Table:
        """See `BarStore.read_bars`."""
        return self.bars.read_bars(source, recorded_as_of, known_by=known_by)

    def write_table(self, table: Table, source: str, rows: pa.Table, *, recorded_at: datetime, run_id: str = "") -> Manifest:
        """See `Lake.write_table`."""
        if table is CORPORATE_ACTIONS:
            return self.actions.write_table(table, source, rows, recorded_at=recorded_at, run_id=run_id)
        return super().write_table(table, source, rows, recorded_at=recorded_at, run_id=run_id)

    def read_table(self, table: Table, source: str) -> pa.Table:
        """See `Lake.read_table`."""
        if table is CORPORATE_ACTIONS:
            return self.actions.read_table(table, source)
        return super().read_table(table, source)

    def has_table(self, table: Table, source: str) -> bool:
        """See `Lake.has_table`."""
        if table is CORPORATE_ACTIONS:
            return self.actions.has_table(table, source)
        return super().has_table(table, source)

    def remove_table(self, table: Table, source: str) -> None:
        """See `Lake.remove_table`."""
        if table is CORPORATE_ACTIONS:
            self.actions.remove_table(table, source)
        else:
            super().remove_table(table, source)

    def sql(self, query: str) -> pa.Table:
        """See `Lake.sql`; what is kept elsewhere is fetched if the query names it."""
        from hedgefund_dagster.resources.lake_sql import run_query

        named = {name: rows() for name, rows in self._views.items() if re.search(rf"\b{name}\b", query, re.IGNORECASE)}
        return run_query(self.root, query, named)


def bar_store(lake: Lake) -> BarStore:
    """Where this lake keeps its bars."""
    return lake.bars if isinstance(lake, RoutedLake) else ParquetBars(lake)


def action_store(lake: Lake) -> ActionStore:
    """Where this lake keeps its actions."""
    return lake.actions if isinstance(lake, RoutedLake) else ParquetActions(lake)


def open_lake(root: UPath | Path | str, settings: StoreSettings, env: Mapping[str, str]) -> Lake:
    """The lake as configured; raises ConfigError if PostgreSQL is wanted and its address is not in the environment."""
    if settings.bars == "parquet":
        return Lake(root)
    url = env.get(URL, "")
    if not url:
        message = f"sources.yaml: store.bars is postgresql, but {URL} is not set"
        raise ConfigError(
            message, mend=f"write {URL}=postgresql://USER:PASSWORD@HOST:PORT/DATABASE into .env, or set store.bars to parquet"
        )
    from hedgefund_dagster.resources.postgres_actions import PostgresActions
    from hedgefund_dagster.resources.postgres_bars import PostgresBars
    from hedgefund_dagster.resources.postgres_session import PostgresDatabase

    database = PostgresDatabase(url)
    bars, actions = PostgresBars(database), PostgresActions(database)
    views = {table.name: partial(actions.every_row, table) for table in (STATED_ACTIONS, CORPORATE_ACTIONS)}
    return RoutedLake(root, bars, actions, {BARS.name: bars.history, **views})
