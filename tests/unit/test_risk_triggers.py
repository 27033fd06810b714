from __future__ import annotations

import itertools
import math

import pytest

from hedgefund_core.risk.limits import drawdown_multiplier
from hedgefund_core.risk.triggers import triggers
from tests.builders import mandate

NEUTRAL = mandate()
DAILY = 0.08 / math.sqrt(252)


def fired(day_return, expected=DAILY, drawdown=0.0):
    return [(trigger.name, trigger.level_name, trigger.scope) for trigger in triggers(day_return, expected, drawdown, NEUTRAL, 252.0)]


REDUCE = ("intraday_loss", "REDUCING", "session")
FLATTEN = ("intraday_loss", "FLATTENING", "account")
DRAWDOWN = ("drawdown", "FLATTENING", "account")


@pytest.mark.parametrize(
    ("sigmas", "expected"), [(0.0, []), (5.0, []), (-2.4, []), (-2.6, [REDUCE]), (-3.9, [REDUCE]), (-4.1, [REDUCE, FLATTEN])]
)
def test_a_day_is_measured_in_the_books_own_sigmas(sigmas, expected):
    assert fired(sigmas * DAILY) == expected
    assert fired(sigmas * DAILY / 2, expected=DAILY / 2) == expected


def test_a_nearly_flat_book_does_not_trip_on_its_commission():
    assert fired(-0.0005, expected=1e-9) == []
    assert fired(-0.0005, expected=float("nan")) == []
    assert fired(-2.6 * DAILY / 4, expected=0.0) == [REDUCE]


@pytest.mark.parametrize(("drawdown", "expected"), [(0.0, []), (0.0899, []), (0.09, [DRAWDOWN]), (0.5, [DRAWDOWN])])
def test_drawdown_flattens_the_account(drawdown, expected):
    assert fired(0.0, drawdown=drawdown) == expected


def test_an_account_that_cannot_be_marked_is_flattened():
    assert fired(float("nan")) == [FLATTEN]
    assert fired(0.0, drawdown=float("nan")) == [DRAWDOWN]


def test_a_trigger_shows_what_it_measured_and_against_what():
    (trigger,) = triggers(-3 * DAILY, DAILY, 0.0, NEUTRAL, 252.0)
    assert trigger.measured == pytest.approx(3.0)
    assert trigger.limit == NEUTRAL.limits.intraday_loss_reduce_sigmas


def test_the_drawdown_multiplier_is_continuous_and_falls():
    limits = NEUTRAL.limits
    scales = [drawdown_multiplier(step / 1000, limits) for step in range(120)]
    assert scales[20] == 1.0
    assert scales[80] == scales[119] == pytest.approx(0.25)
    assert all(0.0 <= a - b <= 0.0126 for a, b in itertools.pairwise(scales))
