"""Late data: what the last session lacks is asked for again, a few times, by name; half days, holidays and gone names are no trouble."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import msgspec
import pytest

from hedgefund_dagster.automation import last_session, session_due
from hedgefund_dagster.definitions import defs
from hedgefund_dagster.defs.ingest.late import CHECK, MOST_REQUESTS, freshness_checks, late_data
from hedgefund_dagster.defs.ingest.vendors import vendor_assets, vendor_facts
from hedgefund_dagster.partitions import RANGE_END, RANGE_START
from hedgefund_dagster.resources.clock import ClockResource
from hedgefund_dagster.resources.lake import LakeResource
from hedgefund_dagster.settings import SettingsResource, shared_resources
from hedgefund_dagster.sources.http import pulse
from tests.integration.test_batch_vendors import QuickTime
from tests.made_up_vendor import MadeUpTiingo

BARS = dg.AssetKey(["tiingo", "bars"])


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "minutes", "session"),
    [
        ("2026-11-27 18:59", 60, "2026-11-25"),  # the day after Thanksgiving closes at 18:00Z, so it is late from 19:00Z on
        ("2026-11-27 19:00", 60, "2026-11-27"),
        ("2026-11-26 23:00", 60, "2026-11-25"),  # Thanksgiving
        ("2026-11-30 15:00", 60, "2026-11-27"),  # Monday before the close
        ("2026-11-30 21:30", 30, "2026-11-30"),
        ("2026-07-06 12:00", 60, "2026-07-02"),  # the fourth was observed on Friday
    ],
)
def test_the_last_session_that_is_over(moment, minutes, session):
    assert last_session(at(moment), after_close=timedelta(minutes=minutes))[0] == date.fromisoformat(session)


def test_a_schedule_comes_half_an_hour_after_a_half_days_close_and_never_on_a_holiday():
    ticks = [at("2026-11-27 00:00") + timedelta(minutes=15 * k) for k in range(96)]
    assert [tick for tick in ticks if session_due(tick)] == [at("2026-11-27 18:30")]
    assert not [tick for tick in ticks if session_due(tick - timedelta(days=1))]


@pytest.fixture
def vendor(monkeypatch):
    monkeypatch.setattr(pulse, "time", QuickTime())
    monkeypatch.setenv("TIINGO_API_KEY", "canary")
    monkeypatch.setenv("HEDGEFUND_SOURCES__VENDORS__TIINGO__NAMES", '["AAA", "BBB", "GONE"]')
    monkeypatch.setenv("HEDGEFUND_SOURCES__CACHE__SECONDS", "0")
    server = MadeUpTiingo(gone={"GONE": "2024-11-15"})
    monkeypatch.setenv("HEDGEFUND_SOURCES__VENDORS__TIINGO__BASE_URL", server.url)
    yield server
    server.stop()


@pytest.fixture
def instance(vendor):
    with dg.DagsterInstance.ephemeral() as instance:
        days(instance, "2024-11-04", "2024-11-27", "2024-11-27T22:00:00+00:00")
        yield instance


def tiingo_bars() -> dg.AssetsDefinition:
    facts = next(facts for facts in vendor_facts() if facts.name == "tiingo")
    return next(asset for asset in vendor_assets(facts) if asset.key == BARS)


def days(instance: dg.DagsterInstance, first: str, last: str, clock: str, config: dict[str, object] | None = None) -> None:
    resources = shared_resources(fixed_clock=clock)
    tags = {RANGE_START: first, RANGE_END: last}
    dg.materialize([tiingo_bars()], instance=instance, resources=resources, tags=tags, run_config=config)


def tick(instance: dg.DagsterInstance, clock: str, cursor: str | None = None):
    resources = {"lake": LakeResource(), "clock": ClockResource(fixed=clock), "settings": SettingsResource()}
    repository = defs.get_repository_def()
    return late_data.evaluate_tick(
        dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources, repository_def=repository)
    )


def freshness(instance: dg.DagsterInstance, clock: str) -> dg.AssetCheckEvaluation:
    check = next(check for check in freshness_checks() if dg.AssetCheckKey(BARS, CHECK) in check.check_keys)
    selection = dg.AssetSelection.checks(dg.AssetCheckKey(BARS, CHECK))
    result = dg.materialize([tiingo_bars(), check], instance=instance, resources=shared_resources(fixed_clock=clock), selection=selection)
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def test_a_session_that_is_not_late_yet_asks_for_nothing(instance):
    found = tick(instance, "2024-11-29T18:59:00+00:00")
    assert (found.run_requests, found.skip_message) == ([], "nothing is late")


def test_missing_names_are_asked_for_until_they_come(vendor, instance):
    late = tick(instance, "2024-11-29T19:05:00+00:00")
    (request,) = late.run_requests
    assert (request.partition_key, request.job_name) == ("2024-11-29", "vendor_prices")
    assert request.run_config == {"ops": {"tiingo__bars": {"config": {"names": ["AAA", "BBB"]}}}}, "the name gone for days is no news"
    before = freshness(instance, "2024-11-29T19:05:00+00:00")
    assert not before.passed
    assert "2 of 3 names have no bar: AAA, BBB" in before.description
    assert "taken for gone: GONE" in before.description
    vendor.seen.clear()
    days(instance, "2024-11-29", "2024-11-29", "2024-11-29T19:10:00+00:00", request.run_config)
    assert sorted(seen.path.split("/")[3] for seen in vendor.seen) == ["AAA", "BBB"]
    assert not tick(instance, "2024-11-29T19:20:00+00:00", late.cursor).run_requests
    assert freshness(instance, "2024-11-29T19:20:00+00:00").passed


def test_what_never_comes_is_left_to_a_person_after_some_requests(instance):
    cursor, keys = None, []
    for number in range(MOST_REQUESTS):
        found = tick(instance, f"2024-11-29T20:{number:02d}:00+00:00", cursor)
        cursor, keys = found.cursor, [*keys, *(request.run_key for request in found.run_requests)]
    assert len(set(keys)) == MOST_REQUESTS
    given_up = tick(instance, "2024-11-29T21:00:00+00:00", cursor)
    assert not given_up.run_requests
    assert "tiingo/bars: session 2024-11-29, closed 180 minutes ago: 2 of 3 names" in given_up.skip_message
    assert "data-doctor" in given_up.skip_message
    next_day = tick(instance, "2024-12-02T22:30:00+00:00", given_up.cursor)
    assert [request.partition_key for request in next_day.run_requests] == ["2024-12-02"], "a new session begins to count anew"
    assert msgspec.json.decode(next_day.cursor)["requests"] == {"tiingo/bars": 1}


def test_served_prices_are_watched_where_the_universe_is_theirs(vendor, monkeypatch, own_house):
    monkeypatch.setenv("HEDGEFUND_UNIVERSE__SOURCE", "served")
    monkeypatch.setenv("HEDGEFUND_SOURCES__FALLBACK__BARS", '["tiingo/bars"]')
    with dg.DagsterInstance.ephemeral() as empty:
        (request,) = tick(empty, "2024-11-29T19:05:00+00:00").run_requests
        assert request.job_name == "served_research"
        assert set(request.run_config["ops"]) == {"served__bars", "served__corporate_actions"}
        assert "served/features" in {key.to_user_string() for key in request.asset_selection}


def test_nobody_is_asked_for_what_nobody_ever_materialized(vendor):
    with dg.DagsterInstance.ephemeral() as empty:
        found = tick(empty, "2024-11-29T19:05:00+00:00")
        assert not found.run_requests
        assert "none was ever materialized" in found.skip_message
