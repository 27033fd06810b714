"""What closes alone tell: spikes that return, prices that stand still; crashes, whole markets and coarse ticks are spared."""

from __future__ import annotations

import numpy as np

from hedgefund_core.quant.defects.rows import check_bars
from tests.unit.test_quant_bar_rules import bars, rules_of, walk


def test_an_isolated_spike_is_held_and_known_only_when_it_returned():
    close = np.concatenate([walk(300, seed) for seed in range(5)])
    close[2 * 300 + 150] *= 1.6
    (finding,) = check_bars(bars(close, symbols=5))
    assert (finding.rule, finding.row, finding.known_row) == ("spike", 750, 751)


def test_a_crash_that_stays_is_real():
    close = np.concatenate([walk(300, seed) for seed in range(5)])
    close[2 * 300 + 150 : 3 * 300] *= 0.5
    assert check_bars(bars(close, symbols=5)) == []


def test_a_day_on_which_everything_jumps_and_returns_is_real():
    close = np.concatenate([walk(300, seed) for seed in range(5)])
    close[150::300] *= 0.7
    assert check_bars(bars(close, symbols=5)) == []


def test_one_coarse_tick_up_and_down_is_no_spike():
    close = np.full(300, 0.004)
    close[::7] = 0.005
    assert check_bars(bars(close, tick=0.001)) == []
    fine = np.full(300, 4.0) + np.random.default_rng(0).normal(0, 0.002, 300)
    fine[100] = 5.5
    assert [f.rule for f in check_bars(bars(fine, tick=0.001))] == ["spike"]


def test_a_stale_run_is_noted_unless_the_tick_explains_it():
    close = walk(200, 6)
    close[50:65] = close[50]
    assert rules_of(check_bars(bars(close))) == [("stale", 59, "warning")]
    coarse = np.round(walk(200, 6, scale=0.0005) / 100.0, 2)
    assert check_bars(bars(coarse, tick=0.01)) == []
