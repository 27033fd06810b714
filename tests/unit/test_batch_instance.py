"""dagster.yaml loads with nothing set, and everything it stores follows the data folder."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from hedgefund_dagster.instance import OPEN_DATABASES, EmbeddedEvents, EmbeddedStorage, state_folder

ROOT = Path(__file__).resolve().parents[2]


def test_the_embedded_instance_keeps_its_state_under_the_data_folder(own_house: Path) -> None:
    with dg.DagsterInstance.from_config(str(ROOT)) as instance:
        assert Path(instance.storage_directory()).is_relative_to(own_house / "data" / "dagster")
        assert (own_house / "data" / "dagster" / "history" / "runs.db").exists()
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert instance.get_concurrency_config().run_queue_config is not None


def test_another_process_finds_the_same_storage_from_the_reference_alone(own_house: Path) -> None:
    with dg.DagsterInstance.from_config(str(ROOT)) as instance:
        instance.add_dynamic_partitions("symbols", ["AAPL"])
        with dg.DagsterInstance.from_ref(instance.get_ref()) as other:
            assert other.get_dynamic_partitions("symbols") == ["AAPL"]


def test_without_the_variable_the_state_is_beside_the_data_of_the_working_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HEDGEFUND_DATA_DIR")
    monkeypatch.chdir(tmp_path)
    assert Path(state_folder()) == tmp_path / "data" / "dagster"


def test_events_of_more_runs_than_databases_are_kept_open_come_back_and_dagster_reads_them(tmp_path: Path) -> None:
    storage = EmbeddedStorage.from_local(str(tmp_path))
    events = storage.event_log_storage
    assert isinstance(events, EmbeddedEvents)
    runs = [f"run-{number}" for number in range(OPEN_DATABASES + 2)]
    for run in [*runs, runs[0]]:
        entry = dg.EventLogEntry(error_info=None, level=20, user_message=f"of {run}", run_id=run, timestamp=1.0)
        events.store_event(entry)
    plain = SqliteEventLogStorage(str(tmp_path / "history" / "runs"))  # as Dagster itself reads them
    for seen in (events, plain):
        assert [len(seen.get_logs_for_run(run)) for run in runs] == [2, *[1] * (len(runs) - 1)]
    storage.dispose()
    assert len(events.get_logs_for_run(runs[0])) == 2
