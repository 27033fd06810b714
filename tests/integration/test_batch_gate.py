"""The gate through the slices' own functions: noise is never approved, a planted signal is."""

import numpy as np
import pytest

from hedgefund_core.backtest.gate import strategy_approval
from hedgefund_core.backtest.models_settings import PriorTrials
from hedgefund_dagster.defs.backtest.run import run_backtest
from hedgefund_dagster.defs.promotion.evidence import approval_inputs
from hedgefund_dagster.defs.training.records import folder
from hedgefund_dagster.defs.training.trials import TrialLedger
from hedgefund_dagster.resources.lake import Lake
from tests.builders import planted_panel, researched


def verdict_on(panel, root, leakage=()):
    lake = Lake(root)
    study, walk, scores = researched(panel, lake)
    done = run_backtest(study, walk, scores, lake, PriorTrials())
    place = folder(walk.book, walk.mandate, walk.cut)
    return strategy_approval(approval_inputs(study, done.record, lake, place, leakage), study.settings.gate), done, walk


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_noise_is_never_approved(seed, tmp_path):
    verdict, _, _ = verdict_on(planted_panel(seed, n_names=20, n_sessions=1200), tmp_path)
    assert not verdict.passed
    assert set(verdict.failed) & {"excess_probability", "placebo_percentile"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_noise_of_many_seeds_is_never_approved(seed, tmp_path):
    assert not verdict_on(planted_panel(seed, n_names=20, n_sessions=1200), tmp_path)[0].passed


def test_a_planted_signal_is_approved_with_the_strength_it_was_planted_with(tmp_path):
    verdict, done, walk = verdict_on(planted_panel(3, strength=0.0004), tmp_path)
    ic = walk.challenger.ic
    assert ic.value == pytest.approx(0.05, abs=0.02)
    assert verdict.passed, verdict.failed
    assert verdict.candidate == "ridge"
    assert done.record.books["ridge"].placebo_draws >= 500


def test_a_leak_refuses_even_the_best(tmp_path):
    verdict, _, _ = verdict_on(planted_panel(3, n_names=30, n_sessions=1200, strength=0.0006), tmp_path, leakage=("reversal_21 sees t+1",))
    assert "leakage_findings" in verdict.failed


def test_a_rerun_adds_no_trial_and_gives_the_same_scores_from_the_stored_folds(tmp_path):
    lake, panel = Lake(tmp_path), planted_panel(5, n_names=12, n_sessions=1100)
    first = researched(panel, lake)
    run_backtest(*first, lake, PriorTrials())
    again = researched(panel, lake)
    done = run_backtest(*again, lake, PriorTrials())
    assert done.record.trials.new == 0
    assert len(TrialLedger(lake).lines()) == 2
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first[2], again[2], strict=True))


def test_a_later_cut_keeps_the_scores_of_old_folds_and_the_count_of_trials(tmp_path):
    lake, panel = Lake(tmp_path), planted_panel(6, n_names=12, n_sessions=1250)
    early = researched(panel.rows(0, 1150), lake)
    run_backtest(*early, lake, PriorTrials())
    late = researched(panel, lake)
    assert run_backtest(*late, lake, PriorTrials()).record.trials.new == 0
    complete = early[0].folds[-1].test[0]
    for old, new in zip(early[2], late[2], strict=True):
        assert np.array_equal(old[:complete], new[:complete], equal_nan=True)


def test_nothing_after_the_cut_changes_what_was_researched_at_it(tmp_path):
    panel = planted_panel(7, n_names=12, n_sessions=1200)
    altered = planted_panel(7, n_names=12, n_sessions=1200)
    altered.close[1100:] *= 3.0
    known = [researched(one.rows(0, 1100), Lake(tmp_path / name))[2] for name, one in (("a", panel), ("b", altered))]
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*known, strict=True))


def test_prior_trials_are_counted(tmp_path):
    from hedgefund_core.backtest.models_settings import PriorTrial

    lake = Lake(tmp_path)
    inputs = researched(planted_panel(8, n_names=12, n_sessions=1100), lake)
    prior = PriorTrials(prior_trials=(PriorTrial(what="a notebook", trials=5),))
    assert run_backtest(*inputs, lake, prior).record.trials.trials == 7
