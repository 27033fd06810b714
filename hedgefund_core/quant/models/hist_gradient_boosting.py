"""Histogram gradient boosting (Friedman 2001; Ke et al. 2017), exported from scikit-learn to plain node tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.models.arrays import Floats
from hedgefund_core.quant.models.preprocess import Preprocess, preprocess_array
from hedgefund_core.quant.models.training import Params, number, training_sample
from hedgefund_core.quant.models.trees import TreesModel, trees_from_arrays

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingRegressor


def fit_hist_gradient_boosting(
    features: Floats,
    labels: Floats,
    sessions: NDArray[np.int64],
    *,
    columns: tuple[str, ...],
    params: Params,
    seed: int,
) -> TreesModel:
    """Fit boosted trees; ``params`` = {learning_rate, max_iter, max_leaf_nodes, min_samples_leaf, l2_regularization}.

    Raises
    ------
    DataInvalid : too few usable rows, or a missing parameter.
    """
    ready, targets = training_sample(features, labels, sessions)
    return fit_hist_gradient_boosting_ready(ready, targets, columns=columns, params=params, seed=seed)


def fit_hist_gradient_boosting_ready(ready: Floats, targets: Floats, *, columns: tuple[str, ...], params: Params, seed: int) -> TreesModel:
    """`fit_hist_gradient_boosting` on rows that are standardised already."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    regressor = HistGradientBoostingRegressor(
        learning_rate=number(params, "learning_rate"),
        max_iter=int(number(params, "max_iter")),
        max_leaf_nodes=int(number(params, "max_leaf_nodes")),
        min_samples_leaf=int(number(params, "min_samples_leaf")),
        l2_regularization=number(params, "l2_regularization"),
        early_stopping=False,  # stopping on a random part of the rows would look into neighbouring sessions
        random_state=seed,
    )
    # Sums of several threads depend on their number: one thread gives the same bytes on every machine of a kind.
    with threadpool_limits(limits=1):
        fitted = regressor.fit(ready, targets)
    return exported_trees(fitted, columns, Preprocess.CROSS_SECTIONAL_RANK)


def exported_trees(fitted: HistGradientBoostingRegressor, columns: tuple[str, ...], preprocess: Preprocess) -> TreesModel:
    """Copy scikit-learn's node tables; predictions on the preprocessed matrix stay equal bit for bit."""
    tables = [predictor.nodes for (predictor,) in fitted._predictors]  # noqa: SLF001 - no public way to the nodes; tested bit for bit
    sizes = np.array([len(table) for table in tables], dtype=np.int64)
    roots = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes)[:-1]])
    nodes, offset = np.concatenate(tables), np.repeat(roots, sizes)
    here, leaf = np.arange(nodes.size), nodes["is_leaf"] == 1
    # A split "missing or not" has an infinite threshold; the largest number means the same for finite features.
    threshold = np.where(leaf, 0.0, np.minimum(nodes["num_threshold"], np.finfo(np.float64).max))
    arrays: dict[str, NDArray[np.generic]] = {
        "baseline": np.array([float(fitted._baseline_prediction.item())]),  # noqa: SLF001 - as above
        "feature": np.where(leaf, 0, nodes["feature_idx"]).astype(np.int64),
        "left": np.where(leaf, here, nodes["left"].astype(np.int64) + offset),
        "missing_left": np.where(leaf, 0, nodes["missing_go_to_left"]).astype(np.int64),
        "preprocess": preprocess_array(preprocess),
        "right": np.where(leaf, here, nodes["right"].astype(np.int64) + offset),
        "roots": roots,
        "threshold": threshold,
        "value": np.where(leaf, nodes["value"], 0.0),
    }
    return trees_from_arrays(arrays, columns)
