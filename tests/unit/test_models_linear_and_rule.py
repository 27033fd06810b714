import numpy as np
import pytest

from hedgefund_core.errors import ConfigError, ModelMismatch
from hedgefund_core.quant.models import MODELS, load_model, single_feature_rule
from hedgefund_core.quant.models.linear import LinearModel
from hedgefund_core.quant.models.preprocess import Preprocess
from hedgefund_core.quant.models.ridge import fit_ridge
from hedgefund_core.quant.models.training import training_sample


def test_a_rule_on_one_column_is_that_column():
    rule = single_feature_rule("momentum_12_1")
    features = np.array([[0.3], [np.nan], [-0.1], [0.2]])
    scores = rule.score(features, np.array([True, True, True, False]))
    np.testing.assert_array_equal(scores, [0.3, np.nan, -0.1, np.nan])


def test_a_column_without_weight_may_be_missing():
    arrays = {"weights": np.array([0.0, 2.0]), "preprocess": np.array([0])}
    rule = load_model("rule", arrays, ("a", "b"))
    np.testing.assert_array_equal(rule.score(np.array([[np.nan, 1.5]]), np.ones(1, dtype=bool)), [3.0])


def test_a_rule_of_nothing_is_refused():
    with pytest.raises(ModelMismatch, match="weight"):
        load_model("rule", {"weights": np.zeros(1), "preprocess": np.array([0])}, ("a",))


def test_a_rule_needs_its_feature():
    spec = MODELS["momentum_12_1"]
    with pytest.raises(ConfigError, match="momentum_12_1"):
        spec.trainer(np.zeros((1, 1)), np.zeros(1), np.zeros(1, dtype=np.int64), columns=("x",), params=spec.params, seed=1)


@pytest.mark.parametrize(("kind", "columns"), [("pickle", ("a",)), ("rule", ()), ("rule", ("a", "a"))])
def test_unknown_kinds_and_unclear_columns_are_refused(kind, columns):
    with pytest.raises(ModelMismatch):
        load_model(kind, {"weights": np.ones(len(columns)), "preprocess": np.array([0])}, columns)


def test_linear_scores_do_not_depend_on_the_batch():
    generator = np.random.default_rng(1)
    columns = tuple(f"f{k}" for k in range(17))
    model = LinearModel(columns=columns, coefficients=generator.normal(size=17), intercept=0.1, preprocess=Preprocess.NONE)
    features = generator.normal(size=(513, 17))
    whole = model.score(features, np.ones(513, dtype=bool))
    for size in (1, 3, 8, 100):
        assert model.score(features[:size], np.ones(size, dtype=bool)).tobytes() == whole[:size].tobytes()
    np.testing.assert_allclose(whole, features @ model.coefficients + 0.1, rtol=1e-12)


def test_ridge_solves_the_normal_equations():
    generator = np.random.default_rng(2)
    features, labels = generator.normal(size=(400, 3)), generator.normal(size=400)
    sessions, columns = np.repeat(np.arange(40), 10), ("a", "b", "c")
    model = fit_ridge(features, labels, sessions, columns=columns, params={"alpha": 5.0}, seed=1)
    ready, targets = training_sample(features, labels, sessions)
    centred = ready - ready.mean(axis=0)
    expected = np.linalg.solve(centred.T @ centred + 5.0 * np.eye(3), centred.T @ (targets - targets.mean()))
    np.testing.assert_allclose(model.coefficients, expected, rtol=1e-9)


def test_one_outlier_outcome_does_not_move_the_fit():
    generator = np.random.default_rng(3)
    features, labels = generator.normal(size=(400, 2)), generator.normal(size=400)
    sessions = np.repeat(np.arange(40), 10)
    wild = labels.copy()
    wild[labels.argmax()] = 1e9
    fits = [fit_ridge(features, y, sessions, columns=("a", "b"), params={"alpha": 1.0}, seed=1) for y in (labels, wild)]
    np.testing.assert_array_equal(fits[0].coefficients, fits[1].coefficients)
