"""Whether scores said to be out of sample are: purged folds, and a fold fitted again with its future taken away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hedgefund_core.quant.bars import Floats
from hedgefund_core.quant.features.audit import LookAheadCheck, LookAheadFinding
from hedgefund_core.quant.models import model_spec, score_panel
from hedgefund_core.quant.models.walk_forward import fit_rows
from hedgefund_dagster.defs.training.records import Candidate
from hedgefund_dagster.defs.training.study import CutFold, Study

SAME_SCORE = 1e-7
"""Scores agree to this much whatever the number of threads (contracts: journal and replay)."""


def unpurged_folds(study: Study) -> list[LookAheadFinding]:
    """Folds whose training labels end inside the embargo before their test, or later."""
    embargo, ends = study.settings.walk_forward.embargo_sessions, study.research.label_end
    return [
        _finding(study, f"training labels of fold {fold.fold_id}", int(fold.test[0]), 0, float(ends[fold.train].max()), float("nan"))
        for fold in study.folds
        if int(ends[fold.train].max()) + embargo >= int(fold.test[0])
    ][:1]


def scores_that_knew(study: Study, candidate: Candidate, scores: Floats) -> list[LookAheadFinding]:
    """The first fold of a learner, fitted without any later label and scored session by session, must give the stored scores.

    The first fold has the most future to leak from and is the cheapest to fit: a target encoding, a scaling over the whole
    sample or a score that looks at its neighbours in the test all change it.
    """
    fold, spec = study.folds[0], model_spec(candidate.name)
    if spec.kind == "rule":
        return []
    research, first = study.research, int(fold.test[0])
    hidden = np.where((research.label_end < first)[:, None], research.labels, np.nan)
    values = research.values.copy()
    values[first:] = np.nan
    model = fit_rows(replace(research, labels=hidden, values=values), fold.train, spec, candidate.params, study.settings.seed)
    for row in _tried(fold):
        one = slice(row, row + 1)
        known = score_panel(model, research.values[one], research.mask[one])[0]
        same = np.isclose(scores[row], known, rtol=SAME_SCORE, atol=SAME_SCORE, equal_nan=True)
        if not same.all():
            column = int(np.flatnonzero(~same)[0])
            return [_finding(study, f"score of {candidate.name}", row, column, float(scores[row, column]), float(known[column]))]
    return []


def _tried(fold: CutFold) -> tuple[int, ...]:
    return tuple(int(fold.test[place]) for place in (0, fold.test.size // 2, -1))


def _finding(study: Study, subject: str, row: int, column: int, seen: float, known: float) -> LookAheadFinding:
    panel = study.panel
    return LookAheadFinding(
        check=LookAheadCheck.TARGET, subject=subject, session=panel.sessions[row], symbol=panel.symbols[column], seen=seen, known=known
    )
