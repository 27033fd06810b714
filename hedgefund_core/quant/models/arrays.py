"""Strict checks of the arrays a model is loaded from: a bundle is data from outside until it passed them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import ModelMismatch

Arrays = Mapping[str, NDArray[np.generic]]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MEND = "train and promote the model again; the last good bundle stays in use"


def mismatch(message: str) -> ModelMismatch:
    """Build the error of a model that does not fit its contract."""
    return ModelMismatch(message, mend=_MEND)


def require_keys(arrays: Arrays, expected: tuple[str, ...]) -> None:
    """Refuse missing and unknown keys: an array nobody reads hides a format change."""
    missing, unknown = sorted(set(expected) - set(arrays)), sorted(set(arrays) - set(expected))
    if missing or unknown:
        message = f"model arrays differ from the format: missing {missing}, unknown {unknown}"
        raise mismatch(message)


def floats(arrays: Arrays, name: str, length: int | None = None) -> Floats:
    """Return a finite float64 vector of the stated length, copied and read-only."""
    values = _vector(arrays, name, np.dtype(np.float64), length)
    if not bool(np.all(np.isfinite(values))):
        message = f"model array {name!r} has values that are not finite"
        raise mismatch(message)
    return np.asarray(values, dtype=np.float64)


def integers(arrays: Arrays, name: str, length: int | None = None) -> Ints:
    """Return an int64 vector of the stated length, copied and read-only."""
    return np.asarray(_vector(arrays, name, np.dtype(np.int64), length), dtype=np.int64)


def frozen(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Copy an array and make it read-only, so that a model cannot change after its digest was checked."""
    copy = np.array(values)
    copy.setflags(write=False)
    return copy


def _vector(arrays: Arrays, name: str, dtype: np.dtype[np.generic], length: int | None) -> NDArray[np.generic]:
    values = arrays[name]
    if values.dtype != dtype:
        message = f"model array {name!r} has dtype {values.dtype}, expected {dtype}"
        raise mismatch(message)
    if values.ndim != 1 or (length is not None and values.shape[0] != length):
        message = f"model array {name!r} has shape {values.shape}, expected ({'any' if length is None else length},)"
        raise mismatch(message)
    return frozen(values)
