"""Walk-forward research of a book as of a cut."""

# No `from __future__ import annotations`: Dagster looks at the context's annotation itself, not at its text.
import dagster as dg

from hedgefund_core.quant.features import FEATURES, code_digest
from hedgefund_dagster.books import BOOKS, Book
from hedgefund_dagster.defs.training.inputs import ResearchConfig, Shown, open_study, place_of
from hedgefund_dagster.defs.training.records import WalkRecord, write_record, write_scores
from hedgefund_dagster.defs.training.runs import log_walk
from hedgefund_dagster.defs.training.study import Study
from hedgefund_dagster.defs.training.walk import Walked, candidates, walk_all
from hedgefund_dagster.metadata import OWNERS
from hedgefund_dagster.resources.lake import LakeResource
from hedgefund_dagster.resources.model_registry import ModelRegistryResource
from hedgefund_dagster.settings import SettingsResource

GROUP = "training"


def training_assets() -> list[dg.AssetsDefinition]:
    """One walk-forward asset a book."""
    return [_walk_forward(book) for book in BOOKS.values()]


def _walk_forward(book: Book) -> dg.AssetsDefinition:
    @dg.asset(
        key=[book.name, "walk_forward"],
        deps=[dg.AssetKey([book.source, name]) for name in ("panel", "features", "labels")],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"scikitlearn", "mlflow", "numpy"},
        tags={"book": book.name, "source": book.source},
        code_version=code_digest(list(FEATURES))[:12],
        description=f"Rule and challengers of the {book.title}: purged, embargoed folds on an absolute grid; scores out of sample only.",
    )
    def walk_forward(
        context: dg.AssetExecutionContext,
        config: ResearchConfig,
        lake: LakeResource,
        settings: SettingsResource,
        models: ModelRegistryResource,
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        store, registry = lake.open(), models.open()
        study = open_study(store, settings.open(), book, config)
        walked = walk_all(study, store)
        chosen = [one.number for one in candidates(walked, study.settings, {}) if one.chosen]
        runs = {number: log_walk(registry, study, book, walked[number], context.run.run_id) for number in chosen}
        record = _record(study, book, walked, runs)
        place = place_of(book, config, study.cut)
        write_scores(store, place, [one.scores for one in walked])
        write_record(store, f"{place}/walk.json", record)
        return dg.MaterializeResult(metadata={"place": place, **_metadata(record)})

    return walk_forward


def _record(study: Study, book: Book, walked: list[Walked], runs: dict[int, str]) -> WalkRecord:
    return WalkRecord(
        book=book.name,
        mandate=study.mandate.name,
        cut=study.cut,
        data_version=study.panel.data_version,
        features=tuple(spec.name for spec in study.specs),
        folds=len(study.folds),
        first_position=study.tested_from,
        tested_from=str(study.panel.sessions[study.tested_from]),
        judged_from=str(study.panel.sessions[study.judged_from]),
        candidates=candidates(walked, study.settings, runs),
    )


def _metadata(record: WalkRecord) -> Shown:
    lines = [
        f"| {one.name} | {', '.join(f'{k}={v}' for k, v in one.params.items())} | {_number(one.chosen_by.value)} | {_number(one.ic.value)} "
        f"| {_number(one.ic.low)} to {_number(one.ic.high)} | {'challenger' if one.challenger else 'yes' if one.chosen else ''} |"
        for one in record.candidates
    ]
    header = "| model | parameters | IC that chose | IC judged | 95 % | chosen |\n|---|---|---|---|---|---|\n"
    return {
        "cut": record.cut,
        "folds": record.folds,
        "trials": len(record.candidates),
        "tested_from": record.tested_from,
        "judged_from": record.judged_from,
        "data_version": record.data_version,
        "candidates": dg.MetadataValue.md(header + "\n".join(lines)),
        "features": dg.MetadataValue.md(", ".join(record.features)),
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
