"""From a measured value and its limit to a rule's result. NaN on either side is not evaluable, never a pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.risk.rule import Bools, Floats, RuleResult

TOLERANCE = 1e-9
"""Relative: the rules read float views of Decimals (contracts: Decision kernel)."""

_Values = Floats | NDArray[np.int64] | float


def at_most(n: int, measured: _Values, limit: _Values, reason: str, *, slack: _Values = 0.0) -> RuleResult:
    """Allow where ``measured`` does not exceed ``limit`` (plus an absolute ``slack``)."""
    measures, limits = columns(n, measured, limit)
    bound = limit if isinstance(limit, float) else limits
    return RuleResult(
        allowed=measures <= bound + np.abs(bound) * TOLERANCE + slack,
        evaluable=np.isfinite(measures) & np.isfinite(bound),
        measured=measures,
        limit=limits,
        reason=reason,
    )


def not_worse(n: int, measured: _Values, before: Floats, limit: _Values, reason: str) -> RuleResult:
    """Allow where ``measured`` is within ``limit``, or the order does not raise it: it is not the cause of the excess."""
    found = at_most(n, measured, limit, reason)
    unchanged = found.measured <= before + np.abs(before) * TOLERANCE
    return RuleResult(
        allowed=found.allowed | unchanged, evaluable=found.evaluable, measured=found.measured, limit=found.limit, reason=reason
    )


def at_least(n: int, measured: _Values, limit: _Values, reason: str) -> RuleResult:
    """Allow where ``measured`` reaches ``limit``."""
    measures, limits = columns(n, measured, limit)
    return RuleResult(
        allowed=measures >= limits - np.abs(limits) * TOLERANCE,
        evaluable=np.isfinite(measures) & np.isfinite(limits),
        measured=measures,
        limit=limits,
        reason=reason,
    )


def none_of(faults: Bools, reason: str) -> RuleResult:
    """Allow where there is no fault; measured is 1 or 0, the limit 0."""
    return at_most(len(faults), faults.astype(np.float64), 0.0, reason)


def not_applicable(n: int, limit: float, reason: str) -> RuleResult:
    """Allow everywhere: the decision has nothing of the kind that the rule judges."""
    yes = np.ones(n, dtype=np.bool_)
    return RuleResult(allowed=yes, evaluable=yes, measured=np.full(n, np.nan), limit=np.full(n, limit), reason=reason)


def columns(n: int, measured: _Values, limit: _Values) -> tuple[Floats, Floats]:
    """Both as float64 (n,)."""
    return _column(n, measured), _column(n, limit)


def _column(n: int, values: _Values) -> Floats:
    column = np.asarray(values, dtype=np.float64)
    return column if column.ndim else np.full(n, column)
