"""Walk-forward research: each score comes from a model that could not have seen the session it scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid, InvariantViolation
from hedgefund_core.quant.measures.information_coefficient import information_coefficient
from hedgefund_core.quant.measures.measure import Measure
from hedgefund_core.quant.models.arrays import Floats, Ints
from hedgefund_core.quant.models.model import ScoreModel, score_panel
from hedgefund_core.quant.models.registry import ModelSpec
from hedgefund_core.quant.models.training import Params, PreparedSample, prepared_sample

Progress = Callable[[int, int], None]


class Fold(Protocol):
    """One step of the walk; positions on the session axis. A fold of ``quant.splits`` is named and given positions by the caller."""

    @property
    def fold_id(self) -> str:
        """Stable name made of dates, so that a later research run finds the fold again."""

    @property
    def train(self) -> Ints:
        """Positions trained on, purged and embargoed."""

    @property
    def test(self) -> Ints:
        """Positions scored, all after the training labels were known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Research:
    """What a walk is made over.

    Attributes
    ----------
    values : float64 (n_sessions, n_symbols, k), features; NaN = missing.
    mask : bool (n_sessions, n_symbols), the universe at each session.
    labels : float64 (n_sessions, n_symbols); NaN = the outcome is not known yet.
    label_end : int64 (n_sessions,), position of the session at which the label of a row is known.
    columns : k feature names.
    train_rows : bool (n_sessions,), which sessions are trained on (weekly rows are a fifth of the work and overlap less).
    overlap : sessions by which neighbouring labels overlap, for the error of the information coefficient.
    """

    values: Floats
    mask: NDArray[np.bool_]
    labels: Floats
    label_end: Ints
    columns: tuple[str, ...]
    train_rows: NDArray[np.bool_]
    overlap: int = 0

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together."""
        n, m, k = self.values.shape
        shapes = (self.mask.shape, self.labels.shape, self.label_end.shape, self.train_rows.shape, len(self.columns))
        if shapes != ((n, m), (n, m), (n,), (n,), k):
            message = f"research arrays do not fit: values {self.values.shape}, mask, labels, label_end, train_rows, columns {shapes}"
            raise DataInvalid(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkForwardResult:
    """Out-of-sample scores and what they were worth.

    Attributes
    ----------
    scores : float64 (n_sessions, n_symbols); NaN at sessions that no fold tested.
    fold_scores : fold_id -> float64 (n_test, n_symbols); give it back as ``known`` and only new folds are fitted.
    fold_ics : fold_id -> information coefficient of the fold.
    models : fold_id -> model, for the folds fitted in this run.
    information_coefficient : over all sessions out of sample.
    """

    scores: Floats
    fold_scores: dict[str, Floats]
    fold_ics: dict[str, Measure]
    models: dict[str, ScoreModel]
    information_coefficient: Measure


def fit_rows(research: Research, rows: Ints, spec: ModelSpec, params: Params, seed: int) -> ScoreModel:
    """Fit a model on the training sessions among ``rows`` (positions); used for folds and for the model of a cut."""
    return spec.trainer(*_training_rows(research, rows), columns=research.columns, params=params, seed=seed)


def _training_rows(research: Research, rows: Ints) -> tuple[Floats, Floats, Ints]:
    """Features (n, k), labels and session of each row (n,) of the training sessions among ``rows``."""
    chosen = rows[research.train_rows[rows]]
    features = research.values[chosen].reshape(-1, len(research.columns))
    labels = np.where(research.mask[chosen], research.labels[chosen], np.nan).reshape(-1)
    return features, labels, np.repeat(chosen.astype(np.int64), research.mask.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fits:
    """Fits of the folds of one walk; rows are standardised within their session, so once for all folds."""

    research: Research
    spec: ModelSpec
    params: Params
    seed: int
    sessions: Ints
    sample: PreparedSample | None

    @classmethod
    def of(cls, research: Research, folds: Sequence[Fold], spec: ModelSpec, params: Params, seed: int) -> _Fits:
        """Standardise what the folds train on."""
        rows = np.unique(np.concatenate([fold.train for fold in folds]))
        features, labels, sessions = _training_rows(research, rows)
        sample = None if spec.fitter is None else prepared_sample(features, labels, sessions)
        return cls(research=research, spec=spec, params=params, seed=seed, sessions=sessions, sample=sample)

    def model(self, fold: Fold) -> ScoreModel:
        """The model of a fold; the same bytes as `fit_rows` on its training positions."""
        if self.sample is None or self.spec.fitter is None:
            return fit_rows(self.research, fold.train, self.spec, self.params, self.seed)
        ready, targets = self.sample.of(np.isin(self.sessions, fold.train))
        return self.spec.fitter(ready, targets, columns=self.research.columns, params=self.params, seed=self.seed)


def walk_forward(
    research: Research,
    folds: Sequence[Fold],
    spec: ModelSpec,
    params: Params,
    *,
    seed: int,
    known: Mapping[str, Floats] | None = None,
    progress: Progress | None = None,
) -> WalkForwardResult:
    """Fit and score fold after fold.

    Parameters
    ----------
    research : features, labels and masks.
    folds : training and test positions; the training labels must be known before the first test session.
    spec, params, seed : the model; the same three give the same scores.
    known : scores of folds from an earlier run with the same data, model, parameters and seed (the caller keys its cache by
        them); taken as they are unless the fold grew since.
    progress : called with (folds done, folds in all).

    Raises
    ------
    InvariantViolation : a training label ends at or after the first test session: the fold would look ahead.
    """
    scores = np.full(research.mask.shape, np.nan)
    fold_scores: dict[str, Floats] = {}
    models: dict[str, ScoreModel] = {}
    fits: _Fits | None = None
    for done, fold in enumerate(folds, start=1):
        _refuse_look_ahead(research, fold)
        earlier = None if known is None else known.get(fold.fold_id)
        if earlier is None or earlier.shape != (fold.test.size, research.mask.shape[1]):
            fits = fits or _Fits.of(research, folds[done - 1 :], spec, params, seed)
            model = fits.model(fold)
            models[fold.fold_id] = model
            earlier = score_panel(model, research.values[fold.test], research.mask[fold.test])
        fold_scores[fold.fold_id] = earlier
        scores[fold.test] = earlier
        if progress is not None:
            progress(done, len(folds))
    return WalkForwardResult(
        scores=scores,
        fold_scores=fold_scores,
        fold_ics={fold.fold_id: _fold_ic(research, fold, fold_scores) for fold in folds},
        models=models,
        information_coefficient=information_coefficient(scores, research.labels, overlap=research.overlap),
    )


def _fold_ic(research: Research, fold: Fold, fold_scores: Mapping[str, Floats]) -> Measure:
    return information_coefficient(fold_scores[fold.fold_id], research.labels[fold.test], overlap=research.overlap)


def _refuse_look_ahead(research: Research, fold: Fold) -> None:
    if fold.train.size == 0 or fold.test.size == 0:
        message = f"fold {fold.fold_id} has {fold.train.size} training and {fold.test.size} test sessions"
        raise DataInvalid(message, mend="ingest a longer history or make fewer folds")
    last_known = int(research.label_end[fold.train].max())
    if last_known >= int(fold.test.min()):
        message = f"fold {fold.fold_id} trains on labels known at position {last_known}, but tests from {int(fold.test.min())}"
        raise InvariantViolation(message, mend="purge the folds by the label horizon")
