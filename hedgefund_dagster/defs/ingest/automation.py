"""Runs of the first three slices: after each session, and when the user's folder changes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import dagster as dg

from hedgefund_core.errors import HedgefundError
from hedgefund_dagster.automation import research_request, session_schedule
from hedgefund_dagster.defs.sourced import all_facts
from hedgefund_dagster.settings import SettingsResource
from hedgefund_dagster.sources.files import NAME as FILES
from hedgefund_dagster.sources.served import NAME as SERVED

JOB, SERVED_JOB = "daily_research", "served_research"
GROUPS = ("ingest", "validation", "features")

_OF_SERVED = dg.AssetSelection.key_prefixes(SERVED)

daily_research = dg.define_asset_job(
    JOB,
    selection=dg.AssetSelection.groups(*GROUPS) - _OF_SERVED,
    description="Prices to features of one source: ingest, validation, features, with every check.",
    tags={"team": "research"},
)

served_research = dg.define_asset_job(
    SERVED_JOB,
    selection=_OF_SERVED,  # a job of its own: its days are no years
    description="The same of what vendors serve (universe.yaml: `source: served`), for a day or a range of days. Asks the network.",
    tags={"team": "research"},
)


def keys_of(source: str) -> list[dg.AssetKey]:
    """Assets of a source in the first three slices, upstream first."""
    facts = next(facts for facts in all_facts() if facts.name == source)
    actions = ["corporate_actions"] if facts.has_corporate_actions else []
    raw = [] if source == SERVED else ["raw"]
    return [dg.AssetKey([source, name]) for name in (*raw, "bars", *actions, "validated_bars", "panel", "features", "labels")]


def _request(source: str, run_key: str) -> dg.RunRequest:
    facts = next(facts for facts in all_facts() if facts.name == source)
    return research_request(facts, keys_of(source), run_key=run_key)


def _after_session(session: str) -> dg.RunRequest | dg.SkipReason:
    source = SettingsResource().open().universe.source
    if source == SERVED:
        return dg.SkipReason("config/universe.yaml: `source: served`: the schedule served_after_session asks its vendors")
    return _request(source, f"{source}-{session}")


def _served_after_session(session: str) -> dg.RunRequest | dg.SkipReason:
    if SettingsResource().open().universe.source != SERVED:
        return dg.SkipReason("config/universe.yaml: the universe is not that of `source: served`")
    return dg.RunRequest(run_key=f"{SERVED}-{session}", partition_key=session, asset_selection=keys_of(SERVED), tags={"source": SERVED})


after_each_session = session_schedule(
    "after_each_session",
    JOB,
    _after_session,
    description="Half an hour after the exchange's close (half days too, never on holidays): research of the configured universe.",
)

served_after_session = session_schedule(
    "served_after_session",
    SERVED_JOB,
    _served_after_session,
    description="Half an hour after the exchange's close, where the universe is `served`: that day's prices to features. Asks the network.",
)


def folder_state(folder: str) -> str:
    """Digest of names, sizes and times of a folder's files; empty if there is none."""
    place = Path(folder).expanduser()
    if not folder or not place.is_dir():
        return ""
    states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(place.iterdir()) if path.is_file()]
    return hashlib.sha256(repr(states).encode()).hexdigest() if states else ""


def _new_files(context: dg.SensorEvaluationContext, settings: SettingsResource) -> dg.SensorResult | dg.SkipReason:
    """One request a change: the state of the folder is the cursor and the run key."""
    try:
        state = folder_state(settings.open().sources.files.folder)
    except HedgefundError as error:
        return dg.SkipReason(error.message)
    if not state or state == context.cursor:
        return dg.SkipReason("no change in the folder of the source `files`")
    return dg.SensorResult(run_requests=[_request(FILES, f"{FILES}-{state[:16]}")], cursor=state)


new_files = dg.SensorDefinition(
    name="new_files",
    evaluation_fn=_new_files,
    job_name=JOB,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="A changed file in your folder (config/sources.yaml) starts research on it. Looks at names, sizes and times only.",
)
