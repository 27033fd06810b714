"""Each of the eight leaks, planted in a materialization: the check that runs with it fails and names the place."""

from dataclasses import replace
from datetime import timedelta

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant import labels
from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.quant.features import FEATURES, kernels
from hedgefund_core.quant.features.compute import resolve
from hedgefund_core.schemas import BARS
from hedgefund_dagster.books import BOOKS
from hedgefund_dagster.demo_loop import Pipeline
from hedgefund_dagster.resources.lake import Lake, PanelManifest
from tests.builders import price_rows, tradable_panel, write_price_folder

BOOK, MANDATE, VICTIM = BOOKS["own_files"], "market_neutral", "reversal_5"
EARLY = ("raw", "bars")
LATE = ("corporate_actions", "validated_bars", "panel")


def keys(*names):
    return [dg.AssetKey(["files", name]) for name in names]


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


# --- inside a feature ---------------------------------------------------------------------------------------------------


def centred_window(panel):
    mean = np.full(panel.shape, np.nan)
    mean[2:-2] = kernels.over_windows(kernels.ordered_mean, 5, panel.close, rows=panel.shape[0])
    return mean


def full_sample_z_score(panel):
    returns = kernels.returns_of(panel)
    return (returns - np.nanmean(returns, axis=0)) / np.maximum(np.nanstd(returns, axis=0), 1e-9)


def back_fill(panel):
    close = panel.close.copy()
    for row in range(len(close) - 2, -1, -1):
        close[row] = np.where(np.isnan(close[row]), close[row + 1], close[row])
    return np.concatenate([np.full((1, panel.shape[1]), np.nan), close[1:] / close[:-1] - 1.0])


def shift_by_minus_one(panel):
    returns = kernels.returns_of(panel)
    return np.concatenate([returns[1:], np.full((1, panel.shape[1]), np.nan)])


def future_split_factor(panel):
    return panel.close / (np.cumprod(panel.split_ratios[::-1], axis=0)[::-1] / panel.split_ratios)


def target_encoding(panel):
    future = np.concatenate([kernels.returns_of(panel)[1:], np.zeros((1, panel.shape[1]))])
    return np.broadcast_to(np.nan_to_num(future).mean(axis=0), panel.shape)


@pytest.fixture
def featured(own_house, instance, monkeypatch):
    """A lake with a small raw panel, and a features asset that computes one feature only."""
    lake, panel = Lake(own_house / "data"), replace(tradable_panel(n_sessions=160, n_symbols=4), source="files")
    manifest = PanelManifest(
        source="files",
        data_version="",
        sha256="",
        rows=panel.close.size,
        symbols=panel.symbols,
        first_session=str(panel.sessions[0]),
        last_session=str(panel.sessions[-1]),
        price_kind=PriceKind.RAW.value,
        calendar="observed",
        currency="USD",
        benchmark_name="none",
        known_at_basis="assumed",
        recorded_as_of="2026-01-01T00:00:00+00:00",
        research_start="",
        biases=(),
        not_evaluable=(),
        quarantined=0,
        raw_files=(),
    )
    lake.write_panel(panel, manifest)
    for slice_module in ("assets", "checks"):
        monkeypatch.setattr(f"hedgefund_dagster.defs.features.{slice_module}.default_specs", lambda _panel: resolve([VICTIM]))
    return Pipeline(instance=instance, lake=lake)


@pytest.mark.parametrize("leak", [centred_window, full_sample_z_score, back_fill, shift_by_minus_one, future_split_factor, target_encoding])
def test_a_leak_in_a_feature_fails_its_check(leak, featured, monkeypatch):
    victim = FEATURES[VICTIM]
    planted = replace(victim, kernel=lambda bars, params: leak(bars.panel)[victim.warm_up(params) - 1 :])
    monkeypatch.setitem(FEATURES, VICTIM, planted)
    with pytest.raises(DataInvalid, match=f"files/features no_look_ahead_{VICTIM}: .*knowable then"):
        featured.run(keys("features"))


def test_a_clean_feature_and_its_labels_pass(featured):
    featured.run(keys("features", "labels"))


def test_values_changed_after_they_were_computed_fail_the_check(featured, monkeypatch):
    from hedgefund_core.quant.features import compute_features

    def scaled_over_the_whole_sample(panel, specs):
        made = compute_features(panel, specs)
        return replace(made, values=made.values / np.nanstd(made.values, axis=0))

    monkeypatch.setattr("hedgefund_dagster.defs.features.assets.compute_features", scaled_over_the_whole_sample)
    with pytest.raises(DataInvalid, match="prefix_invariance"):
        featured.run(keys("features"))


def label_of_the_decided_bar(panel, horizon, *, fill):
    made = labels.forward_returns(panel, horizon, fill=fill)
    return replace(made, start=made.start - 1, end=made.end - 1)


def label_longer_than_it_says(panel, horizon, *, fill):
    made = labels.forward_returns(panel, horizon, fill=fill)
    return replace(made, values=labels.forward_returns(panel, horizon + 1, fill=fill).values)


@pytest.mark.parametrize("leak", [label_of_the_decided_bar, label_longer_than_it_says])
def test_a_label_that_reads_outside_its_sessions_fails_its_check(leak, featured, monkeypatch):
    monkeypatch.setattr("hedgefund_dagster.defs.features.assets.forward_returns", leak)
    with pytest.raises(DataInvalid, match=r"files/labels begin_after_the_decision: label_overlap"):
        featured.run(keys("labels"))


