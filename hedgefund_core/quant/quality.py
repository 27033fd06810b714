"""Quality of a table or a partition in one number: what passed, what is there, how soon it came."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hedgefund_core.quant.bars import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Shares between 0 and 1.

    Attributes
    ----------
    passing : rows not held back, of those that came.
    completeness : cells filled, of those that could be.
    timeliness : rows known in time, of those that came.
    score : their product: one bad share is enough for a bad table.
    rows : rows judged.
    """

    passing: float
    completeness: float
    timeliness: float
    score: float
    rows: int


def quality_of(
    rows: int, *, held: int = 0, cells_present: int | None = None, cells_expected: int | None = None, late: int | None = None
) -> Quality:
    """Quality from counts; a count that is not known takes nothing off.

    Parameters
    ----------
    rows : rows that came.
    held : rows that broke a rule and wait in quarantine.
    cells_present, cells_expected : bars (or values) there and those the calendar and the fields ask for.
    late : rows known later than their limit.
    """
    passing = _share(rows - held, rows)
    completeness = 1.0 if cells_expected is None or cells_present is None else _share(cells_present, cells_expected)
    timeliness = 1.0 if late is None else _share(rows - late, rows)
    return Quality(passing=passing, completeness=completeness, timeliness=timeliness, score=passing * completeness * timeliness, rows=rows)


def quality_by_partition(partition: NDArray[np.str_], held: NDArray[np.bool_], filled: Floats) -> dict[str, Quality]:
    """Quality of each partition of a table.

    Parameters
    ----------
    partition : name of the partition of each row (a year, a day).
    held : whether the row is held back.
    filled : share of the row's fields that are there.

    Returns
    -------
    Partition to quality, in the order of the names; timeliness is not judged.
    """
    names, place = np.unique(partition, return_inverse=True)
    rows, bad = np.bincount(place, minlength=len(names)), np.bincount(place, weights=held, minlength=len(names))
    full = np.bincount(place, weights=filled, minlength=len(names)) / np.maximum(rows, 1)
    return {
        str(name): Quality(
            passing=_share(rows[i] - bad[i], rows[i]),
            completeness=float(full[i]),
            timeliness=1.0,
            score=_share(rows[i] - bad[i], rows[i]) * float(full[i]),
            rows=int(rows[i]),
        )
        for i, name in enumerate(names)
    }


def _share(part: float, whole: float) -> float:
    """Part of the whole within 0 and 1; of nothing, all is well."""
    return float(min(max(part / whole, 0.0), 1.0)) if whole > 0 else 1.0
