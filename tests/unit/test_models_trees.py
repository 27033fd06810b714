import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingRegressor

from hedgefund_core.errors import ModelMismatch
from hedgefund_core.quant.models.hist_gradient_boosting import exported_trees
from hedgefund_core.quant.models.model import load_model
from hedgefund_core.quant.models.preprocess import Preprocess

COLUMNS = ("a", "b", "c", "d")


def regressor(seed, *, missing=0.1, **params):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(1500, 4))
    features[generator.random(features.shape) < missing] = np.nan
    targets = np.nan_to_num(features[:, 0]) * np.nan_to_num(features[:, 1]) + generator.normal(size=1500)
    targets[np.isnan(features[:, 2])] += 3.0  # a split on "missing or not" has no finite threshold
    settings_ = {"max_iter": 40, "early_stopping": False, "random_state": seed, **params}
    return HistGradientBoostingRegressor(**settings_).fit(features, targets)


@pytest.mark.parametrize("params", [{}, {"max_leaf_nodes": 3}, {"max_leaf_nodes": 63, "min_samples_leaf": 2}, {"max_depth": 1}])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_predictions_equal_scikit_learn_bit_for_bit(params, missing):
    fitted = regressor(3, missing=missing, **params)
    ours = exported_trees(fitted, COLUMNS, Preprocess.NONE)
    generator = np.random.default_rng(4)
    features = generator.normal(size=(5000, 4)) * 2
    features[generator.random(features.shape) < 0.15] = np.nan
    features[:50] = np.round(features[:50], 1)
    assert ours.predict(features).tobytes() == fitted.predict(features).tobytes()


def test_values_on_a_threshold_go_where_scikit_learn_sends_them():
    fitted = regressor(5)
    ours = exported_trees(fitted, COLUMNS, Preprocess.NONE)
    inner = ours.left != np.arange(ours.left.size)
    thresholds = ours.threshold[inner]
    features = np.repeat(thresholds[np.abs(thresholds) < 1e6][:, None], 4, axis=1)
    assert ours.predict(features).tobytes() == fitted.predict(features).tobytes()


FITTED = {}


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.lists(st.floats(allow_infinity=False, width=32), min_size=4, max_size=4), min_size=1, max_size=8))
def test_any_finite_or_missing_row_agrees(rows):
    fitted = FITTED.setdefault("one", regressor(6, max_iter=10))
    features = np.array(rows, dtype=np.float64)
    assert exported_trees(fitted, COLUMNS, Preprocess.NONE).predict(features).tobytes() == fitted.predict(features).tobytes()


def test_rows_in_chunks_have_the_same_bits(monkeypatch):
    ours = exported_trees(regressor(7), COLUMNS, Preprocess.NONE)
    features = np.random.default_rng(8).normal(size=(101, 4))
    whole = ours.predict(features)
    monkeypatch.setattr("hedgefund_core.quant.models.trees._CELLS_AT_ONCE", 400)
    assert ours.predict(features).tobytes() == whole.tobytes()
    assert ours.predict(features[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("name", "change"),
    [("left", 0), ("right", 10**6), ("left", -1), ("feature", 4), ("feature", -1), ("missing_left", 2), ("roots", 10**6), ("roots", -1)],
)
def test_broken_tables_cannot_loop_or_read_elsewhere(name, change):
    arrays = {key: array.copy() for key, array in exported_trees(regressor(9, max_iter=3), COLUMNS, Preprocess.NONE).to_arrays().items()}
    position = (
        0 if name in {"roots", "feature", "missing_left"} else int(np.flatnonzero(arrays["left"] != np.arange(arrays["left"].size))[-1])
    )
    arrays[name][position] = change
    with pytest.raises(ModelMismatch, match="tree tables"):
        load_model("trees", arrays, COLUMNS)


def test_no_tree_is_refused():
    arrays = exported_trees(regressor(9, max_iter=3), COLUMNS, Preprocess.NONE).to_arrays()
    with pytest.raises(ModelMismatch, match="no tree"):
        load_model("trees", {**arrays, "roots": np.empty(0, dtype=np.int64)}, COLUMNS)
