import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgefund_core.errors import ConfigError, DataInvalid
from hedgefund_core.quant.splits import WalkForward, walk_forward

PLANS = st.builds(
    WalkForward,
    test_sessions=st.integers(1, 300),
    min_train_sessions=st.integers(1, 800),
    embargo_sessions=st.integers(0, 30),
    window_sessions=st.none() | st.integers(1, 600),
    max_folds=st.integers(1, 25),
    anchor=st.none() | st.integers(0, 400).map(lambda days: np.datetime64("2000-01-01") + days),
)


def axes(n_sessions, horizon):
    return np.datetime64("2000-01-01") + np.arange(n_sessions), np.arange(n_sessions) + 1 + horizon


@given(plan=PLANS, n_sessions=st.integers(1, 2500), horizon=st.integers(1, 40))
def test_no_training_label_reaches_the_embargo_or_the_test(plan, n_sessions, horizon):
    sessions, label_end = axes(n_sessions, horizon)
    folds = walk_forward(sessions, label_end, plan)
    assert len(folds) <= plan.max_folds
    for fold in folds:
        assert fold.train_start < fold.train_stop <= fold.test_start < fold.test_stop <= n_sessions
        ends = label_end[fold.train]
        assert (ends + plan.embargo_sessions < fold.test_start).all()
        assert not (set(range(fold.train_start + 1, int(ends.max()) + 1)) & set(range(n_sessions)[fold.test]))
        if plan.window_sessions is not None:
            assert fold.train_stop - fold.train_start <= plan.window_sessions
        if plan.anchor is not None:
            assert sessions[fold.train_start] >= plan.anchor


@given(plan=PLANS, n_sessions=st.integers(1, 2500), horizon=st.integers(1, 40))
def test_tests_follow_each_other_without_gap_or_overlap(plan, n_sessions, horizon):
    folds = walk_forward(*axes(n_sessions, horizon), plan)
    for older, newer in zip(folds, folds[1:], strict=False):  # noqa: RUF007
        assert older.test_stop == newer.test_start
        assert older.complete
        assert newer.number == older.number + 1
        assert older.test_stop - older.test_start == plan.test_sessions
    if folds:
        assert folds[-1].test_stop == n_sessions


@given(plan=PLANS, n_sessions=st.integers(1, 1500), appended=st.integers(0, 900), horizon=st.integers(1, 40))
def test_appending_data_moves_no_fold(plan, n_sessions, appended, horizon):
    before = {fold.number: fold for fold in walk_forward(*axes(n_sessions, horizon), plan)}
    after = {fold.number: fold for fold in walk_forward(*axes(n_sessions + appended, horizon), plan)}
    for number in before.keys() & after.keys():
        old, new = before[number], after[number]
        assert (old.train_start, old.train_stop, old.test_start) == (new.train_start, new.train_stop, new.test_start)
        assert not old.complete or old == new


def test_an_anchor_keeps_the_grid_when_older_data_are_added():
    sessions, label_end = axes(1000, 5)
    plan = WalkForward(test_sessions=100, min_train_sessions=200, anchor=sessions[100])
    whole = walk_forward(sessions, label_end, plan)
    part = walk_forward(sessions[60:], label_end[:-60], plan)
    assert [sessions[fold.test_start] for fold in whole] == [sessions[60:][fold.test_start] for fold in part]


@pytest.mark.parametrize("setting", [{"test_sessions": 0}, {"embargo_sessions": -1}, {"window_sessions": 0}, {"max_folds": 0}])
def test_lengths_that_make_no_folds_are_refused(setting):
    with pytest.raises(ConfigError):
        WalkForward(**setting)


def test_labels_that_do_not_fit_are_refused():
    sessions, label_end = axes(100, 5)
    with pytest.raises(DataInvalid):
        walk_forward(sessions, label_end[:-1], WalkForward())
    with pytest.raises(DataInvalid):
        walk_forward(sessions, label_end[::-1], WalkForward())
