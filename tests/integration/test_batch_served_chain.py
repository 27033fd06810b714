"""What vendors serve, from the vendor's server to features: one source of the research chain like any other, in one job by days."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.schemas import BARS, STATED_ACTIONS
from hedgefund_dagster.automation import refuse_failed_checks
from hedgefund_dagster.definitions import defs
from hedgefund_dagster.defs.features.assets import feature_assets
from hedgefund_dagster.defs.ingest.automation import keys_of
from hedgefund_dagster.defs.ingest.definitions import slice_definitions
from hedgefund_dagster.defs.ingest.serving import actions_of, gaps_filled, hands_of, mixed_symbols
from hedgefund_dagster.partitions import RANGE_END, RANGE_START
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.lake_files import arrow_schema
from hedgefund_dagster.settings import SettingsResource, shared_resources
from hedgefund_dagster.sources.http import pulse
from hedgefund_dagster.sources.http.declaration import Dataset
from hedgefund_dagster.sources.served import FACTS
from tests.integration.test_batch_vendors import QuickTime
from tests.made_up_vendor import DIVIDEND, SPLIT_DAY, SPLIT_RATIO, MadeUpTiingo

NAMES = ["AAA", "BBB", "CCC", "DDD"]


@pytest.fixture
def vendor(monkeypatch):
    monkeypatch.setattr(pulse, "time", QuickTime())
    monkeypatch.setenv("TIINGO_API_KEY", "canary")
    monkeypatch.setenv("HEDGEFUND_UNIVERSE__SOURCE", "served")
    monkeypatch.setenv("HEDGEFUND_SOURCES__VENDORS__TIINGO__NAMES", '["AAA", "BBB", "CCC", "DDD"]')
    for wanted in ("bars", "corporate_actions"):
        monkeypatch.setenv(f"HEDGEFUND_SOURCES__FALLBACK__{wanted.upper()}", f'["tiingo/{wanted}"]')
    server = MadeUpTiingo()
    monkeypatch.setenv("HEDGEFUND_SOURCES__VENDORS__TIINGO__BASE_URL", server.url)
    yield server
    server.stop()


def served_research(instance: dg.DagsterInstance, first: str, last: str, only: list[str] | None = None) -> dg.ExecuteInProcessResult:
    chosen = keys_of("served") if only is None else [dg.AssetKey(["served", name]) for name in only]
    job, tags = defs.resolve_job_def("served_research"), {RANGE_START: first, RANGE_END: last}
    result = job.execute_in_process(instance=instance, asset_selection=chosen, tags=tags)
    refuse_failed_checks(instance, result.run_id)
    return result


def test_from_the_vendors_server_to_features_in_one_run(vendor, own_house):
    lake = Lake(own_house / "data")
    with dg.DagsterInstance.ephemeral() as instance:
        result = served_research(instance, "2020-06-01", "2020-10-30", only=["bars", "corporate_actions", "validated_bars", "panel"])
        # The look-ahead checks of features take most of the time and are the same for every source.
        features = next(asset for asset in feature_assets(FACTS) if asset.key.path[-1] == "features")
        dg.materialize([features], instance=instance, resources=shared_resources())
        panel, manifest = lake.read_panel("served"), lake.panel_manifest("served")
        assert (panel.symbols, panel.price_kind, panel.source) == (tuple(NAMES), PriceKind.RAW, "served")
        split = np.searchsorted(panel.sessions, SPLIT_DAY)
        assert panel.split_ratios[split].tolist() == [SPLIT_RATIO, 1.0, 1.0, 1.0]
        paid = np.flatnonzero(panel.dividends[:, 1])
        assert [str(day) for day in panel.sessions[paid]] == ["2020-07-01"]
        assert panel.dividends[paid, 1].tolist() == [DIVIDEND]
        assert np.isfinite(lake.read_arrays("processed/features/source=served/features.npz")["values"]).any()
        files = {record.sha256: record for record in manifest.raw_files}
        rows = lake.read_bars("served")
        assert set(rows.column("source").unique().to_pylist()) == {"tiingo"}, "each row names its vendor"
        assert set(rows.column("raw_sha256").unique().to_pylist()) <= set(files), "each bar walks back to a payload"
        assert all((own_house / "data" / record.file).is_file() and record.origin.startswith(vendor.url) for record in files.values())
        shown = {event.asset_key.path[-1]: event.materialization.metadata for event in result.get_asset_materialization_events()}
        assert "| tiingo |" in shown["bars"]["vendors"].value
        assert {"range", "plot", "rows_by_day", "first_session", "last_session", "source", "passed_over"} <= set(shown["bars"])
        assert len(instance.get_materialized_partitions(dg.AssetKey(["served", "bars"]))) == 152, "one run, every day of it"
        assert len(vendor.seen) == len(NAMES), "one answer serves prices and actions"

    rows_are_read_again(lake)


def rows_are_read_again(lake: Lake) -> None:
    """From what was kept, in the words of the vendor's adapter."""
    source = SettingsResource().open().source("served")
    payloads = lake.raw.latest("served")
    again, stored = source.bars(payloads), lake.read_bars("served")
    symbols = np.array(stored.column("symbol").to_pylist())
    (symbol,) = set(again.symbol.tolist())
    assert again.fields["close"].tolist() == stored.column("close").to_numpy()[symbols == symbol].tolist()
    assert set(source.corporate_actions(payloads).kind.tolist()) <= {"split", "dividend"}


