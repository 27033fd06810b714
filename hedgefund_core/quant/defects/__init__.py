"""Detectors for what schemas cannot see: registry, and the two ways to run them."""

from __future__ import annotations

from dataclasses import replace

from hedgefund_core.quant.bars import Panel
from hedgefund_core.quant.defects import absent, actions, closes, copies, gaps, level, reuse, shape, volume
from hedgefund_core.quant.defects.defect import Defect, Detector, Severity
from hedgefund_core.quant.defects.grid import Grid

__all__ = ["CLOSE_DETECTORS", "DETECTORS", "RING_ROWS", "Defect", "Detector", "Severity", "find_defects", "live_findings"]

DETECTORS: tuple[Detector, ...] = (
    copies.DETECTOR,
    absent.DETECTOR,
    gaps.DETECTOR,
    volume.ZERO,
    volume.THIN,
    volume.UNIT,
    shape.OPEN,
    shape.RANGE,
    shape.WICKS,
    level.DETECTOR,
    actions.DETECTOR,
    reuse.DETECTOR,
    closes.SPIKE,
    closes.STALE,
)
CLOSE_DETECTORS = (closes.SPIKE, closes.STALE)
"""What can be said of a source that has closes only."""

RING_ROWS = max(detector.look_back + detector.look_ahead for detector in DETECTORS)
"""So many earlier rows make the live findings equal to those of the whole history."""

DEPTHS = (16, 120, RING_ROWS)
"""Live rules are run on one of three lengths of the ring: most need few rows."""


def find_defects(panel: Panel, *, since: int = 0, detectors: tuple[Detector, ...] = DETECTORS) -> list[Defect]:
    """All defects revealed by rows ``since`` and later, in order of row, column and rule.

    Parameters
    ----------
    panel : bars, float64 (n_sessions, n_symbols); NaN = no bar. Detectors whose fields are absent find nothing.
    since : session position; findings whose ``known_row`` is earlier are left out.
    detectors : the rules to apply.

    Returns
    -------
    Findings; a row may have several. A finding rests on rows up to its ``known_row`` only.
    """
    if 0 in panel.shape:
        return []
    grid = Grid(panel)
    return sorted(item for detector in detectors for item in detector.find(grid, since))


def live_findings(ring: Panel, newest: Panel, *, detectors: tuple[Detector, ...] = DETECTORS) -> list[Defect]:
    """What the newest row reveals: the findings ``find_defects`` gives on the whole history with this ``known_row``.

    Parameters
    ----------
    ring : at least the last ``RING_ROWS`` rows (fewer only where the history is shorter).
    newest : one row, later than the ring.

    Returns
    -------
    Findings at the newest row by detectors that need no later rows, and at earlier rows by those that waited for this one
    (``look_ahead`` > 0: an isolated level, a distribution, a copied bar's early half). Row numbers count in the ring.
    """
    joined = ring.extend(replace(newest, source=ring.source))
    last = joined.shape[0] - 1
    found: list[Defect] = []
    for rows in sorted({_depth(detector) for detector in detectors}):  # most rules need a quarter of the ring
        start = max(0, last - rows)
        chosen = tuple(detector for detector in detectors if _depth(detector) == rows)
        near = find_defects(joined.rows(start, last + 1), since=last - start, detectors=chosen)
        found.extend(replace(item, row=item.row + start, known_row=item.known_row + start) for item in near)
    return sorted(found)


def _depth(detector: Detector) -> int:
    """Rows before the newest one a detector is given."""
    return next(rows for rows in DEPTHS if rows >= detector.look_back + detector.look_ahead)
