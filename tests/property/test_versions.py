"""As-of reads of tables that keep versions equal a naive list of everything that was ever written."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_core.schemas import MACRO
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.sources.http.rows import table_rows

START = datetime(2024, 1, 1, tzinfo=UTC)
SERIES = st.sampled_from(["A", "B"])
WRITES = st.lists(
    st.lists(st.tuples(SERIES, st.integers(0, 2), st.integers(0, 5), st.sampled_from([None, 1.0, 2.0, 3.0])), min_size=1, max_size=6),
    min_size=1,
    max_size=5,
)


def record(series: str, period: int, vintage: int, value: float | None) -> dict[str, object]:
    """A vintage: known ``vintage`` days after its period's end."""
    happened = START + timedelta(days=period)
    return {
        "series_id": series,
        "period": date(2024, 1, 1) + timedelta(days=period),
        "ts": happened,
        "known_at": happened + timedelta(days=vintage),
        "known_at_basis": "vendor",
        "value": value,
        "unit": "percent",
        "source": "v",
        "raw_sha256": "0",
        "source_row": 1,
    }


def oracle(log: list[tuple[datetime, dict[str, object]]], known_by: datetime, recorded_by: datetime) -> dict[tuple[object, object], object]:
    """The version known last, of those the one recorded last, looked up in the whole log row by row."""
    best: dict[tuple[object, object], tuple[tuple[object, object], object]] = {}
    for recorded, row in log:
        if recorded > recorded_by or row["known_at"] > known_by:
            continue
        key, rank = (row["series_id"], row["ts"]), (row["known_at"], recorded)
        if key not in best or rank >= best[key][0]:
            best[key] = (rank, row["value"])
    return {key: value for key, (_, value) in best.items()}


@given(writes=WRITES, known=st.integers(0, 8), pinned=st.integers(0, 5))
def test_as_of_reads_equal_a_naive_log(tmp_path_factory, writes, known, pinned):
    lake = Lake(tmp_path_factory.mktemp("lake"))
    log: list[tuple[datetime, dict[str, object]]] = []
    for turn, write in enumerate(writes):
        unique = {(series, period, vintage): value for series, period, vintage, value in write}
        records = [record(*key, value) for key, value in unique.items()]
        recorded = START + timedelta(days=100 + turn)
        lake.versions.append(MACRO, "v", table_rows(MACRO, records, recorded))
        log += [(recorded, row) for row in records]
    known_by, recorded_by = START + timedelta(days=known), START + timedelta(days=100 + pinned)
    rows = lake.versions.read(MACRO, "v", known_by=known_by, recorded_by=recorded_by).to_pylist()
    assert {(row["series_id"], row["ts"]): row["value"] for row in rows} == oracle(log, known_by, recorded_by)


def test_an_append_is_idempotent_and_a_correction_is_a_version(tmp_path):
    lake = Lake(tmp_path)
    first, second = (table_rows(MACRO, [record("A", 0, 1, 1.0)], START + timedelta(days=100 + n)) for n in range(2))
    assert lake.versions.append(MACRO, "v", first).added == 1
    assert lake.versions.append(MACRO, "v", second).added == 0
    corrected = table_rows(MACRO, [record("A", 0, 1, 2.0)], START + timedelta(days=102))
    assert lake.versions.append(MACRO, "v", corrected).added == 1
    assert lake.versions.read(MACRO, "v").column("value").to_pylist() == [2.0]
    assert lake.versions.read(MACRO, "v", recorded_by=START + timedelta(days=101)).column("value").to_pylist() == [1.0]
    assert len(list((tmp_path / "processed" / "macro" / "source=v").glob("*.manifest.json"))) == 2


def test_contradicting_rows_of_one_write_are_refused_and_repeated_ones_are_not():
    with pytest.raises(DataInvalid, match="contradict"):
        table_rows(MACRO, [record("A", 0, 1, 1.0), record("A", 0, 1, 2.0)], START)
    assert table_rows(MACRO, [record("A", 0, 1, 1.0), record("A", 0, 1, 1.0)], START).num_rows == 1


def test_a_table_nobody_wrote_is_named(tmp_path):
    with pytest.raises(DataUnavailable, match="no macro of v"):
        Lake(tmp_path).versions.read(MACRO, "v")
