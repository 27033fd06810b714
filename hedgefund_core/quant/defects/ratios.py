"""Ratios that share splits have."""

from __future__ import annotations

import math

SPLITS = (2.0, 3.0, 1.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 30.0, 50.0, 100.0)
"""New for old of real splits; their inverses are reverse splits, and 100 is also cents for dollars."""
TOLERANCE = 0.03
"""What a quiet night adds."""


def simple_ratio(log_move: float) -> str:
    """``1/2``, ``3`` ... if a log move is within 3 % of a split's ratio, else an empty text."""
    for ratio in SPLITS:
        if abs(abs(log_move) - math.log(ratio)) <= TOLERANCE:
            shown = f"{ratio:g}"
            return shown if log_move > 0 else ("2/3" if ratio == 1.5 else f"1/{shown}")
    return ""
