"""What must be so of a walk-forward before anything is built on it."""

# No `from __future__ import annotations`: Dagster looks at the annotation of the context itself, not at its text.
import dagster as dg
import numpy as np

from hedgefund_dagster.books import BOOKS, Book
from hedgefund_dagster.defs.look_ahead import audited
from hedgefund_dagster.defs.training.inputs import ResearchConfig, open_study
from hedgefund_dagster.defs.training.look_ahead import scores_that_knew, unpurged_folds
from hedgefund_dagster.defs.training.records import WalkRecord, read_record, read_scores
from hedgefund_dagster.resources.lake import LakeResource
from hedgefund_dagster.settings import SettingsResource

UNKNOWING = "knew_nothing_after_the_fold"


def training_checks() -> list[dg.AssetChecksDefinition]:
    """Checks of every book's walk-forward."""
    return [check for book in BOOKS.values() for check in (_scores(book), _unknowing(book))]


def _scores(book: Book) -> dg.AssetChecksDefinition:
    key = dg.AssetKey([book.name, "walk_forward"])

    @dg.asset_check(
        asset=key,
        name="scores_are_out_of_sample_and_alive",
        blocking=True,
        description="No score before the first test session; a model that gives the same score to every name ranks nothing.",
    )
    def scores_are_out_of_sample_and_alive(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        store = lake.open()
        place = latest_place(context, key)
        record, scores = read_record(store, f"{place}/walk.json", WalkRecord), read_scores(store, place)
        early, dead = [], []
        for candidate in record.candidates:
            values = scores[candidate.number]
            scored = np.isfinite(values).any(axis=1)
            spread = np.nanmax(values[scored], axis=1) - np.nanmin(values[scored], axis=1) if scored.any() else np.zeros(1)
            dead.extend([candidate.name] if float((spread > 0).mean()) < 0.5 else [])
            first = int(np.flatnonzero(scored)[0]) if scored.any() else 0
            early.extend([candidate.name] if first < record.first_position else [])
        words = [f"scored before the first test: {', '.join(early)}"] if early else []
        words += [f"gives the same score to every name: {', '.join(sorted(set(dead)))}"] if dead else []
        # A challenger that learned nothing is not worth a halt: it cannot be approved, and the incumbent goes on.
        severity = dg.AssetCheckSeverity.ERROR if early else dg.AssetCheckSeverity.WARN
        return dg.AssetCheckResult(
            passed=not words, severity=severity, description="; ".join(words) or "every model ranks names, out of sample only"
        )

    return scores_are_out_of_sample_and_alive


def _unknowing(book: Book) -> dg.AssetChecksDefinition:
    key = dg.AssetKey([book.name, "walk_forward"])

    @dg.asset_check(
        asset=key,
        name=UNKNOWING,
        blocking=True,
        description="Training labels end before the embargo; a fold fitted again without any later label gives the same scores.",
    )
    def knew_nothing_after_the_fold(
        context: dg.AssetCheckExecutionContext, lake: LakeResource, settings: SettingsResource
    ) -> dg.AssetCheckResult:
        store = lake.open()
        place = latest_place(context, key)
        record, scores = read_record(store, f"{place}/walk.json", WalkRecord), read_scores(store, place)
        config = ResearchConfig(cut=record.cut, mandate=record.mandate, rule_only=not record.has_challenger)
        study = open_study(store, settings.open(), book, config)
        findings = unpurged_folds(study)
        if record.has_challenger:
            findings += scores_that_knew(study, record.challenger, scores[record.challenger.number])
        return audited(findings, f"{len(study.folds)} folds purged; the challenger's first one fitted again without its future")

    return knew_nothing_after_the_fold


def latest_place(context: dg.AssetCheckExecutionContext, key: dg.AssetKey) -> str:
    """Folder of the records of the asset's latest materialization (its metadata says it)."""
    event = context.instance.get_latest_materialization_event(key)
    found = None if event is None or event.asset_materialization is None else event.asset_materialization.metadata.get("place")
    return "" if found is None else str(found.value)
