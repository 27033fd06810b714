"""Gradient-boosted trees as node tables walked in numpy: equal to scikit-learn's prediction bit for bit.

The trading process needs no scikit-learn, and a table of numbers cannot run code as a pickle can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.models.arrays import Arrays, Floats, Ints, floats, integers, mismatch, require_keys
from hedgefund_core.quant.models.preprocess import Preprocess, checked_input, preprocess_array, preprocess_from, standardised

_KEYS = ("baseline", "feature", "left", "missing_left", "preprocess", "right", "roots", "threshold", "value")
_CELLS_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TreesModel:
    """Sum of regression trees over standardised features.

    Attributes
    ----------
    columns : names of the features, the column order of every matrix given to ``score``.
    baseline : score before the first tree.
    roots : int64 (n_trees,), node index of each root; the nodes of all trees stand in one table.
    feature, left, right, missing_left : int64 (n_nodes,); a leaf's children are itself.
    threshold, value : float64 (n_nodes,); x <= threshold goes left, a leaf adds ``value``.
    depth : longest path of any tree.
    """

    columns: tuple[str, ...]
    baseline: float
    roots: Ints
    feature: Ints
    threshold: Floats
    missing_left: Ints
    left: Ints
    right: Ints
    value: Floats
    depth: int
    preprocess: Preprocess = Preprocess.CROSS_SECTIONAL_RANK
    kind: Literal["trees"] = "trees"

    def score(self, features: Floats, mask: NDArray[np.bool_]) -> Floats:
        """Score one cross-section: (n, k), (n,) -> (n,), NaN where masked or mostly missing."""
        checked_input(features, mask, len(self.columns))
        return self.score_sessions(features, mask, np.zeros(mask.shape, dtype=np.int64))

    def score_sessions(self, features: Floats, mask: NDArray[np.bool_], groups: NDArray[np.int64]) -> Floats:
        """Score rows of many cross-sections at once; the same bits as ``score`` on each."""
        ready, scored = standardised(features, mask, groups, self.preprocess)
        scores = np.full(mask.shape, np.nan)
        scores[scored] = self.predict(ready[scored])
        return scores

    def predict(self, matrix: Floats) -> Floats:
        """Walk the trees over a preprocessed matrix (n, k) -> (n,); NaN follows the learned direction."""
        step = max(1, _CELLS_AT_ONCE // max(1, self.roots.size))
        parts = [self._walk(matrix[start : start + step]) for start in range(0, matrix.shape[0], step)]
        return np.concatenate(parts) if parts else np.empty(0)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays stored in the bundle."""
        arrays: dict[str, NDArray[np.generic]] = {
            "baseline": np.array([self.baseline]),
            "preprocess": preprocess_array(self.preprocess),
        }
        for name in ("feature", "left", "missing_left", "right", "roots", "threshold", "value"):
            arrays[name] = getattr(self, name)
        return dict(sorted(arrays.items()))

    def _walk(self, matrix: Floats) -> Floats:
        rows = np.arange(matrix.shape[0])[:, None]
        node = np.broadcast_to(self.roots, (matrix.shape[0], self.roots.size))
        for _ in range(self.depth):
            x = matrix[rows, self.feature[node]]
            # NaN compares false, so the learned direction of missing values is asked only where it is needed.
            goes_left = (x <= self.threshold[node]) | (np.isnan(x) & (self.missing_left[node] == 1))
            node = np.where(goes_left, self.left[node], self.right[node])
        leaves = self.value[node]
        total = np.zeros(matrix.shape[0]) + self.baseline
        for tree in range(self.roots.size):  # the order of addition is scikit-learn's: one tree after the other
            total = total + leaves[:, tree]
        return total


def trees_from_arrays(arrays: Arrays, columns: tuple[str, ...]) -> TreesModel:
    """Load trees; raises ModelMismatch on anything unexpected, cycles included (children stand after their parent)."""
    require_keys(arrays, _KEYS)
    n_nodes = int(arrays["feature"].shape[0]) if arrays["feature"].ndim == 1 else -1
    tables = {name: integers(arrays, name, n_nodes) for name in ("feature", "left", "right", "missing_left")}
    roots = integers(arrays, "roots")
    _check_tables(tables, roots, len(columns), n_nodes)
    return TreesModel(
        columns=columns,
        baseline=float(floats(arrays, "baseline", 1)[0]),
        roots=roots,
        threshold=floats(arrays, "threshold", n_nodes),
        value=floats(arrays, "value", n_nodes),
        depth=_depth(tables["left"], tables["right"], roots),
        preprocess=preprocess_from(arrays),
        feature=tables["feature"],
        missing_left=tables["missing_left"],
        left=tables["left"],
        right=tables["right"],
    )


def _check_tables(tables: dict[str, Ints], roots: Ints, n_columns: int, n_nodes: int) -> None:
    here = np.arange(n_nodes)
    left, right = tables["left"], tables["right"]
    leaf = (left == here) & (right == here)
    child_after = (left > here) & (right > here) & (left < n_nodes) & (right < n_nodes)
    checks = {
        "a child does not stand after its parent": leaf | child_after,
        "a feature is not a column": (tables["feature"] >= 0) & (tables["feature"] < n_columns),
        "a direction of missing values is not 0 or 1": np.isin(tables["missing_left"], (0, 1)),
        "a root is not a node": (roots >= 0) & (roots < n_nodes),
    }
    for text, good in checks.items():
        if not bool(np.all(good)) or roots.size == 0:
            message = f"tree tables are broken: {text if roots.size else 'no tree'}"
            raise mismatch(message)


def _depth(left: Ints, right: Ints, roots: Ints) -> int:
    depth, frontier = 0, roots
    while True:
        inner = frontier[left[frontier] != frontier]
        if inner.size == 0:
            return depth
        depth, frontier = depth + 1, np.unique(np.r_[left[inner], right[inner]])
