"""Drift of a distribution: does a feature or a score still look as it did when the model was trained?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid

Floats = NDArray[np.float64]
Status = Literal["stable", "moderate", "drifted", "unknown"]
MODERATE, DRIFTED = 0.10, 0.25
"""The credit-scoring convention for the population stability index (Siddiqi 2006)."""
MIN_VALUES = 20
_FLOOR = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Drift of one column; ``status`` follows the stability index, NaN figures are "unknown"."""

    stability_index: float
    ks_statistic: float
    ks_probability: float
    reference_count: int
    recent_count: int
    status: Status


def population_stability_index(reference: Floats, recent: Floats, *, bins: int = 10) -> float:
    """Symmetric divergence of two samples over quantile bins of the reference.

    Parameters
    ----------
    reference, recent : float64 (n,), (m,); non-finite values are left out.
    bins : quantile bins; equal quantiles (many ties) merge.

    Returns
    -------
    >= 0; below 0.1 stable, above 0.25 drifted; NaN with fewer than ``MIN_VALUES`` on either side.
    """
    if bins < 2:
        raise DataInvalid("a stability index needs at least two bins")
    old, new = _finite(reference), _finite(recent)
    if min(old.size, new.size) < MIN_VALUES:
        return math.nan
    edges = np.unique(np.quantile(old, np.linspace(0.0, 1.0, bins + 1)[1:-1]))
    count = edges.size + 1
    shares = [np.bincount(np.searchsorted(edges, side, side="left"), minlength=count) / side.size for side in (old, new)]
    # An empty bin would make the logarithm infinite: it counts as a share nobody can measure anyway.
    expected, actual = (np.maximum(share, _FLOOR) for share in shares)
    return float(((actual - expected) * np.log(actual / expected)).sum())


def kolmogorov_smirnov(reference: Floats, recent: Floats) -> tuple[float, float]:
    """Two-sample statistic and its asymptotic probability under "no change" (Stephens 1970); (NaN, NaN) if too few values."""
    old, new = np.sort(_finite(reference)), np.sort(_finite(recent))
    if min(old.size, new.size) < MIN_VALUES:
        return math.nan, math.nan
    points = np.concatenate([old, new])
    gaps = np.searchsorted(old, points, side="right") / old.size - np.searchsorted(new, points, side="right") / new.size
    statistic = float(np.abs(gaps).max())
    root = math.sqrt(old.size * new.size / (old.size + new.size))
    return statistic, _kolmogorov_tail((root + 0.12 + 0.11 / root) * statistic)


def column_drift(reference: Floats, recent: Floats, columns: tuple[str, ...]) -> dict[str, Drift]:
    """Drift of each column of (n, k) against (m, k); NaN = missing."""
    if reference.ndim != 2 or recent.ndim != 2 or not reference.shape[1] == recent.shape[1] == len(columns):
        raise DataInvalid(f"drift of {len(columns)} columns over {reference.shape} and {recent.shape}")
    return {name: _drift(reference[:, k], recent[:, k]) for k, name in enumerate(columns)}


def _drift(reference: Floats, recent: Floats) -> Drift:
    index = population_stability_index(reference, recent)
    statistic, probability = kolmogorov_smirnov(reference, recent)
    return Drift(
        stability_index=index,
        ks_statistic=statistic,
        ks_probability=probability,
        reference_count=_finite(reference).size,
        recent_count=_finite(recent).size,
        status=_status(index),
    )


def _status(index: float) -> Status:
    if math.isnan(index):
        return "unknown"
    if index < MODERATE:
        return "stable"
    return "moderate" if index < DRIFTED else "drifted"


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _kolmogorov_tail(x: float) -> float:
    if x < 0.2:  # the series converges slowly here, and the probability is 1 to twelve places
        return 1.0
    total = sum((-1.0) ** (k - 1) * math.exp(-2.0 * k * k * x * x) for k in range(1, 101))
    return min(1.0, max(0.0, 2.0 * total))
