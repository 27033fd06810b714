"""What the trainers share: one signature, one preparation of the sample, one thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.models.arrays import Floats
from hedgefund_core.quant.models.model import ScoreModel
from hedgefund_core.quant.models.preprocess import Preprocess, cross_sectional_ranks, standardised

Params = Mapping[str, float | int | str]
MIN_ROWS = 100
"""Fewer rows than this say nothing about a cross-section."""


class Trainer(Protocol):
    """A training function: the same inputs and seed give the same bytes."""

    def __call__(
        self,
        features: Floats,
        labels: Floats,
        sessions: NDArray[np.int64],
        *,
        columns: tuple[str, ...],
        params: Params,
        seed: int,
    ) -> ScoreModel:
        """Fit on rows (n, k), (n,): ``sessions`` (n,) int64 says which cross-section a row belongs to."""


class Fitter(Protocol):
    """The part of a training function after `training_sample`."""

    def __call__(self, ready: Floats, targets: Floats, *, columns: tuple[str, ...], params: Params, seed: int) -> ScoreModel:
        """Fit on standardised rows: (n, k), (n,)."""


def training_sample(features: Floats, labels: Floats, sessions: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Standardise features and labels within each session and drop what cannot be learned from.

    Labels are ranked too: a book is built from the order of names, and one crash should not outweigh a decade.

    Parameters
    ----------
    features : float64 (n, k); NaN = missing.
    labels : float64 (n,); NaN = the outcome is not known, the row is dropped.
    sessions : int64 (n,).

    Raises
    ------
    DataInvalid : fewer than ``MIN_ROWS`` usable rows.
    """
    sample = prepared_sample(features, labels, sessions)
    return sample.of(np.ones(labels.shape, dtype=np.bool_))


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSample:
    """Rows standardised within their sessions; a fold takes whole sessions of them, so all folds share one preparation.

    Attributes
    ----------
    ready : float64 (n, k), targets : float64 (n,), usable : bool (n,), rows that can be learned from.
    """

    ready: Floats
    targets: Floats
    usable: NDArray[np.bool_]

    def of(self, rows: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """What can be learned from among ``rows``, bool (n,), which select whole sessions; raises DataInvalid if it is too little."""
        chosen = rows & self.usable
        found = int(chosen.sum())
        if found < MIN_ROWS:
            message = f"only {found} rows have features and a label; training needs {MIN_ROWS}"
            raise DataInvalid(message, mend="ingest a longer history or start the research later")
        return self.ready[chosen], self.targets[chosen]


def prepared_sample(features: Floats, labels: Floats, sessions: NDArray[np.int64]) -> PreparedSample:
    """Standardise rows as `training_sample` does, keeping all of them: (n, k), (n,), (n,)."""
    ready, usable = standardised(features, np.isfinite(labels), sessions, Preprocess.CROSS_SECTIONAL_RANK)
    targets = cross_sectional_ranks(np.where(usable, labels, np.nan), sessions)
    return PreparedSample(ready=ready, targets=targets, usable=usable)


def number(params: Params, name: str) -> float:
    """A numeric parameter; a missing one is an error, so that no default stands in two places."""
    if name not in params:
        message = f"training parameter {name!r} is missing; given: {sorted(params)}"
        raise DataInvalid(message, mend="state the parameter in config/models.yaml")
    return float(params[name])
