"""Every model of the registry: seeded, the same bytes twice, safe to load, the same bits in any batch."""

import io

import numpy as np
import pytest

from hedgefund_core.errors import ConfigError, DataInvalid, HedgefundError, ModelMismatch
from hedgefund_core.quant.models import MODELS, load_model, model_spec, score_panel

COLUMNS = ("momentum_12_1", "reversal", "volatility")
N_SESSIONS, N_SYMBOLS = 60, 12


def panel(seed=7):
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(N_SESSIONS, N_SYMBOLS, len(COLUMNS)))
    labels = 0.3 * values[:, :, 0] + generator.normal(size=(N_SESSIONS, N_SYMBOLS))
    values[generator.random(values.shape) < 0.05] = np.nan
    return values, labels, generator.random((N_SESSIONS, N_SYMBOLS)) > 0.1


def fitted(name, seed=11):
    values, labels, _ = panel()
    spec = MODELS[name]
    sessions = np.repeat(np.arange(N_SESSIONS), N_SYMBOLS)
    return spec.trainer(values.reshape(-1, len(COLUMNS)), labels.reshape(-1), sessions, columns=COLUMNS, params=spec.params, seed=seed)


def packed(model):
    buffer = io.BytesIO()
    np.savez(buffer, **model.to_arrays())
    return buffer.getvalue()


@pytest.mark.parametrize("name", MODELS)
def test_the_same_seed_gives_the_same_bytes(name):
    assert packed(fitted(name)) == packed(fitted(name))


@pytest.mark.parametrize("name", MODELS)
def test_loaded_from_inert_arrays_it_scores_the_same_bits(name):
    model = fitted(name)
    with np.load(io.BytesIO(packed(model)), allow_pickle=False) as stored:
        loaded = load_model(model.kind, dict(stored), COLUMNS)
    values, _, mask = panel(seed=8)
    assert loaded.kind == MODELS[name].kind
    assert loaded.columns == COLUMNS
    for session in range(N_SESSIONS):
        ours, theirs = model.score(values[session], mask[session]), loaded.score(values[session], mask[session])
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("name", MODELS)
def test_a_whole_panel_has_the_bits_of_its_sessions(name):
    model, (values, _, mask) = fitted(name), panel(seed=9)
    whole = score_panel(model, values, mask)
    assert np.isfinite(whole).any()
    for session in range(N_SESSIONS):
        assert whole[session].tobytes() == model.score(values[session], mask[session]).tobytes()


@pytest.mark.parametrize("name", MODELS)
def test_masked_names_are_not_scored_and_do_not_matter(name):
    model, (values, _, _) = fitted(name), panel(seed=10)
    mask = np.ones(N_SYMBOLS, dtype=bool)
    mask[3] = False
    other = values[0].copy()
    other[3] = 1e6
    assert np.isnan(model.score(values[0], mask)[3])
    assert model.score(values[0], mask).tobytes() == model.score(other, mask).tobytes()


@pytest.mark.parametrize("name", MODELS)
def test_it_learns_the_planted_direction(name):
    values, _, _ = panel(seed=12)
    scores = fitted(name).score(np.nan_to_num(values[0]), np.ones(N_SYMBOLS, dtype=bool))
    assert np.corrcoef(scores, np.nan_to_num(values[0])[:, 0])[0, 1] > 0.5


def broken(model):
    arrays = model.to_arrays()
    first = next(name for name, array in arrays.items() if array.dtype == np.float64)
    yield {**arrays, "code": np.zeros(1)}
    yield {name: array for name, array in arrays.items() if name != first}
    yield {**arrays, first: arrays[first].astype(np.float32)}
    yield {**arrays, first: arrays[first].astype(object)}
    yield {**arrays, first: np.append(arrays[first], 0.0)}
    yield {**arrays, first: arrays[first][:, None]}
    yield {**arrays, first: np.full_like(arrays[first], np.nan)}
    yield {**arrays, first: np.full_like(arrays[first], np.inf)}
    yield {**arrays, "preprocess": np.array([9])}
    yield {**arrays, "preprocess": np.array([0.0])}


@pytest.mark.parametrize("name", MODELS)
def test_unexpected_arrays_are_refused(name):
    model = fitted(name)
    for number, arrays in enumerate(broken(model)):
        with pytest.raises(ModelMismatch) as refused:
            load_model(model.kind, arrays, COLUMNS)
        assert refused.value.mend, number


@pytest.mark.parametrize("name", MODELS)
def test_features_that_do_not_fit_are_refused(name):
    model, mask = fitted(name), np.ones(N_SYMBOLS, dtype=bool)
    for features in (np.zeros((N_SYMBOLS, 2)), np.zeros((N_SYMBOLS, 3), dtype=np.float32), np.zeros(3)):
        with pytest.raises(ModelMismatch):
            model.score(features, mask)
    with pytest.raises(ModelMismatch):
        model.score(np.zeros((N_SYMBOLS, 3)), np.ones(N_SYMBOLS))


@pytest.mark.parametrize("name", MODELS)
def test_arrays_cannot_be_changed_after_loading(name):
    loaded = load_model(MODELS[name].kind, fitted(name).to_arrays(), COLUMNS)
    for array in loaded.to_arrays().values():
        if array.size > 1:
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name].kind != "rule"])
def test_too_little_data_is_said(name):
    spec = MODELS[name]
    with pytest.raises(DataInvalid, match="rows"):
        spec.trainer(np.zeros((10, 3)), np.zeros(10), np.zeros(10, dtype=np.int64), columns=COLUMNS, params=spec.params, seed=1)


@pytest.mark.parametrize("name", MODELS)
def test_a_missing_parameter_is_said(name):
    values, labels, _ = panel()
    sessions = np.repeat(np.arange(N_SESSIONS), N_SYMBOLS)
    with pytest.raises(HedgefundError):
        MODELS[name].trainer(values.reshape(-1, 3), labels.reshape(-1), sessions, columns=COLUMNS, params={}, seed=1)


def test_the_registry_keeps_the_trial_budget():
    assert sum(len(spec.grid) for spec in MODELS.values()) <= 12
    for name, spec in MODELS.items():
        assert spec.name == name
        assert spec.params in spec.grid


def test_an_unknown_model_names_the_known_ones():
    with pytest.raises(ConfigError, match="ridge"):
        model_spec("lstm")
