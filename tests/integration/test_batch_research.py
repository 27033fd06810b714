"""Ingest to features through Dagster on a small folder: checks recorded, bad rows held, bad tables and leaks stopped."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import Panel
from hedgefund_core.quant.features import FEATURES, feature
from hedgefund_dagster.automation import refuse_failed_checks, session_due
from hedgefund_dagster.definitions import defs
from hedgefund_dagster.defs.features.assets import feature_assets
from hedgefund_dagster.defs.features.checks import feature_checks
from hedgefund_dagster.defs.ingest.assets import ingest_assets
from hedgefund_dagster.defs.ingest.automation import folder_state, keys_of, new_files
from hedgefund_dagster.defs.ingest.checks import ingest_checks
from hedgefund_dagster.defs.sourced import all_facts
from hedgefund_dagster.defs.validation.assets import validation_assets
from hedgefund_dagster.defs.validation.checks import validation_checks
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.settings import SettingsResource, shared_resources
from tests.builders import price_rows, write_price_folder

GRAPH = Path(__file__).parents[1] / "golden" / "asset_graph_research.txt"
FILES = next(facts for facts in all_facts() if facts.name == "files")


@pytest.fixture
def prices(own_house, monkeypatch):
    """Names a folder of prices to the source `files`."""

    def name(rows, folder="prices"):
        monkeypatch.setenv("HEDGEFUND_SOURCES__FILES__FOLDER", str(write_price_folder(own_house / folder, rows)))
        return own_house / folder

    return name


def research(*, upto="labels", raise_on_error=False):
    assets = [*ingest_assets(FILES), *validation_assets(FILES), *feature_assets(FILES)]
    checks = [*ingest_checks(FILES), *validation_checks(FILES), *feature_checks(FILES)]
    names = [key.path[-1] for key in keys_of("files")]
    keys = [dg.AssetKey(["files", name]) for name in names[: names.index(upto) + 1]]
    selection = dg.AssetSelection.assets(*keys)
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [*assets, *checks],
            selection=selection,
            instance=instance,
            resources=shared_resources(fixed_clock="2026-01-05T12:00:00+00:00"),
            raise_on_error=raise_on_error,
        )


def evaluations(result):
    return {(e.asset_key.path[-1], e.check_name): e for e in result.get_asset_check_evaluations()}


def materialized(result):
    return {event.asset_key.path[-1] for event in result.get_asset_materialization_events()}


def lake(own_house):
    return Lake(own_house / "data")


def test_clean_prices_become_features_and_every_check_passes(prices, own_house):
    prices(price_rows())
    result = research()
    assert result.success
    found = evaluations(result)
    assert all(e.passed for e in found.values()), [e for e in found.values() if not e.passed]
    assert {f"no_look_ahead_{name}" for name in FEATURES} <= {check for _, check in found}
    assert materialized(result) == {"raw", "bars", "corporate_actions", "validated_bars", "panel", "features", "labels"}
    manifest = lake(own_house).panel_manifest("files")
    panel = lake(own_house).read_panel("files")
    assert panel.shape == (1100, 8)
    assert panel.volume is None
    assert manifest.raw_files[0].origin == "prices/prices.csv", "a bar can be walked back to its file"
    assert lake(own_house).sql("select count(*) as n from features").to_pylist() == [{"n": 8800}]


def test_bad_rows_wait_in_quarantine_and_the_run_goes_on_until_a_person_releases_one(prices, own_house):
    rows = price_rows()
    rows[100] = (*rows[100][:2], "0")
    rows[200] = (*rows[200][:2], "NaN")
    spiked = (*rows[300][:2], rows[300][2] * 2.5)
    rows[300] = spiked
    rows.append(rows[-1])
    prices(rows)
    result = research(upto="panel")
    assert result.success
    held = evaluations(result)["validated_bars", "quarantine_is_empty"]
    assert (held.passed, held.severity) == (False, dg.AssetCheckSeverity.WARN)
    store = lake(own_house)
    findings = {f["rule"]: f for f in store.quarantine.read("files").to_pylist()}
    assert set(findings) == {"price_not_positive", "spike", "duplicate"}
    panel = store.read_panel("files")
    assert int(np.isnan(panel.close).sum()) == 3, "the zero, the NaN and the spike; the duplicate's twin stays"
    spike = findings["spike"]
    assert spike["known_at"] > spike["ts"].replace(hour=23), "a spike is known when the price has returned"
    assert store.quarantine.release(source="files", symbol=spike["symbol"], ts=spike["ts"].isoformat(), rule="spike") == 1
    assert research(upto="panel").success
    assert float(np.nanmax(store.read_panel("files").close[:, 0])) == pytest.approx(spiked[2])


def test_a_table_with_too_many_bad_rows_blocks_what_depends_on_it(prices, own_house):
    rows = [(s, d, "" if s == "S3" and d > "2020-06-01" else c) for s, d, c in price_rows()]
    prices(rows)
    result = research(upto="panel")
    assert not result.success
    warned = evaluations(result)["bars", "great_expectations"]
    assert (warned.passed, warned.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert not {"validated_bars", "panel"} & materialized(result)
    reasons = lake(own_house).quarantine.read("files").to_pylist()
    assert {(f["symbol"], f["rule"]) for f in reasons} == {("S3", "price_not_positive")}, "refused, yet every row's reason is kept"
    with pytest.raises(DataInvalid, match="of the rows of S3 are bad"):
        research(upto="panel", raise_on_error=True)


def test_a_folder_that_was_replaced_is_not_mixed_with_the_old_one(prices, own_house):
    prices(price_rows(), "old")
    assert research(upto="panel").success
    prices([(s.replace("S", "T"), d, c) for s, d, c in price_rows(seed=1)], "new")
    assert research(upto="panel").success
    assert lake(own_house).read_panel("files").symbols == tuple(f"T{i}" for i in range(8))
    assert lake(own_house).sql("select count(distinct symbol) as n from bars").to_pylist() == [{"n": 16}], "yet nothing is forgotten"


def test_an_unknown_symbol_of_the_universe_is_named(prices, monkeypatch):
    prices(price_rows())
    monkeypatch.setenv("HEDGEFUND_UNIVERSE__SOURCE", "files")
    monkeypatch.setenv("HEDGEFUND_UNIVERSE__SYMBOLS", '["S0", "NOPE"]')
    result = research(upto="panel")
    assert not result.success
    (failure,) = (
        result.get_step_failure_events()
        if hasattr(result, "get_step_failure_events")
        else [event for event in result.all_events if event.is_step_failure]
    )
    assert "unknown symbol NOPE" in str(failure.event_specific_data.error)


def test_a_planted_leak_fails_its_own_check_and_no_other(prices, monkeypatch):
    def tomorrow(panel: Panel, params: feature.Params) -> np.ndarray:
        del params
        ahead = np.full_like(panel.close, np.nan)
        ahead[:-1] = panel.close[1:] / panel.close[:-1] - 1.0
        return ahead

    tomorrow.__module__ = "hedgefund_core.quant.features.reversal_5"  # the code digest reads source files of installed modules
    planted = feature.Feature(
        name="leak",
        description="tomorrow's return.",
        reference="planted",
        inputs=("close",),
        params={},
        warm_up=lambda _: 2,
        kernel=tomorrow,
    )
    monkeypatch.setitem(FEATURES, "leak", planted)
    prices(price_rows())
    result = research()
    failed = {check for (_, check), e in evaluations(result).items() if not e.passed}
    assert failed == {"no_look_ahead_leak"}
    assert evaluations(result)["features", "no_look_ahead_leak"].severity is dg.AssetCheckSeverity.ERROR
    with pytest.raises(DataInvalid, match=r"no_look_ahead_leak: .*leak of S0"):
        refuse_failed_checks(result)


def test_definitions_load_and_the_graph_is_the_committed_one():
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    keys = [
        f"asset {key.to_user_string()}"
        for key in graph.get_all_asset_keys()
        if graph.get(key).group_name in {"ingest", "validation", "features"}
    ]
    checks = [
        f"check {key.asset_key.to_user_string()} {key.name}"
        for key in graph.asset_check_keys
        if key.asset_key.path[0] in {f.name for f in all_facts()}
    ]
    assert "\n".join(sorted([*keys, *checks])) + "\n" == GRAPH.read_text(encoding="utf-8")


def test_every_asset_has_an_owner_a_description_and_a_kind():
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.owners, key
        assert node.kinds, key


@pytest.mark.parametrize(
    ("moment", "session"),
    [
        ("2024-03-08T21:30:00+00:00", "2024-03-08"),  # 16:00 New York in winter
        ("2024-03-11T20:30:00+00:00", "2024-03-11"),  # summer time
        ("2024-11-29T18:30:00+00:00", "2024-11-29"),  # half day after Thanksgiving
        ("2024-11-29T21:30:00+00:00", None),
        ("2024-11-28T21:30:00+00:00", None),  # Thanksgiving
        ("2024-03-08T21:15:00+00:00", None),
        ("2024-03-08T21:45:00+00:00", None),
    ],
)
def test_schedules_follow_the_exchange(moment, session):
    due = session_due(datetime.fromisoformat(moment).astimezone(UTC))
    assert (None if due is None else due.isoformat()) == session


def test_new_files_start_research_once_a_change(prices):
    folder = prices(price_rows())
    resources = {"settings": SettingsResource()}
    first = new_files(dg.build_sensor_context(resources=resources))
    assert [request.asset_selection for request in first.run_requests] == [keys_of("files")]
    assert isinstance(new_files(dg.build_sensor_context(cursor=first.cursor, resources=resources)), dg.SkipReason)
    (folder / "more.csv").write_text("symbol,date,close\n")
    assert folder_state(str(folder)) != first.cursor


def test_no_folder_is_no_news():
    assert isinstance(new_files(dg.build_sensor_context(resources={"settings": SettingsResource()})), dg.SkipReason)
