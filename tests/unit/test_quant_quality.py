"""The quality score: one bad share is enough, and what is not known takes nothing off."""

from __future__ import annotations

import numpy as np
import pytest

from hedgefund_core.quant.quality import quality_by_partition, quality_of


def test_the_score_is_the_product_of_what_passed_what_is_there_and_what_was_in_time():
    found = quality_of(200, held=20, cells_present=80, cells_expected=100, late=100)
    assert (found.passing, found.completeness, found.timeliness) == (0.9, 0.8, 0.5)
    assert found.score == pytest.approx(0.36)
    assert found.rows == 200


def test_what_is_not_known_takes_nothing_off_and_nothing_is_never_below_zero():
    assert quality_of(10).score == 1.0
    assert quality_of(0).score == 1.0
    assert quality_of(3, held=5).score == 0.0
    assert quality_of(3, cells_present=9, cells_expected=3).completeness == 1.0


def test_each_partition_has_its_own_quality():
    partition = np.array(["2014", "2013", "2014", "2014", "2014"])
    held = np.array([True, False, False, False, False])
    found = quality_by_partition(partition, held, np.array([1.0, 0.5, 1.0, 1.0, 1.0]))
    assert list(found) == ["2013", "2014"]
    assert found["2013"].score == 0.5
    assert found["2014"].passing == 0.75
    assert found["2014"].rows == 4