# --- in the panel -------------------------------------------------------------------------------------------------------


SPLIT_AT = 700


@pytest.fixture
def ingested(own_house, instance, monkeypatch):
    """A folder of raw closes in which the first name splits two for one; ingested, not yet validated."""
    plain = price_rows(n_symbols=8, n_sessions=1100)
    rows = [
        (
            symbol,
            day,
            f"{close / 2 if symbol == 'S0' and i % 1100 >= SPLIT_AT else close:.4f}",
            f"{close / 2 if symbol == 'S0' else close:.4f}",
        )
        for i, (symbol, day, close) in enumerate(plain)
    ]
    monkeypatch.setenv(
        "HEDGEFUND_SOURCES__FILES__FOLDER", str(write_price_folder(own_house / "p", rows, header="symbol,date,close,adj_close"))
    )
    monkeypatch.setenv("HEDGEFUND_SOURCES__FILES__PRICE_KIND", "raw")
    monkeypatch.setenv("HEDGEFUND_MODELS__CHALLENGERS", '{"ridge": [{"alpha": 1000.0}]}')
    monkeypatch.setenv("HEDGEFUND_UNIVERSE__SOURCE", "files")
    made = Pipeline(instance=instance, lake=Lake(own_house / "data"))
    made.run(keys(*EARLY))
    return made


def restate(lake, *, known_later):
    """A second version of one bar, stored a day later, known when the row says."""
    bars = lake.read_bars("files")
    row = bars.slice(500, 1)
    changes = {
        "close": pc.multiply(row.column("close"), 1.01),
        "recorded_at": pc.add(row.column("recorded_at"), pa.scalar(timedelta(days=1))),
        "known_at": pc.add(row.column("known_at"), pa.scalar(known_later)),
    }
    for name, values in changes.items():
        row = row.set_column(BARS.column_names.index(name), name, values)
    session = row.column("session")[0].as_py()
    assert lake.write_bars("files", str(session.year), row).added == 1
    return session


def test_a_late_restatement_fails_the_panels_check(ingested):
    session = restate(ingested.lake, known_later=timedelta(days=365))
    with pytest.raises(DataInvalid, match=f"no_late_restatement: late_restatement: bars of S0 at {session}"):
        ingested.run(keys(*LATE))


def test_a_value_restated_since_it_was_recorded_is_warned_of(ingested, instance):
    session = restate(ingested.lake, known_later=timedelta(0))
    ingested.run(keys(*LATE))
    key = dg.AssetCheckKey(dg.AssetKey(["files", "panel"]), "as_first_recorded")
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key].event.dagster_event
    assert not found.asset_check_evaluation_data.passed
    assert f"late_restatement: close of S0 at {session}" in found.asset_check_evaluation_data.description


def adjusted_by_the_future(panel):
    close = panel.close.copy()
    close[:SPLIT_AT, 0] /= 2.0
    return replace(panel, close=close, split_ratios=np.ones_like(close))


def split_a_session_early(panel):
    return replace(panel, split_ratios=np.roll(panel.split_ratios, -1, axis=0))


@pytest.mark.parametrize("leak", [adjusted_by_the_future, split_a_session_early])
def test_a_split_factor_of_the_future_fails_the_panels_check(leak, ingested, monkeypatch):
    from hedgefund_dagster.defs.validation.panel import panel_of

    seen = []

    def planted(*arguments):
        seen.append(panel_of(*arguments))
        return leak(seen[0])

    monkeypatch.setattr("hedgefund_dagster.defs.validation.assets.panel_of", planted)
    with pytest.raises(DataInvalid, match=r"no_future_split_factor: future_split_factor: (close|split_ratios) of S0"):
        ingested.run(keys(*LATE))
    assert seen[0].split_ratios[SPLIT_AT, 0] == pytest.approx(2.0)


# --- in scores and fills ------------------------------------------------------------------------------------------------


def test_a_target_in_the_scores_and_a_fill_on_the_decided_bar_fail_their_checks(ingested, monkeypatch):
    from hedgefund_core.backtest.vectorized import run_target_weights
    from hedgefund_core.quant.models.walk_forward import walk_forward

    def encoded(research, folds, *arguments, **keywords):
        made = walk_forward(research, folds, *arguments, **keywords)
        return replace(made, scores=made.scores + np.nanmean(research.labels, axis=0))

    def on_the_same_bar(*arguments, **keywords):
        return run_target_weights(*arguments, **{**keywords, "fill": "close"})

    ingested.run(keys(*LATE, "features", "labels"))
    with monkeypatch.context() as planted:
        planted.setattr("hedgefund_dagster.defs.training.walk.walk_forward", encoded)
        with pytest.raises(DataInvalid, match=r"own_files/walk_forward knew_nothing_after_the_fold: target_in_score: score of ridge"):
            ingested.research(BOOK, MANDATE, "")
    with monkeypatch.context() as planted:
        planted.setattr("hedgefund_dagster.defs.backtest.evaluate.run_target_weights", on_the_same_bar)
        with pytest.raises(DataInvalid, match=r"own_files/backtest no_same_bar_fill: same_bar_fill: fill of S"):
            ingested.research(BOOK, MANDATE, "", rule_only=True)
    ingested.research(BOOK, MANDATE, "", rule_only=True)
