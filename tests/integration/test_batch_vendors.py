"""Vendors as assets, materialized against loopback servers: raw payloads, canonical rows, versions, metadata; nobody is asked unbidden."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime

import dagster as dg
import pytest

from hedgefund_core.configuration import VendorSettings
from hedgefund_core.errors import ConfigError, DataUnavailable
from hedgefund_core.schemas import FUNDAMENTALS, MACRO
from hedgefund_dagster.definitions import defs
from hedgefund_dagster.defs.ingest.definitions import slice_definitions
from hedgefund_dagster.defs.ingest.fetching import VendorRun, scope_of
from hedgefund_dagster.defs.ingest.vendors import vendor_assets, vendor_facts
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.settings import shared_resources
from hedgefund_dagster.sources.http import pulse
from hedgefund_dagster.sources.source import Partitioning
from tests.contract.vendors.loopback import Fault, serving

PRICE_VENDORS = ("ALPACA", "YAHOO", "TIINGO", "MASSIVE", "ALPHA_VANTAGE")
CLOCK = "2024-12-31T23:00:00+00:00"
VARIABLES = {
    "FRED_API_KEY": "canary",
    "HEDGEFUND_SOURCES__VENDORS__FRED__NAMES": '["GNPCA"]',
    "HEDGEFUND_SOURCES__VENDORS__SEC_EDGAR__NAMES": '["AAPL"]',
    "HEDGEFUND_SOURCES__VENDORS__SEC_EDGAR__USER_AGENT": "A Tester tester@example.org",
    "HEDGEFUND_SOURCES__VENDORS__GDELT__QUERIES": '{"AAPL": "\\"Apple Inc\\""}',
    "HEDGEFUND_SOURCES__VENDORS__GDELT__SINCE": "2024-01-02",
    "HEDGEFUND_SOURCES__VENDORS__US_TREASURY__SINCE": "2024-01-02",
    "ALPACA_API_KEY": "canary",
    "ALPACA_SECRET_KEY": "canary",
    "TIINGO_API_KEY": "canary",
    "MASSIVE_API_KEY": "canary",
    "ALPHA_VANTAGE_API_KEY": "canary",
    **{f"HEDGEFUND_SOURCES__VENDORS__{name}__NAMES": '["AAPL"]' for name in PRICE_VENDORS},
}
FACTS = {facts.name: facts for facts in vendor_facts()}


class QuickTime:
    """The machine's time, in which waiting takes none."""

    def __init__(self) -> None:
        self.slept = 0.0

    def perf_counter(self) -> float:
        return time.perf_counter() + self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(pulse, "time", QuickTime())


@pytest.fixture
def configured(monkeypatch):
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


def materialize(vendor: str, url: str, monkeypatch, instance: dg.DagsterInstance, **options) -> dg.ExecuteInProcessResult:
    monkeypatch.setenv(f"HEDGEFUND_SOURCES__VENDORS__{vendor.upper()}__BASE_URL", url)
    return dg.materialize(vendor_assets(FACTS[vendor]), instance=instance, resources=shared_resources(fixed_clock=CLOCK), **options)


@pytest.mark.parametrize(("vendor", "rows"), [("cboe_vix", 5), ("us_treasury", 26), ("fred", 5), ("sec_edgar", 8), ("gdelt", 4)])
def test_every_data_set_is_stored_once_and_shown(configured, own_house, monkeypatch, vendor, rows):
    with dg.DagsterInstance.ephemeral() as instance, serving(vendor) as server:
        first = materialize(vendor, server.url, monkeypatch, instance)
        again = materialize(vendor, server.url, monkeypatch, instance)
    shown = [event.materialization.metadata for event in first.get_asset_materialization_events()]
    assert sum(metadata["rows_added"].value for metadata in shown) == rows
    assert all({"files", "scope", "mapping", "biases", "quota", "breaker", "documentation"} <= set(metadata) for metadata in shown)
    assert all(server.url in metadata["files"].value for metadata in shown)
    assert sum(event.materialization.metadata["rows_added"].value for event in again.get_asset_materialization_events()) == 0
    lake = Lake(own_house / "data")
    assert lake.raw.records(vendor)
    for dataset in FACTS[vendor].datasets:
        assert lake.sql(f"SELECT count(*) AS n FROM {dataset.table.name} WHERE source = '{vendor}'").column("n").to_pylist()[0] > 0
    assert "canary" not in "".join(path.read_text(errors="replace") for path in (own_house / "data").rglob("*") if path.is_file())


def test_a_vendor_that_is_down_changes_nothing_that_is_stored(configured, own_house, monkeypatch):
    with dg.DagsterInstance.ephemeral() as instance, serving("us_treasury") as server:
        materialize("us_treasury", server.url, monkeypatch, instance)
        before = Lake(own_house / "data").versions.read(MACRO, "us_treasury")
        server.always = Fault(kind="status", status=404, body=b"gone")
        with pytest.raises(DataUnavailable, match="status 404"):
            materialize("us_treasury", server.url, monkeypatch, instance)
    assert Lake(own_house / "data").versions.read(MACRO, "us_treasury").equals(before)


