"""A measured number with its interval: no ratio is shown without knowing how little it may mean."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.errors import DataInvalid

Floats = NDArray[np.float64]
NORMAL = NormalDist()
Z_95 = NORMAL.inv_cdf(0.975)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One figure of a report.

    Attributes
    ----------
    value : the estimate; NaN where it is not defined (for example no loss to divide by).
    low, high : two-sided 95 % interval, or None where none is known.
    n : number of observations behind it.
    unit : "ratio" | "fraction" | "fraction/year" | "probability" | "count" | "statistic".
    definition : one line that says what was computed, with the source.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int
    unit: str
    definition: str


def clean(values: Floats, *, name: str = "returns", minimum: int = 2) -> Floats:
    """Return float64 (n,) checked: one-dimensional, finite, long enough.

    Raises
    ------
    DataInvalid : a value is not finite (a gap must be decided on by the caller, never skipped here), or too few.
    """
    checked = np.asarray(values, dtype=np.float64)
    if checked.ndim != 1 or checked.size < minimum:
        message = f"{name} have shape {checked.shape}; a vector of at least {minimum} is needed"
        raise DataInvalid(message, mend="measure over a longer period")
    if not bool(np.all(np.isfinite(checked))):
        message = f"{name} contain values that are not finite"
        raise DataInvalid(message, mend="find the session without a price: executor doctor")
    return checked


def paired(first: Floats, second: Floats, *, minimum: int = 3) -> tuple[Floats, Floats]:
    """Return two checked series of the same length."""
    left, right = clean(first, minimum=minimum), clean(second, name="benchmark returns", minimum=minimum)
    if left.size != right.size:
        message = f"series differ in length: {left.size} and {right.size}"
        raise DataInvalid(message, mend="align both on the same sessions")
    return left, right
