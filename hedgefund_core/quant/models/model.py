"""What every model is to the rest of the product: columns, scores, plain arrays."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.models.arrays import Arrays, Floats, mismatch
from hedgefund_core.quant.models.linear import linear_from_arrays
from hedgefund_core.quant.models.rule import rule_from_arrays
from hedgefund_core.quant.models.trees import trees_from_arrays

Kind = Literal["rule", "linear", "trees"]
KINDS: tuple[Kind, ...] = ("rule", "linear", "trees")


class ScoreModel(Protocol):
    """A scoring model: a pure function of one cross-section of features, with its preprocessing inside."""

    @property
    def kind(self) -> Kind:
        """Format of the arrays."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Feature names, the column order of every matrix."""

    def score(self, features: Floats, mask: NDArray[np.bool_]) -> Floats:
        """Score one cross-section: float64 (n, k), bool (n,) -> float64 (n,); higher = more attractive, NaN = not scored."""

    def score_sessions(self, features: Floats, mask: NDArray[np.bool_], groups: NDArray[np.int64]) -> Floats:
        """Score stacked cross-sections; ``groups`` (n,) int64 says which session a row belongs to."""

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Plain arrays (int64, float64 vectors) from which ``load_model`` builds the same model."""


def load_model(kind: str, arrays: Arrays, columns: tuple[str, ...]) -> ScoreModel:
    """Build a model from the arrays of a bundle.

    Parameters
    ----------
    kind : "rule", "linear" or "trees".
    arrays : name -> array, as ``np.load(..., allow_pickle=False)`` gives them.
    columns : feature names in the order the model was trained on.

    Raises
    ------
    ModelMismatch : unknown kind or key, wrong dtype or shape, a value that is not finite, a broken tree.
    """
    if not columns or len(set(columns)) != len(columns):
        message = f"model columns must be unique and not empty: {columns}"
        raise mismatch(message)
    match kind:
        case "rule":
            return rule_from_arrays(arrays, columns)
        case "linear":
            return linear_from_arrays(arrays, columns)
        case "trees":
            return trees_from_arrays(arrays, columns)
    message = f"unknown kind of model {kind!r}; known: {', '.join(KINDS)}"
    raise mismatch(message)


def score_panel(model: ScoreModel, values: Floats, mask: NDArray[np.bool_]) -> Floats:
    """Score a whole panel: (n_sessions, n_symbols, k), (n_sessions, n_symbols) -> (n_sessions, n_symbols).

    The same bits as ``model.score`` on each session; NaN where masked or not scorable.
    """
    n_sessions, n_symbols, k = values.shape
    groups = np.repeat(np.arange(n_sessions, dtype=np.int64), n_symbols)
    flat = model.score_sessions(values.reshape(-1, k), mask.reshape(-1), groups)
    return flat.reshape(n_sessions, n_symbols)
