"""Opening the case of a cut: what research left, what the checks found, what the registry holds."""

from __future__ import annotations

import dagster as dg
from dagster import AssetCheckKey

from hedgefund_dagster.books import Book
from hedgefund_dagster.defs.backtest.checks import NO_SAME_BAR
from hedgefund_dagster.defs.backtest.records import BacktestRecord
from hedgefund_dagster.defs.features.checks import PREFIX
from hedgefund_dagster.defs.promotion.evidence import Leakage
from hedgefund_dagster.defs.promotion.judge import Case
from hedgefund_dagster.defs.training.checks import UNKNOWING
from hedgefund_dagster.defs.training.inputs import ResearchConfig, open_study, place_of
from hedgefund_dagster.defs.training.records import WalkRecord, read_record
from hedgefund_dagster.defs.validation.checks import NO_SPLITS, NOT_RESTATED
from hedgefund_dagster.resources.lake import LakeResource
from hedgefund_dagster.resources.model_registry import ModelRegistryResource
from hedgefund_dagster.settings import SettingsResource


def open_case(
    instance: dg.DagsterInstance,
    book: Book,
    config: ResearchConfig,
    lake: LakeResource,
    settings: SettingsResource,
    models: ModelRegistryResource,
) -> Case:
    """Read everything the gate looks at."""
    store, opened = lake.open(), settings.open()
    study = open_study(store, opened, book, config)
    place = place_of(book, config, study.cut)
    return Case(
        book=book,
        study=study,
        walk=read_record(store, f"{place}/walk.json", WalkRecord),
        record=read_record(store, f"{place}/backtest.json", BacktestRecord),
        lake=store,
        place=place,
        leakage=leakage_findings(instance, book, tuple(spec.name for spec in study.specs)),
        registry=models.open(),
        keys=opened.folder / "keys",
    )


def leakage_findings(instance: dg.DagsterInstance, book: Book, features: tuple[str, ...]) -> Leakage:
    """What the latest look-ahead checks found, from the panel to the fills; None where one of them never ran."""
    checks = [
        *(((book.source, "panel"), name) for name in (NOT_RESTATED, NO_SPLITS)),
        *(((book.source, "features"), f"{PREFIX}{name}") for name in features),
        ((book.source, "labels"), "begin_after_the_decision"),
        ((book.name, "walk_forward"), UNKNOWING),
        ((book.name, "backtest"), NO_SAME_BAR),
    ]
    keys = [AssetCheckKey(dg.AssetKey(list(asset)), name) for asset, name in checks]
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    findings = []
    for key in keys:
        record = found.get(key)
        evaluation = None if record is None or record.event is None else record.event.dagster_event
        if evaluation is None or evaluation.asset_check_evaluation_data is None:
            return None
        data = evaluation.asset_check_evaluation_data
        if not data.passed:
            findings.append(f"{key.name}: {data.description}")
    return tuple(findings)
