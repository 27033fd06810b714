"""Every as-of read of every table equals a naive list of all that was ever offered, row by row; also after compaction.

The oracle drops nothing and merges nothing: corrections, late rows, renames, re-adjustments, restatements and repeated
offers are appended; a read goes through all of it. What the lake may differ in is only where and when a saying was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hedgefund_core.schemas import BARS, TABLES, ColumnType, Table
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.lake_changes import said_columns
from hedgefund_dagster.resources.lake_compaction import compact
from hedgefund_dagster.resources.lake_files import arrow_schema

START = datetime(2024, 1, 1, tzinfo=UTC)
STORED = START + timedelta(days=50)
VERSIONED = [table for table in TABLES if table.identity]
Row = dict[str, object]
PHASES = (Phase.explicit, Phase.generate)
"""A counter-example is small enough as it is found: making it smaller would take minutes."""
SAMPLES: dict[ColumnType, tuple[object, ...]] = {
    ColumnType.TEXT: ("a", "b"),
    ColumnType.DATE: (date(2024, 1, 2), date(2024, 1, 3)),
    ColumnType.TIMESTAMP: (START, START + timedelta(days=1)),
    ColumnType.FLOAT: (1.0, 2.0, float("nan")),
    ColumnType.INTEGER: (1, 2),
    ColumnType.FLAG: (True, False),
}
"""Few values, so that keys meet again and again."""


def rows_of(table: Table) -> st.SearchStrategy[Row]:
    """A row of a table: any key, any saying, known on one of five days."""
    cells = {
        column.name: st.sampled_from((*SAMPLES[column.type], *((None,) if column.nullable else ())))
        for column in table.columns
        if column.name not in ("known_at", "recorded_at", "known_at_basis", "raw_sha256", "source_row")
    }
    known = st.integers(0, 4).map(lambda day: START + timedelta(days=2 + day))
    fixed = {"known_at_basis": st.just("vendor"), "raw_sha256": st.just("0"), "source_row": st.just(1)}
    return st.fixed_dictionaries({**cells, **fixed, "known_at": known})


@st.composite
def histories(draw: st.DrawFn, table: Table) -> list[list[Row]]:
    """Writes to one table: some rows are new, some say again what an earlier write said, some say it of another time."""
    pool = draw(st.lists(rows_of(table), min_size=2, max_size=6))
    writes = []
    observed = draw(st.booleans())
    for turn in range(draw(st.integers(1, 5))):
        offered = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=5))
        moved = [{**row, "known_at": row["known_at"] + timedelta(days=draw(st.integers(0, 2)))} for row in offered]  # type: ignore[operator]
        if observed:  # known when we saw it
            moved = [{**row, "known_at_basis": "observed", "known_at": START + timedelta(days=2 * turn)} for row in offered]
        unique = {tuple(repr(row[name]) for name in (*table.key, "known_at")): row for row in moved}
        writes.append(list(unique.values()))
    return writes


def arrow(table: Table, rows: Sequence[Row], recorded: datetime) -> pa.Table:
    return pa.Table.from_pylist([{**row, "recorded_at": recorded} for row in rows], schema=arrow_schema(table))


def said(table: Table, row: Row) -> tuple[str, ...]:
    return tuple(repr(row[name]) for name in said_columns(table))


def identified(table: Table, row: Row) -> tuple[str, ...]:
    return tuple(repr(row[name]) for name in table.identity)


def oracle(
    table: Table, log: list[tuple[datetime, Row]], known_by: datetime, recorded_by: datetime
) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Of all visible rows of an identity: the one known last, of those the key first heard of last, of those the last recorded."""
    keys = [tuple(repr(row[name]) for name in table.key if name != "known_at") for _, row in log]
    best: dict[tuple[str, ...], tuple[tuple[object, ...], tuple[str, ...]]] = {}
    for place, (recorded, row) in enumerate(log):
        known = row["known_at"]
        assert isinstance(known, datetime)
        if recorded > recorded_by or known > known_by:
            continue
        rank = (known, keys.index(keys[place]), place)
        identity = identified(table, row)
        if identity not in best or rank > best[identity][0]:
            best[identity] = (rank, said(table, row))
    return {identity: saying for identity, (_, saying) in best.items()}


