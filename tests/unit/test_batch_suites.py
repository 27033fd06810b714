"""A suite for every table: good rows pass, a planted fault fails by name, and Great Expectations' page of it is served on loopback."""

from __future__ import annotations

import threading
import urllib.request
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pyarrow as pa
import pytest

from hedgefund_core import schemas
from hedgefund_core.schemas import ColumnType
from hedgefund_dagster import data_docs
from hedgefund_dagster.defs.validation.definitions import slice_definitions
from hedgefund_dagster.defs.validation.expectations import check_result
from hedgefund_dagster.defs.validation.suites import TABLE_RULES
from hedgefund_dagster.resources.lake_files import arrow_schema

NOW = datetime(2024, 1, 31, 21, tzinfo=UTC)
PLAIN = {
    ColumnType.TEXT: "word",
    ColumnType.DATE: date(2024, 1, 31),
    ColumnType.TIMESTAMP: NOW,
    ColumnType.FLOAT: 1.0,
    ColumnType.INTEGER: 1,
    ColumnType.FLAG: True,
}
GOOD = {
    "symbol": "AAA",
    "known_at": NOW + timedelta(minutes=15),
    "recorded_at": NOW + timedelta(minutes=20),
    "known_at_basis": "vendor",
    "unit": "USD",
    "accession": "0000320193-24-000001",
    "url": "https://example.org/a",
    "high": 2.0,
    "low": 0.5,
    "measure": "tone",
    "kind": "split",
    "basis": "event",
    "event": "listed",
    "ask": 1.5,
}
RESOLUTION = {"news": "day", "intraday_bars": "1h", "quotes": "tick"}
FAULTS = {
    "bars": ("close", -1.0),
    "validated_bars": ("low", 3.0),
    "intraday_bars": ("resolution", "1y"),
    "corporate_actions": ("kind", "merger"),
    "stated_actions": ("value", 0.0),
    "price_factors": ("price_factor", 1.5),
    "macro": ("series_id", "GDP growth"),
    "fundamentals": ("period_end", date(2023, 1, 1)),
    "news": ("measure", "mood"),
    "articles": ("url", "javascript:alert(1)"),
    "instruments": ("symbol", "a b;c"),
    "market_sessions": ("closes_at", NOW - timedelta(hours=7)),
    "symbol_history": ("event", "vanished"),
    "universe_membership": ("valid_until", date(2000, 1, 1)),
    "sectors": ("sector", ""),
    "quotes": ("ask", 0.9),
    "trades": ("price", -3.0),
}


def row_of(table, **changes):
    return {column.name: GOOD.get(column.name, PLAIN[column.type]) for column in table.columns} | changes


def rows_of(table, *rows):
    return pa.Table.from_pylist(list(rows), schema=pa.schema([field.with_nullable(True) for field in arrow_schema(table)]))


def good(table):
    return row_of(table, **({"resolution": RESOLUTION[table.name]} if table.name in RESOLUTION else {}))


def named(name):
    return next(table for table in schemas.TABLES if table.name == name)


@pytest.mark.parametrize("name", TABLE_RULES)
def test_good_rows_pass_and_the_planted_fault_is_named(name):
    table, (column, value) = named(name), FAULTS[name]
    result = check_result(table, rows_of(table, good(table), good(table) | {column: value}), "toy")
    assert not result.passed
    failed = [line for line in result.description.split("; ") if "unique" not in line]  # the two rows share a key
    assert len(failed) == 1, failed
    assert f"{column}" in failed[0]
    assert ": 1" in failed[0], "the good row passes"


def test_what_the_contract_forbids_is_an_error_of_every_table():
    table = named("sectors")
    for rows in (rows_of(table), rows_of(table, good(table) | {"source": None}), rows_of(table, good(table)).drop_columns(["source"])):
        result = check_result(table, rows, "toy")
        assert not result.passed
        assert result.severity is dg.AssetCheckSeverity.ERROR
    twice = check_result(named("trades"), rows_of(named("trades"), good(named("trades")), good(named("trades"))), "toy")
    assert "unique" in twice.description
    early = check_result(named("bars"), rows_of(named("bars"), row_of(named("bars"), known_at=NOW)), "toy")
    assert early.severity is dg.AssetCheckSeverity.ERROR


def test_every_data_set_of_every_vendor_has_its_suite():
    from hedgefund_core.configuration import SourcesSettings
    from hedgefund_dagster.sources import VENDORS, open_vendor

    checked = {key for check in slice_definitions().asset_checks for key in check.check_keys}
    for name in VENDORS:
        for dataset in open_vendor(name, SourcesSettings()).facts.datasets:
            assert dg.AssetCheckKey(dg.AssetKey([name, dataset.name]), "great_expectations") in checked
            assert dataset.table.name in TABLE_RULES
    assert dg.AssetCheckKey(dg.AssetKey(["sec_edgar", "fundamentals"]), "units_agree") in checked


def test_the_page_of_a_suite_is_served_where_the_check_points(own_house, monkeypatch):
    data = own_house / "data"
    with data_docs.server(data, 0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{serving.server_address[1]}"
        monkeypatch.setenv(data_docs.ADDRESS, address)
        table = named("trades")
        check_result(table, rows_of(table, good(table)), "older")
        result = check_result(table, rows_of(table, good(table) | {"price": -3.0}), "toy")
        link = result.metadata["data_docs"].value
        assert link == f"{address}/latest/toy.trades"
        page = urllib.request.urlopen(link, timeout=60).read().decode()
        index = urllib.request.urlopen(f"{address}/", timeout=60).read().decode()
        assert urllib.request.urlopen(f"{address}/health", timeout=5).status == 200
        check_result(table, rows_of(table, good(table)), "toy")
        again = urllib.request.urlopen(link, timeout=60).read().decode()
        serving.shutdown()
    assert "Great Expectations" in page
    assert "<a href='/latest/toy.trades'>toy.trades</a></td><td>failed" in index
    assert "older.trades" in index
    assert "-3.0" in page
    assert "-3.0" not in again, "a new outcome takes the place of the old one"
    assert (data / "reports" / "data_docs" / "index.html").exists()
