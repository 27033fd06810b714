"""Compaction at every point of a crash, writers at once, grids, views, and who a symbol was."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_core.quant.symbols import meant, members, membership
from hedgefund_core.schemas import (
    BARS,
    FEATURES,
    FILLS,
    LABELS,
    MACRO,
    QUARANTINE,
    SYMBOL_HISTORY,
    TABLES,
    UNIVERSE_MEMBERSHIP,
    ColumnType,
    Table,
)
from hedgefund_dagster.compact import main as compact_command
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.lake_compaction import compact, compact_folder, compaction_steps, version_folders, write_history
from hedgefund_dagster.resources.lake_files import arrow_schema
from hedgefund_dagster.resources.lake_reference import Moment
from hedgefund_dagster.resources.lake_sql import view_files

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
CELLS = {
    ColumnType.TEXT: "x",
    ColumnType.DATE: date(2024, 1, 2),
    ColumnType.TIMESTAMP: NOW,
    ColumnType.FLOAT: 1.0,
    ColumnType.INTEGER: 1,
    ColumnType.FLAG: False,
}


def row(table: Table, **changes: object) -> dict[str, object]:
    return {**{column.name: CELLS[column.type] for column in table.columns}, "known_at_basis": "vendor", **changes}


def rows(table: Table, *records: dict[str, object]) -> pa.Table:
    schema = arrow_schema(table)
    return pa.Table.from_pylist([{name: record[name] for name in schema.names} for record in records], schema=schema)


def bars(closes: dict[str, float], turn: int, day: date = date(2024, 1, 2)) -> pa.Table:
    stored = NOW + timedelta(days=turn)
    return rows(
        BARS, *(row(BARS, symbol=s, session=day, close=c, recorded_at=stored, source_row=n) for n, (s, c) in enumerate(closes.items()))
    )


def written(root: Path) -> Lake:
    lake = Lake(root)
    for turn, value in enumerate((1.0, 2.0, 1.0, 3.0)):
        lake.write_bars("v", "2024", bars({"A": value, f"N{turn}": 5.0}, turn), run_id=f"r{turn}")
        stored = NOW + timedelta(days=turn)
        lake.versions.append(MACRO, "v", rows(MACRO, row(MACRO, value=value, recorded_at=stored)), run_id=f"r{turn}")
    return lake


def reads(lake: Lake) -> list[object]:
    moments = [NOW + timedelta(days=turn, hours=-1) for turn in range(6)]
    return [
        *(lake.read_bars("v", moment).to_pylist() for moment in moments),
        *(lake.versions.read(MACRO, "v", recorded_by=moment).to_pylist() for moment in moments),
        *(lake.grids.read("v", recorded_by=moment).values.tolist().__repr__() for moment in moments),
        lake.sql("select count(*) as n, sum(close) as s from bars").to_pylist(),
        lake.sql("select count(*) as n, sum(value) as s from macro").to_pylist(),
    ]


def test_a_compaction_leaves_one_file_a_partition_and_every_read_and_the_history_of_writes(tmp_path):
    lake = written(tmp_path)
    before, history = reads(lake), [write_history(folder) for folder in version_folders(lake.root)]
    done = compact(lake.root)
    assert [(d.files_before, d.files_after) for d in done] == [(4, 1), (4, 1)]
    assert reads(lake) == before
    assert [write_history(folder) for folder in version_folders(lake.root)] == history
    assert [write.run_id for write in history[0]] == ["r0", "r1", "r2", "r3"]
    assert all(len([p for p in folder.iterdir() if not p.name.startswith(".")]) == 2 for folder in version_folders(lake.root))
    assert compact(lake.root) == []


def test_a_compacted_lake_still_knows_what_is_new(tmp_path):
    lake = written(tmp_path)
    compact(lake.root)
    assert lake.write_bars("v", "2024", bars({"A": 3.0, "N3": 5.0}, 8)).added == 0
    assert lake.write_bars("v", "2024", bars({"A": 9.0, "N3": 5.0}, 9)).added == 1
    (again,) = compact(lake.root)
    assert (again.files_before, again.rows) == (2, 9)
    assert len(write_history(version_folders(lake.root)[0])) == 5


@pytest.mark.parametrize("steps", [1, 2, 3, 6, 9])
def test_a_crash_after_any_step_of_a_compaction_changes_no_read_and_the_next_one_ends_it(tmp_path, steps):
    lake = written(tmp_path)
    before = reads(lake)
    for folder in version_folders(lake.root):
        list(islice(compaction_steps(folder), steps))  # what was yielded is on disk, what comes after never happens
        (folder / ".half.parquet.1.tmp").write_bytes(b"half")
    assert reads(lake) == before
    lake.write_bars("v", "2024", bars({"B": 7.0}, 6))
    for folder in version_folders(lake.root):
        compact_folder(folder)
    assert lake.read_bars("v").column("symbol").to_pylist() == ["A", "B", "N0", "N1", "N2", "N3"]
    assert reads(lake)[:5] == before[:5]
    assert all(len(list(folder.glob("*.parquet"))) == 1 for folder in version_folders(lake.root))


APPENDS = """
import sys
from datetime import timedelta
sys.path.insert(0, sys.argv[3])
from tests.unit.test_batch_lake_store import *
lake, name = Lake(sys.argv[1]), sys.argv[2]
for turn in range(6):
    stored = NOW + timedelta(days=turn)
    lake.write_bars("v", "2024", bars({name: float(turn), "BOTH": 1.0}, turn))
    lake.versions.append(MACRO, "v", rows(MACRO, row(MACRO, series_id=name, value=float(turn), recorded_at=stored)))
    if turn % 3 == 2:
        compact(lake.root)
