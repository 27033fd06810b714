"""Retraining: after each cut of the configured calendar, by hand, or when a model is about to expire."""

from __future__ import annotations

import dagster as dg

from hedgefund_dagster.automation import session_schedule
from hedgefund_dagster.books import BOOKS, book_of
from hedgefund_dagster.settings import SettingsResource

JOB = "retrain"
STEPS = ("walk_forward", "backtest")

retrain = dg.define_asset_job(
    JOB,
    selection=dg.AssetSelection.groups("training", "backtest"),
    description="Walk-forward and backtest of a book as of a cut (run configuration `cut`; empty = the last session).",
    tags={"team": "research"},
)


def research_keys(book: str, steps: tuple[str, ...] = STEPS) -> list[dg.AssetKey]:
    """Assets of a book's research, upstream first."""
    return [dg.AssetKey([BOOKS[book].name, step]) for step in steps]


def _request(session: str) -> dg.RunRequest:
    book = book_of(SettingsResource().open().universe.source)
    return dg.RunRequest(run_key=f"{book.name}-{session}", asset_selection=research_keys(book.name), tags={"book": book.name})


weekly_research = session_schedule(
    "research_after_each_session",
    JOB,
    _request,
    description="After each session: walk-forward and backtest of the configured book; folds already known are not fitted again.",
)
