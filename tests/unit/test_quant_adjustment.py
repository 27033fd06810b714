from dataclasses import replace

import numpy as np
import pytest

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.adjustment import adjusted
from hedgefund_core.quant.bars import Panel, PriceKind
from tests.builders import close_only, noisy_panel


def two_for_one_and_a_dividend():
    """10, 10, split 2:1 to 5, 5, dividend 1 to 4, 4: a holder lost and won nothing."""
    column = np.array([[10.0], [10.0], [5.0], [5.0], [4.0], [4.0]])
    return Panel(
        sessions=np.datetime64("2003-02-13") + np.arange(6),
        symbols=("MSFT",),
        price_kind=PriceKind.RAW,
        close=column,
        volume=np.full((6, 1), 100.0),
        split_ratios=np.array([[1.0], [1.0], [2.0], [1.0], [1.0], [1.0]]),
        dividends=np.array([[0.0], [0.0], [0.0], [0.0], [1.0], [0.0]]),
    )


def test_split_adjusted_as_of_the_end():
    panel = two_for_one_and_a_dividend()
    result = adjusted(panel, panel.sessions[-1])
    np.testing.assert_array_equal(result.close[:, 0], [5, 5, 5, 5, 4, 4])
    np.testing.assert_array_equal(result.volume[:, 0], [200, 200, 100, 100, 100, 100])
    np.testing.assert_array_equal(result.dividends[:, 0], [0, 0, 0, 0, 1, 0])
    assert result.price_kind is PriceKind.SPLIT_ADJUSTED
    assert result.split_ratios is None


def test_total_return_as_of_the_end_is_flat_for_a_holder_without_profit():
    panel = two_for_one_and_a_dividend()
    result = adjusted(panel, panel.sessions[-1], PriceKind.TOTAL_RETURN)
    np.testing.assert_allclose(result.close[:, 0], np.full(6, 4.0))
    assert result.dividends is None


def test_a_split_that_is_not_effective_yet_is_not_applied():
    panel = two_for_one_and_a_dividend()
    before = adjusted(panel, panel.sessions[1])
    np.testing.assert_array_equal(before.close[:, 0], [10, 10])
    assert adjusted(panel, panel.sessions[2]).close[0, 0] == 5.0


def test_rows_after_the_date_are_not_read():
    panel = noisy_panel(n_sessions=60, hole_share=0.02)
    for position in (10, 30, 54):
        day = panel.sessions[position]
        np.testing.assert_array_equal(adjusted(panel, day).close, adjusted(panel.rows(0, position + 1), day).close)


def test_a_missing_close_before_the_ex_session_uses_the_last_one():
    panel = two_for_one_and_a_dividend()
    panel.close[3] = np.nan
    result = adjusted(panel, panel.sessions[-1], PriceKind.TOTAL_RETURN)
    np.testing.assert_allclose(result.close[[0, 1, 2, 4, 5], 0], np.full(5, 4.0))
    assert np.isnan(result.close[3, 0])


def test_returns_do_not_depend_on_the_date_adjusted_to():
    panel = noisy_panel(n_sessions=60)
    late, early = adjusted(panel, panel.sessions[-1]).close, adjusted(panel, panel.sessions[40]).close
    np.testing.assert_allclose(late[1:41] / late[:40], early[1:] / early[:-1], rtol=1e-12)


def test_only_raw_prices_with_their_factors_are_adjusted():
    with pytest.raises(DataInvalid, match="only raw"):
        adjusted(close_only(noisy_panel()), np.datetime64("2030-01-01"))
    with pytest.raises(DataInvalid, match="split_ratios"):
        adjusted(replace(noisy_panel(), split_ratios=None), np.datetime64("2030-01-01"))
    with pytest.raises(DataInvalid, match="dividends"):
        adjusted(noisy_panel(), np.datetime64("2030-01-01"), PriceKind.TOTAL_RETURN)
