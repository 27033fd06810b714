"""What every registered feature owes: batch = stream in bits, a stated warm-up, holes that stay holes, a name and a source."""

import re
import subprocess
import sys

import numpy as np
import pytest

from hedgefund_core.errors import ConfigError, DataInvalid, ModelMismatch
from hedgefund_core.quant.bars import FIELDS, PriceKind
from hedgefund_core.quant.features import (
    FEATURES,
    FeatureSpec,
    FeatureStream,
    code_digest,
    compute_features,
    default_specs,
    latest_features,
    max_warm_up,
)
from tests.builders import close_only, noisy_panel

SHORT = {  # windows short enough for a fast stream; the defaults run in the audit's tests
    "momentum_12_1": {"far": 60, "near": 5},
    "residual_momentum": {"window": 60, "far": 40, "near": 5},
    "drawdown_252": {"window": 50},
    "beta_252": {"window": 50},
    "distance_to_high_252": {"window": 50},
    "age_of_high_252": {"window": 50},
    "momentum_6_1": {"far": 40},
    "rsi_14": {"window": 50},
    "macd": {"line_window": 40, "signal_window": 15},
    "seasonality": {"years": 2, "sessions_per_year": 30, "horizon": 7},
    "realized_volatility_regime": {"window": 40},
}
SHORT_SPECS = [feature.spec(SHORT.get(name)) for name, feature in FEATURES.items()]


def same_bits(left, right):
    return np.array_equal(
        np.ascontiguousarray(left).view(np.int64)[~np.isnan(left)], np.ascontiguousarray(right).view(np.int64)[~np.isnan(right)]
    ) and (np.array_equal(np.isnan(left), np.isnan(right)))


@pytest.mark.parametrize(("n_symbols", "hole_share"), [(1, 0.0), (1, 0.01), (5, 0.01)])
def test_the_stream_gives_the_bits_of_the_batch(n_symbols, hole_share):
    panel = noisy_panel(n_sessions=130, n_symbols=n_symbols, hole_share=hole_share)
    batch = compute_features(panel, SHORT_SPECS).values
    stream = FeatureStream(SHORT_SPECS, panel.symbols, price_kind=PriceKind.RAW)
    for row in range(panel.shape[0]):
        assert same_bits(stream.update(panel.rows(row, row + 1)), batch[row]), row
    assert stream.panel.shape[0] == max_warm_up(SHORT_SPECS)
    assert stream.rows_missing == 0


def test_a_stream_fed_by_mappings_or_warmed_up_by_a_panel_is_the_same_stream():
    panel = close_only(noisy_panel(n_sessions=90))
    specs = default_specs(panel, longest_warm_up=70)
    by_rows = FeatureStream(specs, panel.symbols)
    for row in range(panel.shape[0]):
        latest = by_rows.update({"close": panel.close[row]}, panel.sessions[row])
    warmed = FeatureStream.from_panel(specs, panel.rows(0, 89))
    assert same_bits(latest, warmed.update(panel.rows(89, 90)))
    assert same_bits(latest, latest_features(panel, specs))
    assert same_bits(latest, compute_features(panel, specs).values[-1])


def test_an_empty_stream_has_no_values_and_says_how_many_rows_are_missing():
    stream = FeatureStream(["reversal_5"], ["A", "B"])
    assert np.isnan(stream.latest()).all()
    assert stream.latest().shape == (2, 1)
    assert stream.rows_missing == 6
    assert [spec.name for spec in stream.specs] == ["reversal_5"]


def test_a_stream_refuses_rows_of_the_past_of_other_symbols_and_without_a_session():
    panel = close_only(noisy_panel(n_sessions=10))
    stream = FeatureStream(["reversal_5"], panel.symbols)
    stream.update(panel.rows(0, 5))
    with pytest.raises(DataInvalid, match="strictly increasing"):
        stream.update(panel.rows(4, 5))
    with pytest.raises(DataInvalid, match="session"):
        stream.update({"close": panel.close[6]})
    with pytest.raises(DataInvalid, match="other symbols"):
        stream.update(close_only(noisy_panel(n_sessions=10, n_symbols=2)).rows(6, 7))
    with pytest.raises(DataInvalid, match="another kind"):
        FeatureStream(["reversal_5"], panel.symbols, price_kind=PriceKind.RAW).update(panel.rows(0, 1))


@pytest.mark.parametrize("spec", SHORT_SPECS, ids=lambda spec: spec.name)
def test_warm_up_is_exact(spec):
    panel = noisy_panel(n_sessions=spec.warm_up + 3)
    values = compute_features(panel, [spec]).values[:, :, 0]
    assert np.isnan(values[: spec.warm_up - 1]).all()
    assert np.isfinite(values[spec.warm_up - 1 :]).any(axis=1).all()
    assert values.shape == panel.shape


