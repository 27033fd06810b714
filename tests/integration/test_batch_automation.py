"""Sensors of promotion and post-trade: what they note, ask for, and leave alone."""

import dagster as dg

from hedgefund_core import layout
from hedgefund_dagster.defs.post_trade.automation import journal_closed
from hedgefund_dagster.defs.promotion.automation import alias_moved, model_expires
from hedgefund_dagster.resources.clock import ClockResource
from hedgefund_dagster.resources.journal_reader import JournalReaderResource
from hedgefund_dagster.resources.lake import LakeResource
from hedgefund_dagster.resources.model_registry import ModelRegistryResource
from hedgefund_dagster.settings import SettingsResource
from tests.builders import tradable_panel, write_bundle

CLOCK = ClockResource(fixed="2024-01-01T00:00:00+00:00")


def registered(house, *, passed):
    """A bundle in the registry under the champion alias, whoever moved it there."""
    folder = write_bundle(house, tradable_panel(), passed=passed)
    registry = ModelRegistryResource().open()
    from hedgefund_dagster.resources.model_registry import RunRecord

    run_id = registry.log_run("sp500", RunRecord(name="one", params={}, metrics={}, tags={}, texts={}))
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    version = registry.register(run_id, files, digest="d" * 64, tags={}, description="")
    registry.set_alias(layout.CHAMPION, version.version)
    return version


def tick(sensor, cursor=None, **resources):
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources)
        return sensor.evaluate_tick(context)


def everything():
    return {"models": ModelRegistryResource(), "settings": SettingsResource(), "clock": CLOCK}


def test_an_alias_moved_by_hand_to_a_refused_version_is_noted_once_with_its_verdict(own_house):
    registered(own_house, passed=False)
    first = tick(alias_moved, **everything())
    words = [str(event.metadata["verdict"].value) for event in first.asset_events]
    assert words
    assert all("does NOT allow" in line for line in words)
    again = tick(alias_moved, first.cursor, **everything())
    assert not again.asset_events
    assert again.skip_message == "no champion alias moved"


def test_a_model_does_not_ask_for_a_refit_before_there_is_a_registry_entry(own_house):
    answer = tick(model_expires, **everything(), lake=LakeResource())
    assert not answer.run_requests


def test_a_model_near_its_end_asks_for_no_refit_of_a_book_that_only_shares_its_alias(own_house):
    registered(own_house, passed=True)  # trained on another source than any book's: nothing of theirs is even stored
    late = {**everything(), "clock": ClockResource(fixed="2099-01-01T00:00:00+00:00")}
    answer = tick(model_expires, **late, lake=LakeResource())
    assert not answer.run_requests
    assert "no champion expires" in answer.skip_message


def test_a_journal_at_rest_is_reported_once(own_house):
    import sqlite3

    path = own_house / "data" / layout.journal_file("demo-1")
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE frames (seq INTEGER PRIMARY KEY, payload BLOB)")
        database.execute("INSERT INTO frames VALUES (1, x'00')")
    resources = {"journals": JournalReaderResource()}
    grew = tick(journal_closed, **resources)
    assert not grew.run_requests  # it may still be written to
    rested = tick(journal_closed, grew.cursor, **resources)
    (request,) = rested.run_requests
    assert request.run_key == "demo-1-1"
    assert request.run_config["ops"]["account__fills"]["config"] == {"account": "demo-1"}
    assert not tick(journal_closed, rested.cursor, **resources).run_requests
