"""Cross-sectional standardisation, a part of every model: training and trading run the same lines.

Ranks are exact multiples of halves divided once, so the same cross-section gives the same bits in any batch.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.models.arrays import Arrays, Floats, integers, mismatch

MAX_MISSING = 0.40
"""An instrument with a larger share of missing features is not scored: its rank would be mostly invented."""


class Preprocess(IntEnum):
    """What a model does to a cross-section before it reads it; the number is stored in the arrays."""

    NONE = 0
    CROSS_SECTIONAL_RANK = 1


def preprocess_from(arrays: Arrays) -> Preprocess:
    """Read the stored setting; an unknown number means a newer format."""
    code = int(integers(arrays, "preprocess", 1)[0])
    if code not in tuple(Preprocess):
        message = f"model was trained with unknown preprocessing {code}"
        raise mismatch(message)
    return Preprocess(code)


def preprocess_array(setting: Preprocess) -> NDArray[np.int64]:
    """Return the setting as the array stored with the model."""
    return np.array([int(setting)], dtype=np.int64)


def cross_sectional_ranks(values: Floats, groups: NDArray[np.int64]) -> Floats:
    """Rank each value within its group and spread the ranks over [-0.5, 0.5].

    Parameters
    ----------
    values : float64 (n,); non-finite = missing.
    groups : int64 (n,), the cross-section (session) of each value.

    Returns
    -------
    float64 (n,): -0.5 = lowest, 0.5 = highest, ties get their average, a group of one gets 0, missing stays NaN.
    """
    result = np.full(values.shape, np.nan)
    rows = np.flatnonzero(np.isfinite(values))
    if rows.size == 0:
        return result
    rows = rows[np.lexsort((values[rows], groups[rows]))]
    sorted_values, sorted_groups = values[rows], groups[rows]
    new_group = np.r_[True, sorted_groups[1:] != sorted_groups[:-1]]
    new_tie = new_group | np.r_[True, sorted_values[1:] != sorted_values[:-1]]
    group_start, group_size = _runs(new_group)
    tie_start, tie_size = _runs(new_tie)
    average = (tie_start - group_start) + (tie_size - 1) / 2.0
    spread = np.maximum(group_size - 1, 1)
    result[rows] = np.where(group_size > 1, average / spread - 0.5, 0.0)
    return result


def standardised(
    features: Floats, mask: NDArray[np.bool_], groups: NDArray[np.int64], setting: Preprocess
) -> tuple[Floats, NDArray[np.bool_]]:
    """Preprocess rows of one or several cross-sections.

    Parameters
    ----------
    features : float64 (n, k); NaN = missing.
    mask : bool (n,), the instruments in play; others neither rank nor count.
    groups : int64 (n,), the cross-section of each row.
    setting : what to do; ``NONE`` returns the features as they are.

    Returns
    -------
    (float64 (n, k), bool (n,)): the matrix the model reads, and which rows may be scored.
    """
    if setting is Preprocess.NONE:
        return features, mask
    missing = ~np.isfinite(features)
    scored = mask & (missing.mean(axis=1) <= MAX_MISSING)
    ranked = np.zeros(features.shape)
    for column in range(features.shape[1]):
        masked = np.where(scored, features[:, column], np.nan)
        ranks = cross_sectional_ranks(masked, groups)
        ranked[:, column] = np.where(np.isnan(ranks), 0.0, ranks)
    return ranked, scored


def checked_input(features: Floats, mask: NDArray[np.bool_], n_columns: int) -> None:
    """Refuse a matrix that does not have the model's columns: silently reordered features would trade."""
    if features.dtype != np.float64 or features.ndim != 2 or features.shape[1] != n_columns:
        message = f"features are {features.dtype} {features.shape}, the model reads float64 (n, {n_columns})"
        raise mismatch(message)
    if mask.dtype != np.bool_ or mask.shape != features.shape[:1]:
        message = f"mask is {mask.dtype} {mask.shape}, expected bool {features.shape[:1]}"
        raise mismatch(message)


def _runs(starts: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First position and length of the run each element belongs to."""
    first = np.flatnonzero(starts)
    lengths = np.diff(np.r_[first, starts.size])
    return np.repeat(first, lengths), np.repeat(lengths, lengths)
