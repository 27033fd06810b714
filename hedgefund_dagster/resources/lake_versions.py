"""Tables that keep every version (all of `schemas.TABLES` with an identity): added to, never rewritten, read as of a moment."""

from __future__ import annotations

from datetime import datetime

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from hedgefund_core import layout
from hedgefund_core.errors import DataUnavailable
from hedgefund_core.schemas import Table
from hedgefund_dagster.resources.lake_changes import VersionOrder, news, once
from hedgefund_dagster.resources.lake_files import conform, rows_digest
from hedgefund_dagster.resources.lake_folders import exclusive, last_content, live_files, read_folder, write_part

__all__ = ["Appended", "VersionStore", "once"]


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """What an append changed."""

    added: int
    unchanged: int


class VersionStore:
    """A file a write under ``processed/<table>/source=<source>/``, each with its manifest."""

    def __init__(self, root: UPath) -> None:
        self._root = root

    def append(self, table: Table, source: str, rows: pa.Table, *, run_id: str = "") -> Appended:
        """Add the rows that change what some as-of read returns; the others are counted as unchanged.

        Raises DataInvalid if two of the offered rows contradict each other under one key and one time of knowledge.
        """
        offered = conform(rows, table)
        digest = rows_digest(offered)
        folder = self._folder(table, source)
        if offered.num_rows == 0:
            return Appended(added=0, unchanged=0)
        with exclusive(folder):
            if last_content(folder) == digest:
                return Appended(added=0, unchanged=offered.num_rows)
            fresh = once(offered, table)
            unique = fresh.num_rows
            stored = self.history(table, source)
            fresh = news(fresh, conform(rows.slice(0, 0), table) if stored is None else stored, table)
            if fresh.num_rows:
                write_part(folder, fresh, offered=digest, run_id=run_id)
        return Appended(added=fresh.num_rows, unchanged=unique - fresh.num_rows)

    def read(self, table: Table, source: str, *, known_by: datetime | None = None, recorded_by: datetime | None = None) -> pa.Table:
        """What a reader at a moment would have seen: per ``table.identity`` the version known last, of those the one recorded last.

        ``known_by`` None = everything there is; ``recorded_by`` pins a read, so that it can be repeated. Of several keys of one
        identity known at the same moment, the one first recorded later counts. Raises DataUnavailable if the table was never written.
        """
        rows = self.history(table, source)
        if rows is None:
            message = f"no {table.name} of {source} are stored"
            raise DataUnavailable(message, mend=f"materialize the assets of {source}")
        versions = VersionOrder.of(rows, table)
        seen = np.ones(rows.num_rows, np.bool_)
        if known_by is not None:
            seen &= versions.known_at <= _moment(known_by)
        if recorded_by is not None:
            seen &= versions.recorded_at <= _moment(recorded_by)
        order = versions.sorted(np.flatnonzero(seen))
        identity = versions.identity[order]
        last = np.append(identity[1:] != identity[:-1], np.ones(min(1, len(order)), np.bool_))
        found = rows.take(pa.array(order[last]))
        return found.take(pc.sort_indices(found, sort_keys=[(name, "ascending") for name in table.identity])).combine_chunks()

    def history(self, table: Table, source: str) -> pa.Table | None:
        """Every version in the order of recording, None if nothing is stored."""
        rows = read_folder(self._folder(table, source))
        if rows is None:
            return None
        recorded = rows.column("recorded_at").cast(pa.int64()).to_numpy()
        if bool(np.all(recorded[1:] >= recorded[:-1])):
            return rows
        return rows.take(pa.array(np.argsort(recorded, kind="stable"))).combine_chunks()

    def has(self, table: Table, source: str) -> bool:
        """Whether anything of the table is stored."""
        return bool(live_files(self._folder(table, source)))

    def _folder(self, table: Table, source: str) -> UPath:
        return self._root / layout.versions_folder(table.name, source)


def _moment(value: datetime) -> np.datetime64:
    return np.datetime64(int(value.timestamp() * 1_000_000), "us")
