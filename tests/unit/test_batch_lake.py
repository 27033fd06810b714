"""The lake: versions instead of overwrites, atomic files, tampering found, releases kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hedgefund_core import layout
from hedgefund_core.errors import DataInvalid, DataUnavailable
from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.schemas import QUARANTINE
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.lake_files import arrow_schema
from hedgefund_dagster.resources.lake_quarantine import Choice
from hedgefund_dagster.sources.bar_table import bar_rows
from hedgefund_dagster.sources.source import Partitioning, RawPayload, SourceBars, SourceFacts

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
FACTS = SourceFacts(
    name="toy",
    title="toy",
    price_kind=PriceKind.SPLIT_ADJUSTED,
    calendar="observed",
    currency="USD",
    tick=None,
    licence="none",
    biases=(),
    fields=("close",),
    partitioning=Partitioning.NONE,
)


def rows(closes, *, at=NOW, sessions=("2024-01-02", "2024-01-03")):
    days = np.array(sessions, dtype="datetime64[D]")
    bars = SourceBars(
        symbol=np.full(len(days), "AAA"),
        session=days,
        fields={"close": np.array(closes, dtype=float)},
        raw_sha256=np.full(len(days), "0" * 64),
        source_row=np.arange(1, len(days) + 1),
    )
    return bar_rows(bars, FACTS, at)


def closes(table):
    return table.column("close").to_pylist()


def test_a_differing_row_adds_a_version_and_the_old_one_stays_readable(tmp_path):
    lake = Lake(tmp_path)
    later = NOW + timedelta(days=1)
    assert lake.write_bars("toy", "2024", rows([10.0, 11.0])).added == 2
    result = lake.write_bars("toy", "2024", rows([10.0, 12.0], at=later))
    assert (result.added, result.unchanged) == (1, 1)
    assert closes(lake.read_bars("toy")) == [10.0, 12.0]
    assert closes(lake.read_bars("toy", recorded_as_of=NOW)) == [10.0, 11.0]
    assert lake.sql("select count(*) as n from bars").to_pylist() == [{"n": 3}], "history is never rewritten"


def test_going_back_to_an_earlier_value_is_a_version_too(tmp_path):
    lake = Lake(tmp_path)
    for day, value in enumerate((11.0, 12.0, 11.0)):
        lake.write_bars("toy", "2024", rows([10.0, value], at=NOW + timedelta(days=day)))
    assert closes(lake.read_bars("toy")) == [10.0, 11.0]
    assert closes(lake.read_bars("toy", recorded_as_of=NOW + timedelta(days=1))) == [10.0, 12.0]


def test_duplicates_of_one_payload_are_kept_for_validation_to_judge(tmp_path):
    lake = Lake(tmp_path)
    lake.write_bars("toy", "2024", rows([10.0, 11.0], sessions=("2024-01-02", "2024-01-02")))
    assert closes(lake.read_bars("toy")) == [10.0, 11.0]


def test_every_data_file_has_a_manifest_and_no_temporary_is_left(tmp_path):
    lake = Lake(tmp_path)
    lake.write_bars("toy", "2024", rows([10.0, 11.0]), run_id="run-1")
    files = sorted(path.name for path in (tmp_path / layout.bars_partition("toy", "2024")).iterdir())
    assert len(files) == 2
    assert files[1] == f"{files[0]}.manifest.json"
    assert "run-1" in (tmp_path / layout.bars_partition("toy", "2024") / files[1]).read_text()


def test_what_is_not_stored_says_which_asset_makes_it(tmp_path):
    lake = Lake(tmp_path)
    for call in (lambda: lake.read_bars("toy"), lambda: lake.read_panel("toy"), lambda: lake.raw.latest("toy")):
        with pytest.raises(DataUnavailable) as caught:
            call()
        assert "toy/" in caught.value.mend


def test_a_damaged_bar_file_is_refused_by_name(tmp_path):
    lake = Lake(tmp_path)
    lake.write_bars("toy", "2024", rows([10.0, 11.0]))
    (path,) = (tmp_path / layout.bars_partition("toy", "2024")).glob("*.parquet")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataInvalid, match=path.name):
        lake.read_bars("toy")


def payload(content=b"a", dataset="d"):
    return RawPayload.of("toy", dataset, content, origin="toy/prices.csv", retrieved_at=NOW)


def test_raw_bytes_are_kept_once_and_proved_when_read(tmp_path):
    lake = Lake(tmp_path)
    record = lake.raw.put(payload())
    assert lake.raw.put(replace(payload(), retrieved_at=NOW + timedelta(days=1))) == record
    assert lake.raw.latest("toy")["d"].content == b"a"
    Path(tmp_path / record.file).write_bytes(b"b")
    with pytest.raises(DataInvalid, match="sha256"):
        lake.raw.latest("toy")


def test_a_payload_that_was_taken_away_does_not_come_back(tmp_path):
    lake = Lake(tmp_path)
    first, second = lake.raw.put(payload(dataset="one")), lake.raw.put(payload(b"b", dataset="two"))
    lake.raw.set_current("toy", [first, second])
    assert set(lake.raw.latest("toy")) == {"one", "two"}
    lake.raw.set_current("toy", [second])
    assert set(lake.raw.latest("toy")) == {"two"}


def finding(symbol="AAA", *, released=False):
    row = {
        "symbol": symbol, "ts": NOW, "known_at": NOW, "rule": "spike", "severity": "error",
        "reason": "jumped", "source": "toy", "value": 1.0, "released": released, "instrument": symbol, "evidence": "{}",
    }  # fmt: skip
    return pa.Table.from_pylist([row], schema=arrow_schema(QUARANTINE))


def test_findings_are_added_once_and_a_release_survives(tmp_path):
    store = Lake(tmp_path).quarantine
    assert (store.add(finding()), store.add(finding()), store.add(finding("BBB"))) == (1, 0, 1)
    one = Choice(source="toy", symbol="AAA", ts=NOW.isoformat(), rule="spike")
    assert store.release(one, person="ann", reason="checked", at=NOW) == 1
    assert store.add(finding()) == 0
    assert store.released("toy") == {("AAA", NOW.isoformat(), "spike")}
    columns = ["symbol", "ts", "known_at", "rule", "severity", "reason", "source", "value", "released", "instrument", "evidence"]
    assert store.read("toy").column_names == columns


def test_the_quarantine_is_where_people_look_for_it(tmp_path):
    lake = Lake(tmp_path)
    lake.quarantine.add(finding())
    assert (tmp_path / "processed/quarantine/bars.parquet").exists()
    assert lake.sql("select symbol, rule from quarantine").to_pylist() == [{"symbol": "AAA", "rule": "spike"}]


def test_a_bad_query_says_so(tmp_path):
    with pytest.raises(DataInvalid, match="query failed"):
        Lake(tmp_path).sql("select * from nothing")
