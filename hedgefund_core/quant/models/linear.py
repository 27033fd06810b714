"""Linear scores, summed elementwise in column order: BLAS would give other bits for other batch sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.models.arrays import Arrays, Floats, floats, require_keys
from hedgefund_core.quant.models.preprocess import Preprocess, checked_input, preprocess_array, preprocess_from, standardised


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearModel:
    """Coefficients over standardised features.

    Attributes
    ----------
    columns : names of the features, the column order of every matrix given to ``score``.
    coefficients : float64 (k,), in units of the label per unit of standardised feature.
    intercept : level added to every score.
    """

    columns: tuple[str, ...]
    coefficients: Floats
    intercept: float
    preprocess: Preprocess = Preprocess.CROSS_SECTIONAL_RANK
    kind: Literal["linear"] = "linear"

    def score(self, features: Floats, mask: NDArray[np.bool_]) -> Floats:
        """Score one cross-section: (n, k), (n,) -> (n,), NaN where masked or mostly missing."""
        checked_input(features, mask, len(self.columns))
        return self.score_sessions(features, mask, np.zeros(mask.shape, dtype=np.int64))

    def score_sessions(self, features: Floats, mask: NDArray[np.bool_], groups: NDArray[np.int64]) -> Floats:
        """Score rows of many cross-sections at once; the same bits as ``score`` on each."""
        ready, scored = standardised(features, mask, groups, self.preprocess)
        total = np.full(mask.shape, self.intercept)
        for column in range(len(self.columns)):
            total = total + self.coefficients[column] * ready[:, column]
        return np.where(scored & np.isfinite(total), total, np.nan)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays stored in the bundle."""
        return {
            "coefficients": self.coefficients,
            "intercept": np.array([self.intercept]),
            "preprocess": preprocess_array(self.preprocess),
        }


def linear_from_arrays(arrays: Arrays, columns: tuple[str, ...]) -> LinearModel:
    """Load a linear model; raises ModelMismatch on anything unexpected."""
    require_keys(arrays, ("coefficients", "intercept", "preprocess"))
    return LinearModel(
        columns=columns,
        coefficients=floats(arrays, "coefficients", len(columns)),
        intercept=float(floats(arrays, "intercept", 1)[0]),
        preprocess=preprocess_from(arrays),
    )
