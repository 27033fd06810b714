"""Ridge regression of ranked returns on ranked features (Hoerl & Kennard 1970)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.models.arrays import Floats
from hedgefund_core.quant.models.linear import LinearModel
from hedgefund_core.quant.models.training import Params, number, training_sample


def fit_ridge(
    features: Floats,
    labels: Floats,
    sessions: NDArray[np.int64],
    *,
    columns: tuple[str, ...],
    params: Params,
    seed: int,
) -> LinearModel:
    """Fit a linear score; ``params`` = {alpha}. The solver is direct, so the seed changes nothing.

    Raises
    ------
    DataInvalid : too few usable rows, or no ``alpha``.
    """
    ready, targets = training_sample(features, labels, sessions)
    return fit_ridge_ready(ready, targets, columns=columns, params=params, seed=seed)


def fit_ridge_ready(ready: Floats, targets: Floats, *, columns: tuple[str, ...], params: Params, seed: int) -> LinearModel:
    """`fit_ridge` on rows that are standardised already."""
    from sklearn.linear_model import Ridge
    from threadpoolctl import threadpool_limits

    # Sums of several threads depend on their number: one thread gives the same bytes on every machine of a kind.
    with threadpool_limits(limits=1):
        fitted = Ridge(alpha=number(params, "alpha"), solver="cholesky").fit(ready, targets)
    coefficients = np.array(fitted.coef_, dtype=np.float64)
    return LinearModel(columns=columns, coefficients=coefficients, intercept=float(fitted.intercept_))
