import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from hedgefund_core.quant.models.preprocess import Preprocess, cross_sectional_ranks, standardised

VALUES = st.lists(st.sampled_from([-2.0, -1.0, -0.0, 0.0, 0.5, 3.0, np.nan, np.inf]), min_size=1, max_size=30)


@given(VALUES, VALUES)
def test_ranks_of_each_group_are_scipys_spread_over_one(first, second):
    values = np.array(first + second)
    groups = np.array([0] * len(first) + [1] * len(second))
    ranked = cross_sectional_ranks(values, groups)
    for group in (0, 1):
        own, got = values[groups == group], ranked[groups == group]
        good = np.isfinite(own)
        assert np.isnan(got[~good]).all()
        if good.sum() > 1:
            expected = (rankdata(own[good]) - 1) / (good.sum() - 1) - 0.5
            np.testing.assert_allclose(got[good], expected, atol=1e-15)
        elif good.any():
            assert got[good] == 0.0


@given(VALUES, st.randoms(use_true_random=False))
def test_the_order_of_names_does_not_change_a_rank(values, random):
    order = list(range(len(values)))
    random.shuffle(order)
    array, groups = np.array(values), np.zeros(len(values), dtype=np.int64)
    assert cross_sectional_ranks(array[order], groups).tobytes() == cross_sectional_ranks(array, groups)[order].tobytes()


def test_missing_features_become_average_and_mostly_missing_names_are_not_scored():
    features = np.array([[1.0, 2, 3, 4, 5], [2, np.nan, np.nan, 1, 1], [3, np.nan, np.nan, np.nan, 0], [4, 1, 1, 1, 1]])
    ready, scored = standardised(features, np.ones(4, dtype=bool), np.zeros(4, dtype=np.int64), Preprocess.CROSS_SECTIONAL_RANK)
    assert scored.tolist() == [True, True, False, True]  # 40 % missing is still scored, 60 % is not
    assert ready[:, 0].tolist() == [-0.5, 0.0, 0.0, 0.5]  # the name that is not scored takes no rank
    assert ready[1, 1] == 0.0


def test_no_preprocessing_leaves_features_alone():
    features = np.array([[np.nan, 1.0]])
    ready, scored = standardised(features, np.ones(1, dtype=bool), np.zeros(1, dtype=np.int64), Preprocess.NONE)
    assert ready is features
    assert scored.all()
