from dataclasses import dataclass, replace

import numpy as np
import pytest

from hedgefund_core.errors import DataInvalid, InvariantViolation
from hedgefund_core.quant.models import MODELS
from hedgefund_core.quant.models.walk_forward import Research, fit_rows, walk_forward
from hedgefund_core.quant.splits import WalkForward
from hedgefund_core.quant.splits import walk_forward as splits_walk_forward

N, M, HORIZON = 400, 12, 5


@dataclass(frozen=True)
class Step:
    fold_id: str
    train: np.ndarray
    test: np.ndarray


def research(n=N, skill=0.3):
    generator = np.random.default_rng(5)
    values = generator.normal(size=(N, M, 3))[:n]
    labels = (skill * values[:, :, 0] + generator.normal(size=(N, M))[:n]).copy()
    labels[-HORIZON:] = np.nan
    return Research(
        values=values,
        mask=np.ones((n, M), dtype=bool),
        labels=labels,
        label_end=np.arange(n) + HORIZON,
        columns=("momentum_12_1", "b", "c"),
        train_rows=np.arange(n) % 5 == 0,
        overlap=HORIZON - 1,
    )


def steps(n=N):
    return [Step(f"from-{a}", np.arange(a - HORIZON), np.arange(a, min(a + 50, n))) for a in range(200, n, 50)]


@pytest.mark.parametrize("name", MODELS)
def test_scores_are_out_of_sample_only_and_find_the_planted_signal(name):
    result = walk_forward(research(), steps(), MODELS[name], MODELS[name].params, seed=1)
    assert np.isnan(result.scores[:200]).all()
    assert np.isfinite(result.scores[200:]).all()
    assert result.information_coefficient.low > 0
    assert set(result.fold_ics) == set(result.models) == {"from-200", "from-250", "from-300", "from-350"}


def test_the_future_changes_no_earlier_score():
    spec, data = MODELS["ridge"], research()
    before = walk_forward(data, steps(), spec, spec.params, seed=1).scores
    values, labels = data.values.copy(), data.labels.copy()
    values[300:] = 7.0
    labels[300 - HORIZON :] = -labels[300 - HORIZON :]
    after = walk_forward(replace(data, values=values, labels=labels), steps(), spec, spec.params, seed=1).scores
    assert before[:300].tobytes() == after[:300].tobytes()


def test_known_folds_are_taken_and_only_new_ones_fitted():
    spec = MODELS["hist_gradient_boosting"]
    early = walk_forward(research(350), steps(350), spec, spec.params, seed=1)
    later = walk_forward(research(), steps(), spec, spec.params, seed=1, known=early.fold_scores)
    assert set(later.models) == {"from-350"}
    anew = walk_forward(research(), steps(), spec, spec.params, seed=1)
    assert later.scores.tobytes() == anew.scores.tobytes()


def test_a_known_fold_that_grew_is_fitted_again():
    spec = MODELS["ridge"]
    early = walk_forward(research(370), steps(370), spec, spec.params, seed=1)
    later = walk_forward(research(), steps(), spec, spec.params, seed=1, known=early.fold_scores)
    assert set(later.models) == {"from-350"}
    assert np.isfinite(later.scores[350:]).all()


def test_progress_is_told_after_each_fold():
    told = []
    spec = MODELS["momentum_12_1"]
    walk_forward(research(), steps(), spec, spec.params, seed=1, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_training_on_labels_not_yet_known_is_refused():
    spec = MODELS["ridge"]
    leaking = [Step("leak", np.arange(200), np.arange(200, 250))]
    with pytest.raises(InvariantViolation, match="leak"):
        walk_forward(research(), leaking, spec, spec.params, seed=1)


def test_an_empty_fold_is_said():
    spec = MODELS["ridge"]
    with pytest.raises(DataInvalid, match="empty"):
        walk_forward(research(), [Step("empty", np.arange(0), np.arange(200, 250))], spec, spec.params, seed=1)


def test_only_the_chosen_rows_are_trained_on():
    data, spec = research(), MODELS["ridge"]
    labels = data.labels.copy()
    labels[~data.train_rows] = 99.0
    rows = np.arange(200)
    one = fit_rows(data, rows, spec, spec.params, 1)
    other = fit_rows(replace(data, labels=labels), rows, spec, spec.params, 1)
    assert one.to_arrays()["coefficients"].tobytes() == other.to_arrays()["coefficients"].tobytes()


def test_the_folds_of_the_splits_room_fit():
    data, spec = research(), MODELS["ridge"]
    sessions = np.datetime64("2020-01-01") + np.arange(N)
    plan = WalkForward(test_sessions=50, min_train_sessions=200, embargo_sessions=2)
    folds = splits_walk_forward(sessions, data.label_end, plan)
    positions = np.arange(N)
    named = [Step(str(sessions[fold.test_start]), positions[fold.train], positions[fold.test]) for fold in folds]
    result = walk_forward(data, named, spec, spec.params, seed=1)
    assert list(result.models) == [fold.fold_id for fold in named]
    assert np.isfinite(result.scores[folds[0].test_start :]).all()


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(DataInvalid, match="fit"):
        replace(research(), columns=("only", "two"))


@pytest.mark.parametrize("name", MODELS)
def test_folds_share_their_preparation_and_fit_the_same_bytes_as_alone(name):
    spec, data = MODELS[name], research()
    mask = data.mask.copy()
    mask[100:150, 3] = False
    values = data.values.copy()
    values[20:60, 5, :2] = np.nan
    data = replace(data, mask=mask, values=values)
    together = walk_forward(data, steps(), spec, spec.params, seed=1).models
    for step in steps():
        alone = fit_rows(data, step.train, spec, spec.params, 1).to_arrays()
        shared = together[step.fold_id].to_arrays()
        assert {key: array.tobytes() for key, array in shared.items()} == {key: array.tobytes() for key, array in alone.items()}
