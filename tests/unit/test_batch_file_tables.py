"""A user's other files as tables of the lake: mapped, made explicit in time, bad rows named, the whole example of the how-to."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from hedgefund_core.configuration import FileTable, SourcesSettings, resolve
from hedgefund_core.errors import ConfigError, DataInvalid, DataUnavailable
from hedgefund_core.schemas import FUNDAMENTALS, INTRADAY_BARS, MACRO, SYMBOL_HISTORY
from hedgefund_dagster.defs.ingest.reference import load, reference_assets
from hedgefund_dagster.defs.validation.table_checks import reference_checks
from hedgefund_dagster.resources.clock import ClockResource
from hedgefund_dagster.resources.lake import Lake

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
CLOCK = ClockResource(fixed="2026-01-05T12:00:00+00:00")
HOW_TO = ROOT / "docs" / "how-to" / "bring-your-own-data.md"


def documented() -> dict[str, FileTable]:
    (block,) = re.findall(r"```yaml\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), flags=re.DOTALL)
    settings, _ = resolve("config/sources.yaml", yaml.safe_load(block), {}, SourcesSettings)
    return settings.files_tables


def stored(tmp_path: Path, name: str, settings: FileTable) -> tuple[Lake, dict[str, object]]:
    lake = Lake(tmp_path / "lake")
    found = load(lake, name, {name: settings}, CLOCK, run_id="r")
    return lake, {key: value.value for key, value in found.items()}


def table(path: Path, text: str, **changes: object) -> FileTable:
    path.write_text(text, encoding="utf-8")
    return msgspec.convert({"path": str(path), **changes}, FileTable)


def hourly(tmp_path: Path, rows: list[dict[str, object]]) -> FileTable:
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "hour.parquet")
    columns = {name: name for name in ("symbol", "ts", "open", "high", "low", "close", "volume")}
    return msgspec.convert(
        {
            "table": "intraday_bars",
            "path": str(tmp_path / "hour.parquet"),
            "columns": columns,
            "constants": {"resolution": "1h"},
            "stamps": "start",
            "known_at": {"delay": "0s"},
        },
        FileTable,
    )


def bar(hour: int, **changes: object) -> dict[str, object]:
    moment = datetime(2024, 1, 2 + hour // 24, hour % 24)  # noqa: DTZ001 - a file without zones
    return {"symbol": "AAA", "ts": moment, "open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5, "volume": 100, **changes}


def test_a_bar_stamped_at_its_start_in_local_time_is_stored_by_its_close_in_utc(tmp_path):
    lake, shown = stored(tmp_path, "mine", hourly(tmp_path, [bar(9), bar(15)]))
    first, last = lake.versions.read(INTRADAY_BARS, "mine").to_pylist()
    assert (first["ts"], last["ts"]) == (datetime(2024, 1, 2, 15, tzinfo=UTC), datetime(2024, 1, 2, 21, tzinfo=UTC))
    assert (first["known_at"], first["known_at_basis"], str(first["session"])) == (first["ts"], "assumed", "2024-01-02")
    assert (first["source_row"], shown["rows_added"], shown["rows_held_back"]) == (1, 2, 0)


def test_the_same_file_again_adds_nothing_and_a_corrected_one_adds_a_version(tmp_path):
    lake, _ = stored(tmp_path, "mine", hourly(tmp_path, [bar(9), bar(10)]))
    _, again = stored(tmp_path, "mine", hourly(tmp_path, [bar(9), bar(10)]))
    _, corrected = stored(tmp_path, "mine", hourly(tmp_path, [bar(9), bar(10, close=10.75)]))
    assert (again["rows_added"], corrected["rows_added"]) == (0, 1)
    assert lake.versions.read(INTRADAY_BARS, "mine").column("close").to_pylist() == [10.5, 10.75]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"high": 8.0}, "low = '9.0' is above high"),
        ({"close": -1.0, "low": -2.0}, "close = '-1.0' is not above zero"),
        ({"volume": -5}, "volume = '-5.0' is negative"),
        ({"symbol": None}, "symbol = 'None' is missing"),
    ],
)
def test_a_bad_row_waits_in_quarantine_and_the_others_are_stored(tmp_path, change, said):
    rows = [bar(hour) for hour in range(300)]
    rows[41] |= change
    lake, shown = stored(tmp_path, "mine", hourly(tmp_path, rows))
    assert lake.versions.read(INTRADAY_BARS, "mine").num_rows == 299
    assert shown["rows_held_back"] >= 1
    assert any(f"hour.parquet: row 42, {said}" in reason for reason in lake.quarantine.read("mine").column("reason").to_pylist())


def test_a_bad_table_is_stored_not_at_all_and_its_rows_are_named(tmp_path):
    rows = [bar(hour, **({"high": 1.0} if hour < 20 else {})) for hour in range(100)]
    with pytest.raises(DataInvalid, match=r"20 of 100 rows are bad: row 1, low = '9.0' is above high"):
        stored(tmp_path, "mine", hourly(tmp_path, rows))
    assert not Lake(tmp_path / "lake").versions.has(INTRADAY_BARS, "mine")


def test_rows_that_contradict_each_other_are_both_held_back(tmp_path):
    lake, _ = stored(tmp_path, "mine", hourly(tmp_path, [*(bar(hour) for hour in range(300)), bar(7, close=10.0)]))
    assert lake.versions.read(INTRADAY_BARS, "mine").num_rows == 299
    (reason,) = lake.quarantine.read("mine").column("reason").to_pylist()
    assert reason.startswith("hour.parquet: row 8, ")
    assert reason.endswith("contradicts row 301")


def test_what_blocks_a_file_can_be_left_out_by_name(tmp_path):
    rows = [bar(hour) for hour in range(40)] + [bar(hour, symbol="BAD", high=1.0) for hour in range(10)]
    settings = hourly(tmp_path, rows)
    with pytest.raises(DataInvalid, match="10 of 50 rows are bad"):
        stored(tmp_path, "mine", settings)
    lake, _ = stored(tmp_path, "mine", msgspec.structs.replace(settings, exclude={"symbol": ("BAD",)}))
    assert lake.versions.read(INTRADAY_BARS, "mine").num_rows == 40


def test_cells_that_cannot_be_read_are_named(tmp_path):
    lines = "\n".join(f"2024-01-{day:02d},{'abc' if day == 3 else day}" for day in range(1, 32))
    settings = table(
        tmp_path / "rate.csv",
        "day,rate\n" + "\n".join([lines] + [f"2023-{month:02d}-{day:02d},1" for month in range(1, 13) for day in range(1, 29)]),
        table="macro",
        columns={"period": "day", "value": "rate"},
        constants={"series_id": "R", "unit": "percent"},
    )
    lake, _ = stored(tmp_path, "rates", settings)
    (reason,) = lake.quarantine.read("rates").column("reason").to_pylist()
    assert reason == "rate.csv: row 3, rate = 'abc' is no number"
    (row,) = lake.versions.read(MACRO, "rates", known_by=datetime(2024, 1, 3, 5, 15, tzinfo=UTC)).to_pylist()[-1:]
    assert (str(row["period"]), row["value"]) == ("2024-01-02", 2.0)
    assert row["known_at"] == datetime(2024, 1, 3, 5, 15, tzinfo=UTC), "the end of the day in New York and a quarter of an hour"


def test_last_days_become_spans_with_the_event_that_ended_them(tmp_path):
    text = "file,until,ticker\nX,20100104,OLD\nX,20120630,OLD\nX,20500101,NEW\nY,20120702,OLD\nY,20140331,OLD\n"
    settings = table(
        tmp_path / "map.csv",
        text,
        table="symbol_history",
        columns={"instrument_id": "file", "symbol": "ticker"},
        chain={"group": "file", "until": "until"},
        known_at={"delay": "0s"},
    )
    lake, _ = stored(tmp_path, "map", settings)
    rows = lake.versions.read(SYMBOL_HISTORY, "map").to_pylist()
    spans = {(r["instrument_id"], r["symbol"], str(r["valid_from"]), str(r["valid_until"]), r["event"]) for r in rows}
    assert spans == {
        ("X", "OLD", "2010-01-04", "2012-06-30", "listed"),
        ("X", "NEW", "2012-07-01", "None", "renamed"),
        ("Y", "OLD", "2012-07-02", "2014-03-31", "delisted"),
    }


def test_a_wide_file_becomes_rows_known_when_its_column_says(tmp_path):
    text = "symbol,end,public,form,assets,cash\nAAA,2015-03-31,2015-05-04,10-Q,100,\nAAA,2015-06-30,2015-08-03,10-Q,110,7\n"
    settings = table(
        tmp_path / "facts.csv",
        text,
        table="fundamentals",
        columns={"symbol": "symbol", "period_end": "end", "form": "form", "filed": "public"},
        constants={"entity": "{symbol}", "taxonomy": "t", "unit": "USD", "accession": "{symbol} {form} {public}"},
        known_at={"column": "public", "clock": "09:30"},
        unpivot={"into": "concept", "columns": {"assets": "assets", "cash": "cash"}},
    )
    lake, _ = stored(tmp_path, "facts", settings)
    seen = lake.versions.read(FUNDAMENTALS, "facts", known_by=datetime(2015, 8, 3, 13, 29, tzinfo=UTC)).to_pylist()
    assert [(row["concept"], row["value"], row["accession"]) for row in seen] == [("assets", 100.0, "AAA 10-Q 2015-05-04")]
    assert lake.versions.read(FUNDAMENTALS, "facts", known_by=datetime(2015, 8, 3, 13, 30, tzinfo=UTC)).num_rows == 3


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"table": "bars"}, ConfigError, "no table a file can become"),
        ({"columns": {"periode": "day"}}, ConfigError, "has no column periode"),
        ({"columns": {"period": "dya", "value": "rate"}}, DataInvalid, "the column dya is missing; found: day, rate"),
        ({"timezone": "Mars/Olympus"}, ConfigError, "no time zone"),
        ({"known_at": {"delay": "soon"}}, ConfigError, "no span of time"),
    ],
)
def test_a_wrong_mapping_says_what_is_wrong(tmp_path, changes, error, said):
    base = {"table": "macro", "columns": {"period": "day", "value": "rate"}, "constants": {"series_id": "R", "unit": "u"}}
    settings = table(tmp_path / "rate.csv", "day,rate\n2024-01-02,1\n", **{**base, **changes})
    with pytest.raises(error, match=said):
        stored(tmp_path, "rates", settings)


def test_a_file_that_is_not_there_is_named(tmp_path):
    settings = msgspec.convert({"table": "macro", "path": str(tmp_path / "none.csv"), "columns": {"period": "d"}}, FileTable)
    with pytest.raises(DataUnavailable, match=r"none\.csv"):
        stored(tmp_path, "rates", settings)


def test_the_example_of_the_how_to_makes_an_asset_a_file():
    keys = {asset.key.to_user_string() for asset in reference_assets(documented())}
    assert {"us_hourly/intraday_bars", "us_symbols/symbol_history", "sp500_fundamentals/fundamentals"} <= keys
    assert len(keys) == len(documented())


@pytest.mark.parametrize("name", [name for name, settings in documented().items() if (SHARED / Path(settings.path).name).exists()])
def test_every_table_of_the_example_materializes_and_a_second_time_adds_nothing(tmp_path, name):
    settings = msgspec.structs.replace(documented()[name], path=str(SHARED / Path(documented()[name].path).name))
    _, first = stored(tmp_path, name, settings)
    _, second = stored(tmp_path, name, settings)
    assert first["rows_added"] > 0
    assert first["rows_added"] == first["dagster/row_count"]
    assert second["rows_added"] == 0


def test_every_table_of_the_example_has_its_suite():
    checked = {key.asset_key for definition in reference_checks(documented()) for key in definition.check_keys}
    assert checked == {asset.key for asset in reference_assets(documented())}