def test_a_bad_table_of_a_vendor_blocks_what_is_downstream(vendor):
    vendor.edit = lambda body: body.replace(b'"high": ', b'"high": -')
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(DataInvalid, match="bars of served are refused"):
        served_research(instance, "2020-08-01", "2020-09-30")


def test_the_job_of_the_day_runs_where_the_universe_is_served(vendor, monkeypatch):
    def asked(name: str) -> list[dg.RunRequest]:
        schedule = next(s for s in slice_definitions().schedules or () if s.name == name)
        moment = datetime(2024, 11, 29, 18, 30, tzinfo=UTC)  # half an hour after a half day's close at 13:00 New York
        with (
            dg.DagsterInstance.ephemeral() as instance,
            dg.build_schedule_context(instance=instance, scheduled_execution_time=moment, repository_def=defs.get_repository_def()) as at,
        ):
            return list(schedule.evaluate_tick(at).run_requests or [])

    assert asked("after_each_session") == []
    (request,) = asked("served_after_session")
    assert (request.partition_key, set(request.asset_selection)) == ("2024-11-29", set(keys_of("served")))
    monkeypatch.setenv("HEDGEFUND_UNIVERSE__SOURCE", "bundled_sp500")
    assert asked("served_after_session") == []
    assert len(asked("after_each_session")) == 1


def bar(symbol: str, day: str, source: str, close: float = 10.0) -> dict[str, object]:
    moment = datetime.fromisoformat(f"{day}T21:00:00+00:00")
    text = {"known_at_basis": "assumed", "source": source, "raw_sha256": "s", "symbol": symbol}
    return {**text, "session": moment.date(), "ts": moment, "known_at": moment, "recorded_at": moment, "close": close, "source_row": 1}


def bars(*rows):
    return pa.Table.from_pylist([{**dict.fromkeys(BARS.column_names), **row} for row in rows], arrow_schema(BARS))


def test_a_later_choice_fills_gaps_and_an_earlier_one_takes_its_place():
    rank = {"first": 0, "second": 1}
    stored = bars(bar("A", "2024-01-02", "first"), bar("A", "2024-01-03", "second"), bar("A", "2024-01-04", "retired"))
    days = ("2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05")

    def days_from(vendor: str) -> list[str]:
        kept = gaps_filled(bars(*(bar("A", day, vendor) for day in days)), stored, rank)
        return [str(day) for day in kept.column("session").to_pylist()]

    assert days_from("second") == ["2024-01-03", "2024-01-04", "2024-01-05"], "the first choice's day is left alone"
    assert days_from("first") == list(days)
    assert mixed_symbols(stored) == {"A": ("first", "retired", "second")}
    assert [(hand.vendor, hand.rows) for hand in hands_of(stored)] == [("first", 1), ("retired", 1), ("second", 1)]


def test_an_action_two_vendors_state_a_day_apart_counts_once():
    def stated(day: str, source: str, kind: str, value: float) -> dict[str, object]:
        row = bar("A", day, source)
        return {
            **dict.fromkeys(STATED_ACTIONS.column_names),
            **{k: v for k, v in row.items() if k != "close"},
            "kind": kind,
            "value": value,
        }

    rows = pa.Table.from_pylist(
        [
            stated("2024-06-11", "second", "split", 10.0),
            stated("2024-06-10", "first", "split", 10.0),
            stated("2024-06-11", "second", "dividend", 0.01),
            stated("2024-09-12", "second", "dividend", 0.01),
        ],
        arrow_schema(STATED_ACTIONS),
    )
    found = actions_of(rows, {"first": 0, "second": 1}).to_pylist()
    assert [(str(row["session"]), row["kind"], row["source"]) for row in found] == [
        ("2024-06-10", "split", "first"),
        ("2024-06-11", "dividend", "second"),
        ("2024-09-12", "dividend", "second"),
    ]


def test_a_data_set_says_how_many_names_one_request_takes():
    assert Dataset(name="x", table=BARS, title="x", mapping={}).names_at_once == 1
