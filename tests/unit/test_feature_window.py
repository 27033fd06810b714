"""The ring of the last bars: what a window made by rows holds is what a window of the whole panel holds, whoever shares its memory."""

from dataclasses import replace

import numpy as np
import pytest

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.quant.features import latest_features
from hedgefund_core.quant.features.window import Window
from hedgefund_core.quant.return_history import row_digests
from tests.builders import close_only, noisy_panel

KEEP = 12
NAMES = ["reversal_5", "reversal_21", "volatility_21", "max_return_21", "volume_z_21"]


def bars(n_sessions=60):
    panel = noisy_panel(n_sessions=n_sessions, n_symbols=4, hole_share=0.05)
    return replace(panel, benchmark=np.linspace(100.0, 120.0, n_sessions))


def same(window, panel):
    whole = Window.of(panel)
    for name in ("returns", "market", "digests"):
        np.testing.assert_array_equal(getattr(window.history, name), getattr(whole.history, name))
    np.testing.assert_array_equal(window.mean_returns, whole.mean_returns)
    np.testing.assert_array_equal(
        window.history.digests, row_digests(window.history.returns), err_msg="what is kept is what would be made anew"
    )
    for name in ("sessions", "open", "close", "volume", "split_ratios", "benchmark"):
        np.testing.assert_array_equal(getattr(window.panel, name), getattr(panel, name))


@pytest.mark.parametrize("step", [1, 3, KEEP + 1])
def test_a_window_that_grows_is_the_window_of_the_last_rows(step):
    panel = bars()
    window = Window.of(panel.rows(0, 2))
    for start in range(2, panel.shape[0], step):
        window = window.extended(panel.rows(start, min(start + step, panel.shape[0])), keep=KEEP)
        stop = min(start + step, panel.shape[0])
        same(window, panel.rows(max(0, stop - KEEP), stop))


def test_features_of_a_window_are_those_of_its_panel_with_and_without_a_split():
    panel = bars()
    plain, split = np.ones(panel.shape), np.ones(panel.shape)
    split[-5, 1], split[-9, 2] = 2.0, np.nan
    for ratios in (plain, split):
        raw = replace(panel, price_kind=PriceKind.RAW, split_ratios=ratios, benchmark=None)
        window = Window.of(raw.rows(0, 20))
        for row in range(20, panel.shape[0]):
            window = window.extended(raw.rows(row, row + 1), keep=40)
            last = raw.rows(max(0, row - 39), row + 1)
            np.testing.assert_array_equal(latest_features(window, NAMES), latest_features(last, NAMES))


def test_two_windows_after_the_same_one_do_not_see_each_other():
    panel = bars()
    before = Window.of(panel.rows(0, 20))
    row = panel.rows(20, 21)
    other = replace(row, close=row.close * 2.0, open=row.open * 2.0)
    first, second = before.extended(row, keep=KEEP), before.extended(other, keep=KEEP)
    third = second.extended(panel.rows(21, 22), keep=KEEP)
    same(before, panel.rows(0, 20))
    same(first, panel.rows(21 - KEEP, 21))
    assert second.panel.close[-1].tolist() == third.panel.close[-2].tolist() == (row.close[0] * 2.0).tolist()
    same(first.extended(panel.rows(21, 22), keep=KEEP), panel.rows(22 - KEEP, 22))


def test_equal_weight_is_the_market_where_there_is_no_benchmark():
    panel = close_only(noisy_panel(n_sessions=30))
    window = Window.of(panel.rows(0, 29)).extended(panel.rows(29, 30), keep=30)
    np.testing.assert_array_equal(window.history.market, Window.of(panel).history.market)
    np.testing.assert_allclose(window.history.market, np.nanmean(window.history.returns, axis=1), rtol=1e-12)
    np.testing.assert_array_equal(latest_features(window, ["beta_252"]), latest_features(panel, ["beta_252"]))


def test_a_row_of_another_source_or_of_the_past_is_refused_and_nothing_is_changed():
    panel = bars()
    window = Window.of(panel.rows(0, 20))
    with pytest.raises(DataInvalid, match="strictly increasing"):
        window.extended(panel.rows(19, 20), keep=KEEP)
    with pytest.raises(DataInvalid, match="only one of"):
        window.extended(replace(panel.rows(20, 21), volume=None), keep=KEEP)
    same(window.extended(panel.rows(20, 21), keep=KEEP), panel.rows(21 - KEEP, 21))


def test_one_row_has_no_return():
    window = Window.of(bars().rows(0, 1))
    assert (window.history.returns.shape, window.mean_returns.shape, window.history.market.shape) == ((0, 4), (0, 1), (0,))
