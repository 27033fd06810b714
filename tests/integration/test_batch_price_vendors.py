"""Price vendors as assets: days as partitions, raw prices, actions beside them, nothing of a session that is not over."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from hedgefund_core.schemas import STATED_ACTIONS
from hedgefund_dagster.definitions import defs
from hedgefund_dagster.defs.ingest.vendors import vendor_assets, vendor_facts
from hedgefund_dagster.partitions import RANGE_END, RANGE_START
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.settings import shared_resources
from hedgefund_dagster.sources.http import pulse
from tests.contract.vendors.loopback import serving
from tests.integration.test_batch_vendors import QuickTime


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(pulse, "time", QuickTime())


FACTS = {facts.name: facts for facts in vendor_facts()}
GOLDEN = Path(__file__).parents[1] / "golden"
APPLE = {"since": "2020-08-01", "until": "2020-11-30"}
VENDORS = {
    "alpaca": ("bars_sip", "ALPACA_API_KEY ALPACA_SECRET_KEY"),
    "yahoo": ("bars", ""),
    "tiingo": ("bars", "TIINGO_API_KEY"),
    "massive": ("bars", "MASSIVE_API_KEY"),
    "alpha_vantage": ("bars", "ALPHA_VANTAGE_API_KEY"),
}


def prepare(vendor: str, url: str, monkeypatch) -> None:
    for variable in VENDORS[vendor][1].split():
        monkeypatch.setenv(variable, "canary")
    monkeypatch.setenv(f"HEDGEFUND_SOURCES__VENDORS__{vendor.upper()}__BASE_URL", url)
    monkeypatch.setenv(f"HEDGEFUND_SOURCES__VENDORS__{vendor.upper()}__NAMES", '["AAPL", "MSFT"]' if vendor == "alpaca" else '["AAPL"]')


def price_assets(vendor: str) -> list[dg.AssetsDefinition]:
    wanted = {(vendor, VENDORS[vendor][0]), (vendor, "corporate_actions")}
    return [asset for asset in vendor_assets(FACTS[vendor]) if tuple(asset.key.path) in wanted]


def materialize_days(vendor: str, clock: str = "2026-01-05T12:00:00+00:00") -> dg.ExecuteInProcessResult:
    tags = {RANGE_START: APPLE["since"], RANGE_END: APPLE["until"]}
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(price_assets(vendor), instance=instance, resources=shared_resources(fixed_clock=clock), tags=tags)


@pytest.mark.parametrize("vendor", VENDORS)
def test_days_are_asked_for_at_once_and_the_prices_are_those_of_the_day(own_house, monkeypatch, vendor):
    with serving(vendor) as server:
        prepare(vendor, server.url, monkeypatch)
        shown = [event.materialization.metadata for event in materialize_days(vendor).get_asset_materialization_events()]
    assert shown, "materialized"
    assert all("from 2020-08-01 to 2020-11-30" in metadata["scope"].value for metadata in shown)
    assert {metadata["price_kind"].value for metadata in shown if "price_kind" in metadata} == {"raw"}
    lake, source = Lake(own_house / "data"), FACTS[vendor].dataset(VENDORS[vendor][0]).stored_as or vendor
    bars = {str(row["session"]): row for row in lake.read_bars(source).to_pylist() if row["symbol"] == "AAPL"}
    assert (bars["2020-08-28"]["close"], bars["2020-08-31"]["close"]) == (499.23, 129.04)
    actions = lake.versions.read(STATED_ACTIONS, vendor).to_pylist()
    assert {(str(row["session"]), row["kind"], row["value"]) for row in actions if row["symbol"] == "AAPL"} == {
        ("2020-08-07", "dividend", 0.82),
        ("2020-08-31", "split", 4.0),
    }


@pytest.mark.parametrize("vendor", [name if name == "alpaca" else pytest.param(name, marks=pytest.mark.slow) for name in VENDORS])
def test_a_session_that_is_not_over_brings_no_bar(own_house, monkeypatch, vendor):
    monkeypatch.setenv("HEDGEFUND_SOURCES__CACHE__SECONDS", "0")  # else the first answer serves the next minutes, as old as it is
    with serving(vendor) as server:
        prepare(vendor, server.url, monkeypatch)
        materialize_days(vendor, "2020-11-27T18:14:00+00:00")  # a half day: closed at 18:00Z, known a quarter of an hour later
        source = FACTS[vendor].dataset(VENDORS[vendor][0]).stored_as or vendor
        assert "2020-11-27" not in {str(row["session"]) for row in Lake(own_house / "data").read_bars(source).to_pylist()}
        materialize_days(vendor, "2020-11-27T18:15:00+00:00")
        assert "2020-11-27" in {str(row["session"]) for row in Lake(own_house / "data").read_bars(source).to_pylist()}


def test_an_action_is_seen_only_once_its_session_has_closed(own_house, monkeypatch):
    with serving("tiingo") as server:
        prepare("tiingo", server.url, monkeypatch)
        materialize_days("tiingo")
    versions = Lake(own_house / "data").versions

    def seen(moment: datetime) -> set[str]:
        return {row["kind"] for row in versions.read(STATED_ACTIONS, "tiingo", known_by=moment).to_pylist()}

    assert seen(datetime(2020, 8, 7, 20, 0, tzinfo=UTC)) == set()
    assert seen(datetime(2020, 8, 31, 20, 0, tzinfo=UTC)) == {"dividend"}
    assert seen(datetime(2020, 8, 31, 20, 15, tzinfo=UTC)) == {"dividend", "split"}


def test_the_graph_of_vendors_is_as_committed():
    graph = defs.resolve_asset_graph()
    keys = sorted(key for key in graph.get_all_asset_keys() if graph.get(key).group_name in ("vendors", "served"))
    found = [f"{graph.get(key).group_name} {key.to_user_string()} {'daily' if graph.get(key).is_partitioned else 'whole'}" for key in keys]
    assert found == (GOLDEN / "asset_graph_vendors.txt").read_text(encoding="utf-8").splitlines()
