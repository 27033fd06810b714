"""One suite every store of bars and actions passes: Parquet files, and PostgreSQL on a real server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_core.schemas import BARS, CORPORATE_ACTIONS, STATED_ACTIONS
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.lake_files import arrow_schema
from hedgefund_dagster.resources.postgres_actions import PostgresActions
from hedgefund_dagster.resources.postgres_bars import PostgresBars
from hedgefund_dagster.resources.postgres_session import PostgresDatabase
from hedgefund_dagster.resources.stores import action_store, bar_store

START = datetime(2024, 1, 2, 22, tzinfo=UTC)
NUMBERS = count()


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def bar(
    symbol: str = "A", day: int = 2, close: float | None = 10.0, *, recorded: float = 0, known: float = 0, **more: object
) -> dict[str, object]:
    row = dict.fromkeys(BARS.column_names)
    ts = datetime(2024, 1, day, 21, tzinfo=UTC)
    row |= {"symbol": symbol, "session": date(2024, 1, day), "ts": ts, "known_at": ts + timedelta(hours=known), "recorded_at": at(recorded)}
    return row | {"close": close, "source": "s", "known_at_basis": "assumed", "raw_sha256": "f" * 64, "source_row": 1} | more


def action(
    symbol: str = "A", day: int = 2, value: float = 0.5, *, recorded: float = 0, known: float = 0, **more: object
) -> dict[str, object]:
    row = {
        "symbol": symbol,
        "session": date(2024, 1, day),
        "ts": at(0),
        "known_at": at(known),
        "recorded_at": at(recorded),
        "kind": "dividend",
    }
    return (
        row | {"value": value, "currency": None, "known_at_basis": "vendor", "source": "s", "raw_sha256": "f" * 64, "source_row": 1} | more
    )


def rows(*found: dict[str, object], table=BARS) -> pa.Table:
    return pa.Table.from_pylist(list(found), schema=arrow_schema(table))


@pytest.fixture(params=["parquet", "postgresql"])
def stores(request, tmp_path: Path):
    """The bars and the actions of one implementation."""
    if request.param == "parquet":
        lake = Lake(tmp_path)
        return bar_store(lake), action_store(lake)
    database = PostgresDatabase(request.getfixturevalue("postgres").url)
    return PostgresBars(database), PostgresActions(database)


@pytest.fixture
def bars(stores):
    return stores[0]


@pytest.fixture
def actions(stores):
    return stores[1]


@pytest.fixture
def source() -> str:
    """The server outlives a test: each has a source of its own."""
    return f"source-{next(NUMBERS)}"


def closes(table: pa.Table) -> list[tuple[object, ...]]:
    return list(zip(*(table.column(name).to_pylist() for name in ("symbol", "session", "close")), strict=True))


def test_what_is_written_is_read_in_the_contract_s_columns_and_order(bars, source) -> None:
    full = bar("Ä.B", 3, 11.5, open=11.0, high=12.0, low=-0.0, volume=1e9, adj_close=float("nan"), source="other", raw_sha256="any text")
    offered = rows(full, bar("B", 3), bar("A", 4, None), bar("A", 2, 0.1 + 0.2))
    assert bars.write_bars(source, "2024", offered, run_id="r").added == 4
    found = bars.read_bars(source)
    assert found.schema == arrow_schema(BARS)
    assert found.column("symbol").to_pylist() == ["A", "A", "B", "Ä.B"]
    expected = offered.take([3, 2, 1, 0])
    assert [column.to_pylist() for column in found.drop_columns(["adj_close"]).columns] == [
        column.to_pylist() for column in expected.drop_columns(["adj_close"]).columns
    ]
    assert [None if value is None else str(value) for value in found.column("adj_close").to_pylist()] == [None, None, None, "nan"]


def test_the_same_rows_again_add_nothing_whatever_their_order_time_and_file(bars, source) -> None:
    offered = [bar("A", 2), bar("A", 3, None), bar("B", 2, volume=5.0)]
    bars.write_bars(source, "2024", rows(*offered))
    again = [row | {"recorded_at": at(5), "raw_sha256": "e" * 64, "source_row": 9} for row in offered]
    assert bars.write_bars(source, "2024", rows(*offered)) == bars.write_bars(source, "2024", rows(*reversed(again)))
    assert bars.write_bars(source, "2024", rows(*again)).added == 0
    assert bars.write_bars(source, "2024", rows(again[1])).unchanged == 1
    assert set(bars.read_bars(source).column("recorded_at").to_pylist()) == {at(0)}


def test_a_correction_is_a_version_and_the_past_stays_readable(bars, source) -> None:
    bars.write_bars(source, "2024", rows(bar("A", 2, 10.0), bar("A", 3, 11.0)))
    result = bars.write_bars(
        source, "2024", rows(bar("A", 2, 10.0, recorded=1), bar("A", 3, 11.5, recorded=1), bar("A", 4, 12.0, recorded=1))
    )
    assert (result.added, result.unchanged) == (2, 1)
    assert [close for *_, close in closes(bars.read_bars(source))] == [10.0, 11.5, 12.0]
    assert [close for *_, close in closes(bars.read_bars(source, at(0.5)))] == [10.0, 11.0]
    assert [close for *_, close in closes(bars.first_bars(source))] == [10.0, 11.0, 12.0]
    assert bars.read_bars(source, at(-1)).num_rows == 0
    assert bars.newest(source) == datetime(2024, 1, 4, 21, tzinfo=UTC)
    assert bars.write_bars(source, "2024", rows(bar("A", 3, 11.0, recorded=2))).added == 1  # back again is a version, too


def test_a_null_and_a_label_are_content(bars, source) -> None:
    bars.write_bars(source, "2024", rows(bar(close=0.0)))
    assert bars.write_bars(source, "2024", rows(bar(close=None, recorded=1))).added == 1
    assert bars.write_bars(source, "2024", rows(bar(close=None, recorded=2, known_at_basis="vendor"))).added == 1
    assert bars.write_bars(source, "2024", rows(bar(close=None, recorded=3, known_at_basis="vendor", known=1))).added == 1
    assert closes(bars.read_bars(source)) == [("A", date(2024, 1, 2), None)]


def test_what_was_known_later_does_not_exist_yet(bars, source) -> None:
    bars.write_bars(source, "2024", rows(bar("A", 2, 10.0), bar("A", 3, 11.0, known=30)))
    bars.write_bars(source, "2024", rows(bar("A", 2, 10.5, recorded=1, known=40)))
    moment = datetime(2024, 1, 3, 21, tzinfo=UTC)
    assert closes(bars.read_bars(source, known_by=moment)) == [("A", date(2024, 1, 2), 10.0)]
    assert closes(bars.read_bars(source, at(0), known_by=moment + timedelta(days=9))) == [
        ("A", date(2024, 1, 2), 10.0),
        ("A", date(2024, 1, 3), 11.0),
    ]


def test_every_write_has_a_digest_and_every_version_stays(bars, source) -> None:
    bars.write_bars(source, "2024", rows(bar("A", 2, 10.0), bar("A", 3, 11.0)))
    once = bars.writes(source)
    bars.write_bars(source, "2024", rows(bar("A", 2, 10.0, recorded=1), bar("A", 3, 11.0, recorded=1)))
    assert bars.writes(source) == once
    bars.write_bars(source, "2024", rows(bar("A", 2, 10.5, recorded=2)))
    assert len(set(bars.writes(source))) == 2
    assert sorted(bars.history(source).column("close").to_pylist()) == [10.0, 10.5, 11.0]


def test_two_files_that_contradict_each_other_are_both_kept_for_validation_to_judge(bars, source) -> None:
    one, other = bar(close=10.0, source_row=1), bar(close=11.0, source_row=2, raw_sha256="e" * 64)
    assert bars.write_bars(source, "2024", rows(one, other)).added == 2
    assert [close for *_, close in closes(bars.read_bars(source))] == [10.0, 11.0]
    late = [row | {"recorded_at": at(1)} for row in (one, other)]
    assert bars.write_bars(source, "2024", rows(*late)).added == 0
    assert bars.write_bars(source, "2024", rows(late[0])).added == 1  # one of the two was taken back
    assert [close for *_, close in closes(bars.read_bars(source))] == [10.0]


def test_late_rows_years_and_sources_stand_beside_each_other(bars, source) -> None:
    old = bar("A", 2) | {"session": date(1999, 12, 31)}
    bars.write_bars(source, "2024", rows(bar("A", 2)))
    assert bars.write_bars(source, "1999", rows(old | {"recorded_at": at(3)})).added == 1
    bars.write_bars(f"{source}x", "2024", rows(bar("Z", 2)))
    assert [session for _, session, _ in closes(bars.read_bars(source))] == [date(1999, 12, 31), date(2024, 1, 2)]
    assert bars.read_bars(source, at(1)).num_rows == 1


def test_what_was_never_stored_is_said_to_be_unavailable(bars, actions, source) -> None:
    assert bars.write_bars(source, "2024", rows()).added == 0
    assert bars.newest(source) is None
    for read in (bars.read_bars, bars.first_bars):
        with pytest.raises(DataUnavailable, match=f"no bars of {source}"):
            read(source)
    with pytest.raises(DataUnavailable, match="no stated_actions"):
        actions.read(STATED_ACTIONS, source)
    with pytest.raises(DataUnavailable, match="no corporate_actions"):
        actions.read_table(CORPORATE_ACTIONS, source)


def test_rows_that_break_the_contract_leave_nothing_behind(bars, source) -> None:
    with pytest.raises(DataInvalid, match="column symbol holds nulls"):
        bars.write_bars(source, "2024", rows(bar("A", 2), bar(None, 3)))
    with pytest.raises(DataInvalid, match="lacks the columns close"):
        bars.write_bars(source, "2024", rows(bar()).drop_columns(["close"]))
    with pytest.raises(DataUnavailable):
        bars.read_bars(source)


def test_writers_at_once_add_each_version_once(bars, source) -> None:
    offered = rows(*(bar(symbol, day) for symbol in "ABC" for day in range(2, 20)))
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: bars.write_bars(source, "2024", offered), range(4)))
    assert sorted(result.added for result in results) == [0, 0, 0, offered.num_rows]
    assert bars.read_bars(source).num_rows == offered.num_rows


def test_stated_actions_keep_every_version_and_are_read_as_of_a_moment(actions, source) -> None:
    first = rows(action("B", 3), action("A", 2), action("A", 2), table=STATED_ACTIONS)
    assert actions.append(STATED_ACTIONS, source, first, run_id="r").added == 2
    assert actions.append(STATED_ACTIONS, source, first).added == 0
    corrected = rows(action("A", 2, 0.6, recorded=2, known=2), action("B", 3, recorded=2), table=STATED_ACTIONS)
    assert actions.append(STATED_ACTIONS, source, corrected).added == 1
    for limits, expected in (({}, 0.6), ({"known_by": at(1)}, 0.5), ({"recorded_by": at(1)}, 0.5)):
        found = actions.read(STATED_ACTIONS, source, **limits)
        assert found.schema == arrow_schema(STATED_ACTIONS)
        assert found.select(["symbol", "value"]).to_pylist() == [{"symbol": "A", "value": expected}, {"symbol": "B", "value": 0.5}]
    assert actions.has(STATED_ACTIONS, source)
    assert actions.history(STATED_ACTIONS, source).num_rows == 3
    with pytest.raises(DataInvalid, match="contradict"):
        actions.append(STATED_ACTIONS, source, rows(action("C", 2, 1.0), action("C", 2, 2.0), table=STATED_ACTIONS))


def test_corporate_actions_are_replaced_whole_and_can_be_forgotten(actions, source) -> None:
    def derived(value: float) -> pa.Table:
        more = {"noise": 0.0, "provenance": "stated"}
        return rows(action("B", 3, value) | more, action("A", 2, value) | more, table=CORPORATE_ACTIONS)

    for value in (0.5, 0.7):
        manifest = actions.write_table(CORPORATE_ACTIONS, source, derived(value), recorded_at=at(0), run_id="r")
        assert (manifest.rows, manifest.run_id) == (2, "r")
        assert actions.read_table(CORPORATE_ACTIONS, source).equals(derived(value))
    actions.write_table(CORPORATE_ACTIONS, source, rows(table=CORPORATE_ACTIONS), recorded_at=at(0))
    assert actions.has_table(CORPORATE_ACTIONS, source)
    assert actions.read_table(CORPORATE_ACTIONS, source).num_rows == 0
    actions.remove_table(CORPORATE_ACTIONS, source)
    assert not actions.has_table(CORPORATE_ACTIONS, source)


OFFERED = st.lists(
    st.builds(
        bar,
        symbol=st.sampled_from("AB"),
        day=st.integers(2, 4),
        close=st.sampled_from([None, 1.0, 2.0]),
        known=st.sampled_from([0, 1, 50]),
        source_row=st.integers(1, 3),
    ),
    max_size=5,
)


def oracle(versions: list[list[dict[str, object]]], recorded_by: datetime | None, known_by: datetime | None) -> dict[object, list[object]]:
    """Append everything, look at it row by row: what each (symbol, session) says to a reader of that moment."""
    stored: list[dict[str, object]] = []
    said = ("ts", "known_at", "close")
    for offered in versions:
        for key in dict.fromkeys((row["symbol"], row["session"]) for row in offered):
            ours = [row for row in offered if (row["symbol"], row["session"]) == key]
            before = [row for row in stored if (row["symbol"], row["session"]) == key]
            newest = max((row["recorded_at"] for row in before), default=None)
            theirs = [row for row in before if row["recorded_at"] == newest]
            if sorted(str([row[n] for n in said]) for row in ours) != sorted(str([row[n] for n in said]) for row in theirs):
                stored += ours
    found: dict[object, list[object]] = {}
    for row in stored:
        if (recorded_by is None or row["recorded_at"] <= recorded_by) and (known_by is None or row["known_at"] <= known_by):
            found.setdefault((row["symbol"], row["session"]), []).append(row)
    return {
        key: sorted(f"{row['close']} {row['known_at']:%d %H}" for row in rows if row["recorded_at"] == max(r["recorded_at"] for r in rows))
        for key, rows in found.items()
    }


@settings(max_examples=25)
@given(writes=st.lists(OFFERED, min_size=1, max_size=4), recorded=st.integers(0, 4), known=st.sampled_from([None, 0, 1, 49]))
def test_every_as_of_read_equals_a_naive_append_only_oracle(stores, writes, recorded, known) -> None:
    bars, source = stores[0], f"source-{next(NUMBERS)}"
    versions = [
        [row | {"recorded_at": at(hour)} for row in sorted(offered, key=lambda row: row["source_row"])]
        for hour, offered in enumerate(writes)
    ]
    for offered in versions:
        bars.write_bars(source, "2024", rows(*offered))
    known_by = None if known is None else datetime(2024, 1, 3, 21, tzinfo=UTC) + timedelta(hours=known)
    for recorded_by in (None, at(recorded)):
        expected = oracle(versions, recorded_by, known_by)
        if not any(versions):
            continue
        found: dict[object, list[object]] = {}
        for row in bars.read_bars(source, recorded_by, known_by=known_by).to_pylist():
            found.setdefault((row["symbol"], row["session"]), []).append(f"{row['close']} {row['known_at']:%d %H}")
        assert {key: sorted(said) for key, said in found.items()} == expected
