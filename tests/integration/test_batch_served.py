"""The fallback order at work: who cannot be asked or does not answer is passed over, and the asset says so."""

from __future__ import annotations

import dagster as dg
import pytest

from hedgefund_core.errors import ConfigError, DataUnavailable
from hedgefund_dagster.defs.ingest.served import served_assets
from hedgefund_dagster.partitions import RANGE_END, RANGE_START
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.settings import shared_resources
from hedgefund_dagster.sources.http import pulse
from tests.contract.vendors.loopback import Fault, serving
from tests.integration.test_batch_vendors import QuickTime

TAGS = {RANGE_START: "2020-08-01", RANGE_END: "2020-11-30"}


@pytest.fixture(autouse=True)
def ready(monkeypatch, own_house):
    monkeypatch.setattr(pulse, "time", QuickTime())
    monkeypatch.setenv("HEDGEFUND_SOURCES__VENDORS__TIINGO__NAMES", '["AAPL"]')
    monkeypatch.setenv("HEDGEFUND_SOURCES__FALLBACK__BARS", '["alpaca/bars_sip", "yahoo/bars", "tiingo/bars"]')
    return own_house


def bars(hour: int = 12) -> dict[str, dg.MetadataValue]:
    asset = next(asset for asset in served_assets() if asset.key.path[-1] == "bars")
    with dg.DagsterInstance.ephemeral() as instance:
        resources = shared_resources(fixed_clock=f"2026-01-05T{hour}:00:00+00:00")
        result = dg.materialize([asset], instance=instance, resources=resources, tags=TAGS)
    return result.get_asset_materialization_events()[0].materialization.metadata


def test_without_a_key_the_next_serves_and_one_that_does_not_answer_is_passed_over(ready, monkeypatch):
    monkeypatch.setenv("TIINGO_API_KEY", "canary")
    with serving("yahoo") as yahoo, serving("tiingo") as tiingo:
        monkeypatch.setenv("HEDGEFUND_SOURCES__VENDORS__YAHOO__BASE_URL", yahoo.url)
        monkeypatch.setenv("HEDGEFUND_SOURCES__VENDORS__TIINGO__BASE_URL", tiingo.url)
        shown = bars()
        assert shown["source"].value == "yahoo/bars"
        assert "ALPACA_API_KEY" in shown["passed_over"].value
        yahoo.always = Fault(kind="status", status=403, body=b"no")
        shown = bars(hour=13)  # what was kept of the first answer is no longer fresh
        assert shown["source"].value == "tiingo/bars"
        assert "status 403" in shown["passed_over"].value
        assert shown["price_kind"].value == "raw"
    lake = Lake(ready / "data")
    assert lake.read_bars("yahoo").num_rows == lake.read_bars("tiingo").num_rows == 5, "each under its own name: sources never mix"
    assert set(lake.read_bars("served").column("source").to_pylist()) == {"yahoo"}, "the later choice had no gap to fill"


def test_none_left_says_why_of_each(monkeypatch):
    with serving("yahoo") as yahoo:
        monkeypatch.setenv("HEDGEFUND_SOURCES__VENDORS__YAHOO__BASE_URL", yahoo.url)
        yahoo.always = Fault(kind="status", status=404, body=b"gone")
        with pytest.raises(DataUnavailable, match=r"ALPACA_API_KEY.*status 404.*TIINGO_API_KEY"):
            bars()


def test_an_entry_that_is_no_data_set_is_named(monkeypatch):
    monkeypatch.setenv("HEDGEFUND_SOURCES__FALLBACK__BARS", '["yahoo/bars", "fred/series"]')
    with pytest.raises(ConfigError, match="fred/series"):
        bars()