def test_a_correction_is_a_version_and_a_pinned_read_stays(configured, own_house, monkeypatch):
    lake = Lake(own_house / "data")
    with dg.DagsterInstance.ephemeral() as instance, serving("sec_edgar") as server:
        materialize("sec_edgar", server.url, monkeypatch, instance)
        pinned = lake.versions.read(FUNDAMENTALS, "sec_edgar", recorded_by=datetime(2025, 1, 1, tzinfo=UTC))
        server.edit = lambda body: body.replace(b"231839000000", b"231839000001")
        monkeypatch.setenv("HEDGEFUND_SOURCES__VENDORS__SEC_EDGAR__BASE_URL", server.url)
        later = shared_resources(fixed_clock="2025-02-01T00:00:00+00:00")
        result = dg.materialize(vendor_assets(FACTS["sec_edgar"]), instance=instance, resources=later)
    added = {
        event.asset_key.path[-1]: event.materialization.metadata["rows_added"].value for event in result.get_asset_materialization_events()
    }
    assert added == {"fundamentals": 1, "instruments": 0}
    assert lake.versions.read(FUNDAMENTALS, "sec_edgar", recorded_by=datetime(2025, 1, 1, tzinfo=UTC)).equals(pinned)
    values = lake.versions.read(FUNDAMENTALS, "sec_edgar").column("value").to_pylist()
    assert 231839000001.0 in values
    assert 231839000000.0 not in values


def test_a_run_without_a_key_says_which(own_house, monkeypatch):
    with dg.DagsterInstance.ephemeral() as instance, serving("fred") as server:
        with pytest.raises(ConfigError, match="FRED_API_KEY"):
            materialize("fred", server.url, monkeypatch, instance)
        assert server.seen == []


def test_what_is_asked_for_is_the_runs_wish_then_the_configuration():
    dataset = FACTS["fred"].datasets[0]
    today = date(2026, 1, 5)
    with pytest.raises(ConfigError, match="no `names`"):
        scope_of(dataset, VendorSettings(), VendorRun(), today)
    from_file = scope_of(dataset, VendorSettings(names=("DGS10",), since="2000-01-01"), VendorRun(), today)
    assert (from_file.names, from_file.since, from_file.until) == (("DGS10",), date(2000, 1, 1), today)
    wished = scope_of(dataset, VendorSettings(names=("DGS10",)), VendorRun(names=["GDP"], since="2020-01-01", until="2021-01-01"), today)
    assert (wished.names, wished.since, wished.until) == (("GDP",), date(2020, 1, 1), date(2021, 1, 1))
    with pytest.raises(ConfigError, match="vendors"):
        scope_of(dataset, VendorSettings(names=("DGS10",), since="yesterday"), VendorRun(), today)


def test_vendor_assets_stand_apart_from_the_research_job_and_run_only_when_asked():
    graph = defs.resolve_asset_graph()
    found = sorted(key.to_user_string() for key in graph.get_all_asset_keys() if graph.get(key).group_name == "vendors")
    assert found == sorted(f"{facts.name}/{dataset.name}" for facts in FACTS.values() for dataset in facts.datasets)
    for facts in FACTS.values():
        assert all(asset.op.pool == facts.name for asset in vendor_assets(facts)), "a pool a vendor: one request at a time"
    research = defs.resolve_job_def("daily_research").asset_layer.selected_asset_keys
    assert not [key for key in research if graph.get(key).group_name == "vendors"]
    schedules = {schedule.name: schedule for schedule in slice_definitions().schedules or ()}
    assert all(
        schedules[name].default_status is dg.DefaultScheduleStatus.STOPPED for name in ("vendors_after_session", "prices_after_session")
    )


def asked_by_the_schedule(name: str = "vendors_after_session") -> set[str]:
    schedule = next(s for s in slice_definitions().schedules or () if s.name == name)
    moment = datetime(2024, 3, 8, 21, 30, tzinfo=UTC)  # half an hour after the close
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_schedule_context(instance=instance, scheduled_execution_time=moment, repository_def=defs.get_repository_def()) as context,
    ):
        requests = schedule.evaluate_tick(context).run_requests or []
    return {key.path[0] for request in requests for key in request.asset_selection or []}


def test_the_schedule_asks_only_vendors_that_are_configured():
    assert asked_by_the_schedule() == {"cboe_vix", "us_treasury"}
    assert asked_by_the_schedule("prices_after_session") == set()


def test_the_schedule_asks_all_vendors_once_they_are_configured(configured):
    asked = {name: {facts.name for facts in FACTS.values() if _daily(facts) is (name == "prices")} for name in ("vendors", "prices")}
    assert asked_by_the_schedule("vendors_after_session") == asked["vendors"] | {"alpaca"}, "it has data sets of both kinds"
    assert asked_by_the_schedule("prices_after_session") == asked["prices"]


def _daily(facts) -> bool:
    return any(dataset.partitioning is Partitioning.DAILY for dataset in facts.datasets)
