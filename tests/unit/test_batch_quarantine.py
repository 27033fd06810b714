"""The release command: a person and a reason, kept for good; all rules of a row at once; taken back; counted from the next validation."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from hedgefund_core.errors import DataInvalid
from hedgefund_core.schemas import BARS, QUARANTINE
from hedgefund_dagster.defs.validation.rows import validate_rows
from hedgefund_dagster.quarantine import main
from hedgefund_dagster.resources.lake_files import arrow_schema
from hedgefund_dagster.resources.lake_quarantine import Choice, QuarantineStore
from hedgefund_dagster.sources.bundled_ohlcv import BundledOhlcv

FACTS = BundledOhlcv().facts
CLOSE = datetime(2024, 1, 3, 21, tzinfo=UTC)


def bars():
    """Six sessions of AAA; on the second high and low are exchanged and the close lies beyond both."""
    rows = []
    for day in range(6):
        ts, price = CLOSE + timedelta(days=day if day < 3 else day + 2), 100.0 + day
        values = {"open": price, "high": price + 1, "low": price - 1, "close": price + 0.5, "volume": 1e6, "adj_close": None}
        if day == 1:
            values |= {"high": price - 2, "low": price + 2}
        if day == 2:
            values |= {"close": price + 5}
        times = {"ts": ts, "known_at": ts + timedelta(minutes=15), "recorded_at": ts + timedelta(days=30), "known_at_basis": "assumed"}
        rows.append({"symbol": "AAA", "session": ts.date(), **times, **values, "source": FACTS.name, "raw_sha256": "x", "source_row": day})
    return pa.Table.from_pylist(rows, schema=arrow_schema(BARS))


@pytest.fixture
def store(own_house):
    found = validate_rows(bars(), FACTS, today=np.datetime64("2024-06-01"))
    assert found.held == 2
    kept = QuarantineStore(UPath(own_house / "data"))
    kept.add(found.findings)
    return kept


def told(capsys, *arguments):
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_list_names_rule_symbol_time_reason_and_evidence(store, capsys):
    rows = told(capsys, "list")
    assert {(row["symbol"], row["ts"][:10], row["rule"]) for row in rows} >= {
        ("AAA", "2024-01-04", "high_below_low"),
        ("AAA", "2024-01-05", "close_outside_range"),
        ("AAA", "2024-01-05", "range_contradicts"),
    }
    assert {row["instrument"] for row in rows} == {"AAA"}
    assert any(row["evidence"].get("high") for row in rows)
    assert told(capsys, "list", "--rule", "high_below_low")[0]["value"] == 99.0
    assert main(["list"]) == 0
    assert "by rule: " in capsys.readouterr().out


def test_all_rules_of_a_row_are_released_at_once_and_counted_from_the_next_validation(store, capsys):
    before = len(told(capsys, "list"))
    done = told(capsys, "release", "AAA", "2024-01-05", "all", "--person", "ann", "--reason", "the venue confirmed the print")
    assert done["findings"] >= 2
    assert len(told(capsys, "list")) == before - done["findings"]
    again = validate_rows(bars(), FACTS, today=np.datetime64("2024-06-01"), released=store.released(FACTS.name))
    assert again.held == 1
    assert CLOSE.date() + timedelta(days=2) in again.valid.column("session").to_pylist()
    assert store.add(again.findings) == 0, "a release survives the next validation"


def test_who_when_and_why_is_kept_and_taking_back_too(store, capsys):
    told(capsys, "release", "AAA", "2024-01-04T21:00:00Z", "high_below_low", "--person", "ann", "--reason", "checked")
    told(capsys, "unrelease", "AAA", "2024-01-04", "high_below_low", "--person", "bob", "--reason", "it is wrong after all")
    history = told(capsys, "history")
    assert [(line["person"], line["action"], line["reason"]) for line in history] == [
        ("ann", "release", "checked"),
        ("bob", "unrelease", "it is wrong after all"),
    ]
    assert all(datetime.fromisoformat(line["at"]).tzinfo for line in history)
    assert validate_rows(bars(), FACTS, today=np.datetime64("2024-06-01"), released=store.released(FACTS.name)).held == 2
    assert main(["history"]) == 0
    assert "bob unrelease AAA" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("release", "ZZZ", "2024-01-04", "all", "--reason", "x"), "nothing is held of ZZZ"),
        (("release", "AAA", "soon", "all", "--reason", "x"), "no day and no time"),
        (("release", "AAA", "2024-01-04", "all", "--reason", " "), "a person and a reason"),
    ],
)
def test_what_cannot_be_released_is_said_with_what_mends_it(store, capsys, arguments, words):
    assert main(arguments) == 4
    assert words in (error := capsys.readouterr().err)
    assert "make " in error or "TS=" in error
    assert store.history() == []


def test_a_reason_is_not_optional(store, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["release", "AAA", "2024-01-04", "all"])
    assert caught.value.code == 2
    assert "--reason" in capsys.readouterr().err


def test_the_table_has_the_columns_of_the_interface_and_reads_older_files(store, own_house):
    path = own_house / "data" / "processed" / "quarantine" / "bars.parquet"
    columns = ["symbol", "ts", "known_at", "rule", "severity", "reason", "source", "value", "released"]
    assert pq.read_table(path).column_names == [*columns, "instrument", "evidence"]
    pq.write_table(pq.read_table(path, columns=columns), path)
    assert store.read().schema.names == [column.name for column in QUARANTINE.columns]
    assert store.release(Choice(symbol="AAA", ts="2024-01-04"), person="ann", reason="old file", at=CLOSE) >= 1


def test_a_damaged_history_is_not_overwritten(store, own_house):
    path = own_house / "data" / "processed" / "quarantine" / "bars_releases.jsonl"
    store.release(Choice(symbol="AAA", ts="2024-01-04"), person="ann", reason="fine", at=CLOSE)
    path.write_text(path.read_text() + "{half a li\n")
    with pytest.raises(DataInvalid, match="is damaged"):
        store.history()
