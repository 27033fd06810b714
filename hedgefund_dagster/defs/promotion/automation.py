"""Promotion runs by job; two sensors watch the registry: an alias that moved is noted, a model about to expire is refitted."""

from __future__ import annotations

from datetime import date, timedelta

import dagster as dg

from hedgefund_core import layout
from hedgefund_core.bundle import Manifest, gate_admits, read_bundle
from hedgefund_core.errors import HedgefundError
from hedgefund_dagster.automation import session_schedule
from hedgefund_dagster.books import BOOKS, Book, book_of
from hedgefund_dagster.defs.training.automation import STEPS, research_keys
from hedgefund_dagster.resources.clock import ClockResource
from hedgefund_dagster.resources.lake import LakeResource
from hedgefund_dagster.resources.model_registry import ModelRegistryResource, Version
from hedgefund_dagster.resources.signing import verify
from hedgefund_dagster.settings import SettingsResource

JOB = "promote"
WHOLE = (*STEPS, "gate_verdict", "champion")
NOTICE = timedelta(days=30)
"""A refit is asked for this long before a model may no longer take new exposure."""

promote = dg.define_asset_job(
    JOB,
    selection=dg.AssetSelection.groups("training", "backtest", "promotion"),
    description="Research, gate and aliases of a book as of a cut (run configuration `cut`; empty = the last session).",
    tags={"team": "research"},
)


def _request(session: str) -> dg.RunRequest:
    book = book_of(SettingsResource().open().universe.source)
    return dg.RunRequest(
        run_key=f"promote-{book.name}-{session}", asset_selection=research_keys(book.name, WHOLE), tags={"book": book.name}
    )


after_sessions = session_schedule(
    "promotion_after_each_session",
    JOB,
    _request,
    description="After each session: research, gate, aliases. On instead of `research_after_each_session`, refits go live by themselves.",
)


def verdict_of(models: ModelRegistryResource, settings: SettingsResource, version: Version, on: date) -> tuple[Manifest | None, str]:
    """The manifest of a version and whether its signed verdict lets it trade, in words."""
    keys = settings.open().folder / "keys"
    try:
        files = models.open().bundle_files(version)
        manifest = read_bundle(files, lambda key, payload, signature: verify(keys, key, payload, signature)).manifest
    except HedgefundError as error:
        return None, f"the executor will refuse it: {error.message}"
    allowed = gate_admits(manifest, on)
    return manifest, f"{manifest.name}: signed verdict {manifest.gate.kind} {'allows' if allowed else 'does NOT allow'} it to trade"


def _alias_moved(
    context: dg.SensorEvaluationContext, models: ModelRegistryResource, settings: SettingsResource, clock: ClockResource
) -> dg.SensorResult | dg.SkipReason:
    """A note per move: whoever moved the alias, the executor follows only where the signed verdict allows."""
    registry = models.open()
    aliases = dict.fromkeys(book.alias(layout.CHAMPION) for book in BOOKS.values())
    found = {alias: registry.by_alias(alias) for alias in aliases}
    state = ",".join(f"{alias}={'' if version is None else version.version}" for alias, version in found.items())
    if state == context.cursor:
        return dg.SkipReason("no champion alias moved")
    before = dict(part.split("=") for part in (context.cursor or "").split(",") if part)
    notes = []
    for alias, version in found.items():
        if version is not None and before.get(alias) != version.version:
            manifest, words = verdict_of(models, settings, version, clock.now().date())
            context.log.info("%s is now version %s; %s", alias, version.version, words)
            key = [_book_behind(alias, "" if manifest is None else manifest.source).name, "champion"]
            notes.append(dg.AssetObservation(asset_key=key, metadata={"version": version.version, "verdict": words, "alias": alias}))
    return dg.SensorResult(cursor=state, asset_events=notes)


def _book_behind(alias: str, source: str) -> Book:
    """The book of an aliased version: that of its source, else the first that uses the alias."""
    using = [book for book in BOOKS.values() if book.alias(layout.CHAMPION) == alias]
    return next((book for book in using if book.source == source), using[0])


alias_moved = dg.SensorDefinition(
    name="alias_moved",
    evaluation_fn=_alias_moved,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Notes each move of a champion alias in MLflow, and whether the version's signed verdict lets the executor follow.",
)


def _model_expires(
    context: dg.SensorEvaluationContext,
    models: ModelRegistryResource,
    settings: SettingsResource,
    clock: ClockResource,
    lake: LakeResource,
) -> dg.SensorResult | dg.SkipReason:
    """One refit request a version, and only where there are sessions after its training."""
    today, requests = clock.now().date(), []
    for book in BOOKS.values():
        version = models.open().by_alias(book.alias(layout.CHAMPION))
        manifest = None if version is None else verdict_of(models, settings, version, today)[0]
        if manifest is None or manifest.source != book.source or today + NOTICE < manifest.expires_on():
            continue  # books may share an alias: the version is of the one whose source it was trained on
        if lake.open().panel_manifest(book.source).last_session > manifest.trained_through:
            requests.append(_refit(book, "" if version is None else version.version))
    return (
        dg.SensorResult(run_requests=requests)
        if requests
        else dg.SkipReason("no champion expires within 30 days, or no newer session is known")
    )


def _refit(book: Book, version: str) -> dg.RunRequest:
    return dg.RunRequest(run_key=f"expiry-{book.name}-{version}", asset_selection=research_keys(book.name, WHOLE), tags={"book": book.name})


model_expires = dg.SensorDefinition(
    name="model_expires",
    evaluation_fn=_model_expires,
    job_name=JOB,
    minimum_interval_seconds=3600,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Thirty days before a champion expires, and where newer sessions are known: research, gate and refit.",
)