def check_table(lake: Lake, table: Table, writes: list[list[Row]], compacted_after: int) -> None:
    """All reads of all moments after all writes, with a compaction somewhere between."""
    log: list[tuple[datetime, Row]] = []
    for turn, rows in enumerate(writes):
        recorded = STORED + timedelta(days=turn)
        offered = arrow(table, rows, recorded)
        lake.versions.append(table, "v", offered)
        assert lake.versions.append(table, "v", offered).added == 0, "the same rows again are no news"
        log += [(recorded, row) for row in offered.to_pylist()]
        if turn == compacted_after:
            compact(lake.root)
    for known in range(1, 9, 2):
        for stored in range(len(writes)):
            known_by, recorded_by = START + timedelta(days=known), STORED + timedelta(days=stored)
            read = lake.versions.read(table, "v", known_by=known_by, recorded_by=recorded_by).to_pylist()
            found = {identified(table, row): said(table, row) for row in read}
            assert len(found) == len(read), "an identity stands once"
            assert found == oracle(table, log, known_by, recorded_by)


def search(table: Table, folders: pytest.TempPathFactory, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(writes=histories(table), compacted_after=st.integers(0, 5))
    def holds(writes: list[list[Row]], compacted_after: int) -> None:
        check_table(Lake(folders.mktemp("lake")), table, writes, compacted_after)

    holds()


@pytest.mark.parametrize("table", VERSIONED, ids=lambda table: table.name)
def test_as_of_reads_equal_a_naive_log(tmp_path_factory: pytest.TempPathFactory, table: Table) -> None:
    search(table, tmp_path_factory, 5)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("table", VERSIONED, ids=lambda table: table.name)
def test_as_of_reads_equal_a_naive_log_at_length(tmp_path_factory: pytest.TempPathFactory, table: Table) -> None:
    search(table, tmp_path_factory, 150)


def bar_oracle(log: list[tuple[datetime, list[Row]]], known_by: datetime, recorded_by: datetime) -> dict[tuple[object, object], list[str]]:
    """Of each (symbol, session) all rows of the last write that had any visible one."""
    best: dict[tuple[object, object], list[str]] = {}
    for recorded, rows in log:
        if recorded > recorded_by:
            continue
        heard: dict[tuple[object, object], list[str]] = {}
        for row in rows:
            known = row["known_at"]
            assert isinstance(known, datetime)
            if known <= known_by:
                heard.setdefault((row["symbol"], row["session"]), []).append(repr([row[name] for name in BAR_SAYS]))
        best |= heard
    return best


BAR_SAYS = [name for name in BARS.column_names if name not in ("recorded_at", "raw_sha256", "source_row")]


def check_bars(lake: Lake, writes: list[list[Row]], compacted_after: int) -> None:
    log: list[tuple[datetime, list[Row]]] = []
    for turn, write in enumerate(writes):
        recorded = STORED + timedelta(days=turn)
        rows = [{**row, "source_row": place} for place, row in enumerate(write)]
        offered = arrow(BARS, rows, recorded)
        lake.write_bars("v", "2024", offered)
        assert lake.write_bars("v", "2024", offered).added == 0
        log.append((recorded, offered.to_pylist()))
        if turn == compacted_after:
            compact(lake.root)
    for known in range(1, 9, 2):
        for stored in range(len(writes)):
            known_by, recorded_by = START + timedelta(days=known), STORED + timedelta(days=stored)
            read = lake.read_bars("v", recorded_by, known_by=known_by).to_pylist()
            found: dict[tuple[object, object], list[str]] = {}
            for row in read:
                found.setdefault((row["symbol"], row["session"]), []).append(repr([row[name] for name in BAR_SAYS]))
            assert found == bar_oracle(log, known_by, recorded_by)


def search_bars(folders: pytest.TempPathFactory, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.too_slow])
    @given(writes=st.lists(st.lists(rows_of(BARS), min_size=1, max_size=5), min_size=1, max_size=4), compacted_after=st.integers(0, 4))
    def holds(writes: list[list[Row]], compacted_after: int) -> None:
        check_bars(Lake(folders.mktemp("lake")), writes, compacted_after)

    holds()


def test_as_of_reads_of_bars_equal_a_naive_log(tmp_path_factory: pytest.TempPathFactory) -> None:
    search_bars(tmp_path_factory, 12)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_as_of_reads_of_bars_equal_a_naive_log_at_length(tmp_path_factory: pytest.TempPathFactory) -> None:
    search_bars(tmp_path_factory, 1000)
