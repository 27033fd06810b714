import math

import numpy as np
import pytest
from scipy import stats

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.drift import column_drift, kolmogorov_smirnov, population_stability_index

GENERATOR = np.random.default_rng(1)
REFERENCE = GENERATOR.normal(size=2000)


@pytest.mark.parametrize("recent", [GENERATOR.normal(size=500), GENERATOR.normal(0.3, size=500), GENERATOR.normal(0, 2, size=90)])
def test_kolmogorov_smirnov_equals_scipy(recent):
    statistic, probability = kolmogorov_smirnov(REFERENCE, recent)
    expected = stats.ks_2samp(REFERENCE, recent)
    assert statistic == pytest.approx(expected.statistic, abs=1e-12)
    assert probability == pytest.approx(expected.pvalue, abs=0.02)


def test_stability_index_by_hand():
    old, new = np.repeat([0.0, 1.0], [50, 50]), np.repeat([0.0, 1.0], [25, 75])
    expected = (0.25 - 0.5) * math.log(0.25 / 0.5) + (0.75 - 0.5) * math.log(0.75 / 0.5)
    assert population_stability_index(old, new, bins=2) == pytest.approx(expected)


def test_status_follows_the_size_of_the_change():
    recent = np.column_stack([GENERATOR.normal(size=800), GENERATOR.normal(0.42, size=800), GENERATOR.normal(1.5, size=800)])
    found = column_drift(np.column_stack([REFERENCE] * 3), recent, ("same", "moved", "gone"))
    assert [found[name].status for name in ("same", "moved", "gone")] == ["stable", "moderate", "drifted"]
    assert found["same"].ks_probability > 0.01 > found["gone"].ks_probability
    assert found["gone"].recent_count == 800


def test_a_value_never_seen_before_is_a_finite_drift():
    assert 0.25 < population_stability_index(REFERENCE, np.full(100, 50.0)) < math.inf


def test_too_few_values_are_unknown_and_missing_ones_left_out():
    few = np.r_[np.ones(10), np.full(500, np.nan)]
    found = column_drift(REFERENCE[:, None], few[:, None], ("x",))["x"]
    assert found.status == "unknown"
    assert math.isnan(found.stability_index)
    assert math.isnan(found.ks_statistic)
    assert found.recent_count == 10


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataInvalid):
        column_drift(np.zeros((30, 2)), np.zeros((30, 2)), ("one",))
    with pytest.raises(DataInvalid):
        population_stability_index(REFERENCE, REFERENCE, bins=1)
