"""A rule: a fixed weighted sum of features. The bootstrap champion 12-1 momentum is weight 1 on one column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.models.arrays import Arrays, Floats, floats, mismatch, require_keys
from hedgefund_core.quant.models.preprocess import Preprocess, checked_input, preprocess_array, preprocess_from, standardised


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleModel:
    """Scores by a stated rule, not by fitting; counted as one trial all the same.

    Attributes
    ----------
    columns : names of the features, the column order of every matrix given to ``score``.
    weights : float64 (k,); a column of weight 0 is not read, so it may be missing.
    preprocess : standardisation before the sum; a single column needs none.
    """

    columns: tuple[str, ...]
    weights: Floats
    preprocess: Preprocess = Preprocess.NONE
    kind: Literal["rule"] = "rule"

    def score(self, features: Floats, mask: NDArray[np.bool_]) -> Floats:
        """Score one cross-section: (n, k), (n,) -> (n,), NaN where masked or where a weighted feature is missing."""
        checked_input(features, mask, len(self.columns))
        return self.score_sessions(features, mask, np.zeros(mask.shape, dtype=np.int64))

    def score_sessions(self, features: Floats, mask: NDArray[np.bool_], groups: NDArray[np.int64]) -> Floats:
        """Score rows of many cross-sections at once; the same bits as ``score`` on each."""
        ready, scored = standardised(features, mask, groups, self.preprocess)
        total = np.zeros(mask.shape)
        for column in np.flatnonzero(self.weights):
            total = total + self.weights[column] * ready[:, column]
        return np.where(scored & np.isfinite(total), total, np.nan)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays stored in the bundle."""
        return {"preprocess": preprocess_array(self.preprocess), "weights": self.weights}


def rule_from_arrays(arrays: Arrays, columns: tuple[str, ...]) -> RuleModel:
    """Load a rule; raises ModelMismatch on anything unexpected."""
    require_keys(arrays, ("preprocess", "weights"))
    weights = floats(arrays, "weights", len(columns))
    if not bool(np.any(weights != 0.0)):
        message = "rule has no column with a weight"
        raise mismatch(message)
    return RuleModel(columns=columns, weights=weights, preprocess=preprocess_from(arrays))


def single_feature_rule(column: str) -> RuleModel:
    """Rule that ranks instruments by one feature, for example ``momentum_12_1`` (Jegadeesh & Titman 1993)."""
    return RuleModel(columns=(column,), weights=np.ones(1))
