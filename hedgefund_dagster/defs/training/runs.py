"""MLflow's page of a model: parameters, what it was worth out of sample, and how it came to be chosen."""

from __future__ import annotations

from hedgefund_dagster.books import Book
from hedgefund_dagster.defs.training.study import Study
from hedgefund_dagster.defs.training.walk import Walked
from hedgefund_dagster.resources.model_registry import ModelRegistry, RunRecord


def log_walk(registry: ModelRegistry, study: Study, book: Book, one: Walked, dagster_run_id: str) -> str:
    """Log one chosen variant as a run; returns its id."""
    record = RunRecord(
        name=f"{one.name} {study.cut}",
        params={
            **{name: str(value) for name, value in one.params.items()},
            "features": str(len(study.specs)),
            "folds": str(len(study.folds)),
        },
        metrics={
            "oos_information_coefficient": one.ic.value,
            "oos_information_coefficient_low": float("nan") if one.ic.low is None else one.ic.low,
            "oos_information_coefficient_high": float("nan") if one.ic.high is None else one.ic.high,
            "selection_information_coefficient": one.chosen_by,
        },
        tags={
            "book": book.name,
            "mandate": study.mandate.name,
            "source": book.source,
            "cut": study.cut,
            "data_version": study.panel.data_version,
            "dagster_run_id": dagster_run_id,
            "trial": one.key,
            "model": one.name,
        },
        texts={"README.md": _page(study, book, one)},
    )
    return registry.log_run(book.name, record)


def _page(study: Study, book: Book, one: Walked) -> str:
    ic, judged = one.ic, study.panel.sessions[study.judged_from]
    interval = "" if ic.low is None or ic.high is None else f" (95 % {ic.low:.3f} to {ic.high:.3f})"
    params = "\n".join(f"| {name} | {value} |" for name, value in one.params.items())
    features = ", ".join(spec.name for spec in study.specs) if one.kind != "rule" else str(one.params["column"])
    return f"""# {one.name}: {book.title}

Research as of {study.cut}; nothing known later was read. {len(study.folds)} purged and embargoed folds from {study.folds[0].fold_id}.

Rank information coefficient on the sessions judged (from {judged}): **{ic.value:.3f}**{interval}.
On the sessions that chose between variants, before {judged}: {one.chosen_by:.3f}.

| parameter | value |
|---|---|
{params}

Features: {features}.
"""