@pytest.mark.parametrize("spec", SHORT_SPECS, ids=lambda spec: spec.name)
def test_scores_of_one_name_are_the_same_whatever_the_memory_order(spec):
    panel = noisy_panel(n_sessions=130)
    turned = panel.rows(0, 130)
    for name in FIELDS:
        object.__setattr__(turned, name, np.asfortranarray(getattr(panel, name)))
    assert same_bits(compute_features(panel, [spec]).values, compute_features(turned, [spec]).values)


@pytest.mark.parametrize("spec", [spec for spec in SHORT_SPECS if spec.name != "realized_volatility_regime"], ids=lambda spec: spec.name)
def test_no_bar_no_value_and_a_zero_price_is_no_price(spec):
    panel = noisy_panel(n_sessions=130)
    holes, zeros = panel.rows(0, 130), panel.rows(0, 130)
    for name in FIELDS:
        for changed, value in ((holes, np.nan), (zeros, 0.0)):
            values = getattr(panel, name).copy()
            values[60:, 1] = value
            object.__setattr__(changed, name, values)
    for changed in (holes, zeros):
        values = compute_features(changed, [spec]).values[-1, :, 0]
        # A volume of zero is a fact, a price of zero is not.
        assert np.isnan(values[1]) or (changed is zeros and spec.name == "volume_z_21")
        assert np.isfinite(values[[0, 2, 3]]).all()


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_a_feature_says_what_it_is(name):
    feature = FEATURES[name]
    assert feature.name == name
    assert feature.description.endswith(".")
    assert re.search(r"\((1[89]|20)\d\d\)$", feature.reference), feature.reference
    assert set(feature.inputs) <= set(FIELDS)
    assert feature.spec().warm_up == feature.warm_up(feature.params)
    assert feature.kernel.__module__ == f"hedgefund_core.quant.features.{name}"


@pytest.mark.parametrize("name", sorted(set(FEATURES) - {"volume_z_21", "amihud_illiquidity_21"}))
def test_a_split_changes_no_value(name):
    raw = noisy_panel(n_sessions=130)
    shares = np.cumprod(raw.split_ratios, axis=0)
    whole = raw.rows(0, 130)
    for field in ("open", "high", "low", "close"):
        object.__setattr__(whole, field, getattr(raw, field) * shares)
    object.__setattr__(whole, "price_kind", PriceKind.SPLIT_ADJUSTED)
    spec = FEATURES[name].spec(SHORT.get(name))
    split, unsplit = (compute_features(panel, [spec]).values for panel in (raw, whole))
    np.testing.assert_allclose(split, unsplit, rtol=1e-7, atol=1e-9)


def test_raw_prices_without_split_ratios_are_refused():
    panel = noisy_panel()
    object.__setattr__(panel, "split_ratios", None)
    with pytest.raises(DataInvalid, match="turn a split into a return"):
        compute_features(panel, ["reversal_5"])
    assert default_specs(panel) == []


def test_features_are_offered_only_where_their_inputs_exist():
    full, closes = noisy_panel(n_sessions=5000), close_only(noisy_panel(n_sessions=5000))
    assert {spec.name for spec in default_specs(full)} == set(FEATURES)
    offered = {spec.name for spec in default_specs(closes)}
    assert set(FEATURES) - offered == {"amihud_illiquidity_21", "volume_z_21", "overnight_return_21", "parkinson_volatility_21"}
    assert "seasonality" not in {spec.name for spec in default_specs(noisy_panel(n_sessions=1000))}
    with pytest.raises(DataInvalid, match="total_return"):
        compute_features(closes, ["amihud_illiquidity_21"])


def test_wrong_names_parameters_and_warm_ups_are_named():
    with pytest.raises(ConfigError, match="unknown feature 'momentun'"):
        compute_features(noisy_panel(), ["momentun"])
    with pytest.raises(ConfigError, match="no parameter windw"):
        FEATURES["reversal_5"].spec({"windw": 3})
    with pytest.raises(ModelMismatch, match="needs 6 rows"):
        compute_features(noisy_panel(), [FeatureSpec(name="reversal_5", params={"window": 5}, warm_up=5)])


def test_a_feature_panel_is_read_by_name():
    features = compute_features(noisy_panel(), ["reversal_5", "volatility_21"])
    assert same_bits(features.field("volatility_21"), features.values[:, :, 1])
    with pytest.raises(DataInvalid, match="no feature"):
        features.field("beta_252")


def test_the_code_digest_pins_the_files_used_and_only_those():
    assert re.fullmatch(r"[0-9a-f]{64}", code_digest(["reversal_5"]))
    assert code_digest(["reversal_5", "beta_252"]) == code_digest(["beta_252", "reversal_5", "beta_252"])
    assert code_digest(["reversal_5"]) == code_digest([FEATURES["reversal_5"].spec({"window": 9})])
    assert code_digest(["reversal_5"]) != code_digest(["reversal_21"])


def test_the_features_load_no_research_library():
    code = "import sys, hedgefund_core.quant.features; print([m for m in ('pandas', 'polars', 'scipy', 'sklearn') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