"""


def test_two_processes_that_append_and_compact_at_once_lose_nothing(tmp_path):
    root = str(Path(__file__).resolve().parents[2])
    started = [subprocess.Popen([sys.executable, "-c", APPENDS, str(tmp_path), name, root]) for name in ("A", "B")]
    assert [process.wait(timeout=100) for process in started] == [0, 0]
    lake = Lake(tmp_path)
    assert [(r["symbol"], r["close"]) for r in lake.read_bars("v").to_pylist()] == [("A", 5.0), ("B", 5.0), ("BOTH", 1.0)]
    assert lake.sql("select count(*) as n from bars").to_pylist() == [{"n": 13}], "6 versions of each, and one of what both say"
    assert lake.sql("select count(*) as n from macro").to_pylist() == [{"n": 12}]


def test_the_command_says_what_it_did(tmp_path, monkeypatch, capsys):
    written(tmp_path)
    monkeypatch.setenv("HEDGEFUND_DATA_DIR", str(tmp_path))
    assert compact_command([]) == 0
    said = capsys.readouterr().out
    assert "processed/macro/source=v: 4 files -> 1, 4 rows" in said
    assert said.endswith("2 folders compacted\n")


def test_a_grid_is_what_a_read_of_the_rows_says_at_every_moment(tmp_path):
    lake = Lake(tmp_path)
    days = [date(2024, 1, 2 + n) for n in range(4)]
    random = np.random.default_rng(3)
    for turn in range(5):
        for day in days[: turn + 1]:
            known = NOW + timedelta(days=int(random.integers(0, 4)))
            offered = bars({s: float(random.integers(1, 4)) for s in ("A", "B", "C")}, turn, day)
            column = offered.schema.get_field_index("known_at")
            offered = offered.set_column(column, "known_at", pa.array([known] * 3, offered.schema.field("known_at").type))
            lake.write_bars("v", "2024", offered)
    for known_by in (None, NOW, NOW + timedelta(days=2)):
        for recorded_by in (None, NOW, NOW + timedelta(days=3)):
            grid = lake.grids.read("v", known_by=known_by, recorded_by=recorded_by)
            expected = {(r["session"], r["symbol"]): r["close"] for r in lake.read_bars("v", recorded_by, known_by=known_by).to_pylist()}
            found = {
                (day, symbol): grid.values[line, column]
                for line, day in enumerate(grid.sessions.tolist())
                for column, symbol in enumerate(grid.symbols)
                if not np.isnan(grid.values[line, column])
            }
            assert found == expected


def test_a_grid_sees_the_next_write_and_refuses_what_is_no_field(tmp_path):
    lake = written(tmp_path)
    assert lake.grids.read("v").values[0, 0] == 3.0
    lake.write_bars("v", "2024", bars({"A": 8.0}, 9))
    assert lake.grids.read("v").values[0, 0] == 8.0
    assert len(list((tmp_path / "processed" / "grids" / "source=v").iterdir())) == 1, "columns of earlier states are gone"
    with pytest.raises(DataInvalid, match="no field"):
        lake.grids.read("v", "vwap")
    with pytest.raises(DataUnavailable):
        lake.grids.read("nobody")


@pytest.mark.parametrize("table", [table for table in TABLES if table not in (FEATURES, LABELS, FILLS)], ids=lambda table: table.name)
def test_every_table_is_a_view(tmp_path, table):
    lake = Lake(tmp_path)
    one = rows(table, row(table))
    if table is BARS:
        lake.write_bars("v", "2024", one)
    elif table is QUARANTINE:
        lake.quarantine.add(one)
    elif table.identity:
        lake.versions.append(table, "v", one)
    else:
        lake.write_table(table, "v", one, recorded_at=NOW)
    shown = lake.sql(f"select * from {table.name}")
    assert shown.num_rows == 1
    assert set(table.column_names) <= set(shown.column_names)
    assert [name for name, paths in view_files(lake.root).items() if paths] == [table.name]


def history(instrument: str, symbol: str, start: str, end: str | None, known: int = 0) -> dict[str, object]:
    return row(
        SYMBOL_HISTORY,
        instrument_id=instrument,
        symbol=symbol,
        valid_from=date.fromisoformat(start),
        valid_until=None if end is None else date.fromisoformat(end),
        known_at=NOW + timedelta(days=known),
    )


def test_a_symbol_used_again_means_who_bore_it_on_the_day(tmp_path):
    lake = Lake(tmp_path)
    lake.versions.append(SYMBOL_HISTORY, "v", rows(SYMBOL_HISTORY, history("one", "OLD", "2010-01-04", None)))
    ended = rows(
        SYMBOL_HISTORY,
        history("one", "OLD", "2010-01-04", "2012-06-29", 5),
        history("one", "NEW", "2012-07-02", None, 5),
        history("two", "OLD", "2013-01-02", None, 5),
    )
    lake.versions.append(SYMBOL_HISTORY, "v", ended)
    spans = lake.reference.instruments("v")
    days = ("2009-12-31", "2012-06-29", "2012-12-31", "2020-01-02")
    assert [meant(spans, ("OLD", "NEW"), np.datetime64(day)) for day in days] == [("", ""), ("one", ""), ("", "one"), ("two", "one")]
    before = lake.reference.instruments("v", Moment(known_by=NOW + timedelta(days=1)))
    assert meant(before, ("OLD", "NEW"), np.datetime64("2020-01-02")) == ("one", ""), "nobody knew of the rename yet"


def test_a_universe_holds_who_belonged_on_the_day(tmp_path):
    lake = Lake(tmp_path)
    member = {"universe": "u", "instrument_id": None}
    stored = rows(
        UNIVERSE_MEMBERSHIP,
        row(UNIVERSE_MEMBERSHIP, **member, symbol="A", valid_from=date(2010, 1, 4), valid_until=date(2010, 1, 5)),
        row(UNIVERSE_MEMBERSHIP, **member, symbol="A", valid_from=date(2010, 1, 7), valid_until=None),
        row(UNIVERSE_MEMBERSHIP, **member, symbol="B", valid_from=date(2010, 1, 5), valid_until=date(2010, 1, 6)),
        row(UNIVERSE_MEMBERSHIP, universe="other", instrument_id=None, symbol="C", valid_from=date(2010, 1, 4), valid_until=None),
    )
    lake.versions.append(UNIVERSE_MEMBERSHIP, "v", stored)
    spans = lake.reference.universe("v", "u")
    assert members(spans, np.datetime64("2010-01-05")) == ("A", "B")
    sessions = np.arange("2010-01-04", "2010-01-09", dtype="datetime64[D]")
    assert membership(spans, sessions, ("A", "B", "Z")).T.tolist() == [
        [True, True, False, True, True],
        [False, True, True, False, False],
        [False] * 5,
    ]
