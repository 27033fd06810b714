"""Values of features against their plain definitions, computed another way."""

import itertools
import math

import numpy as np
import pytest

from hedgefund_core.quant.bars import Panel, PriceKind
from hedgefund_core.quant.features import compute_features, kernels
from tests.builders import close_only, noisy_panel

PANEL = close_only(noisy_panel(n_sessions=600, price_kind=PriceKind.SPLIT_ADJUSTED))
CLOSE = PANEL.close
RETURNS = CLOSE[1:] / CLOSE[:-1] - 1.0
MARKET = RETURNS.mean(axis=1)


def last(name, panel=PANEL):
    return compute_features(panel, [name]).values[-1, :, 0]


def rows_of(closes):
    closes = np.asarray(closes, dtype=np.float64).reshape(len(closes), -1)
    sessions = np.datetime64("2020-01-01") + np.arange(len(closes))
    symbols = tuple(f"S{column}" for column in range(closes.shape[1]))
    return Panel(sessions=sessions, symbols=symbols, price_kind=PriceKind.TOTAL_RETURN, close=closes)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("momentum_12_1", CLOSE[-22] / CLOSE[-253] - 1),
        ("momentum_6_1", CLOSE[-22] / CLOSE[-127] - 1),
        ("momentum_3_1", CLOSE[-22] / CLOSE[-64] - 1),
        ("reversal_5", 1 - CLOSE[-1] / CLOSE[-6]),
        ("reversal_21", 1 - CLOSE[-1] / CLOSE[-22]),
        ("volatility_21", RETURNS[-21:].std(axis=0, ddof=1)),
        ("volatility_63", RETURNS[-63:].std(axis=0, ddof=1)),
        ("downside_volatility_63", np.sqrt((np.minimum(RETURNS[-63:], 0) ** 2).mean(axis=0))),
        ("max_return_21", RETURNS[-21:].max(axis=0)),
        ("distance_to_high_252", CLOSE[-1] / CLOSE[-252:].max(axis=0) - 1),
        ("age_of_high_252", (251 - CLOSE[-252:].argmax(axis=0)) / 252),
        ("bollinger_z_20", (CLOSE[-1] - CLOSE[-20:].mean(axis=0)) / CLOSE[-20:].std(axis=0, ddof=1)),
        ("drawdown_252", (1 - CLOSE[-252:] / np.maximum.accumulate(CLOSE[-252:], axis=0)).max(axis=0)),
        ("beta_252", [np.polyfit(MARKET[-252:], RETURNS[-252:, column], 1)[0] for column in range(4)]),
        ("correlation_63", [np.corrcoef(MARKET[-63:], RETURNS[-63:, column])[0, 1] for column in range(4)]),
    ],
)
def test_value_is_the_plain_definition(name, expected):
    np.testing.assert_allclose(last(name), expected, rtol=1e-9)


def test_residual_momentum_is_the_residual_of_a_least_squares_line():
    slope, intercept = np.polyfit(MARKET[-504:], RETURNS[-504:, 2], 1)
    residual = (RETURNS[-504:, 2] - intercept - slope * MARKET[-504:])[-252:-21]
    assert last("residual_momentum")[2] == pytest.approx(residual.mean() / residual.std(ddof=1), rel=1e-8)


def test_skewness_is_the_third_standardized_moment():
    window = RETURNS[-63:]
    gap = window - window.mean(axis=0)
    np.testing.assert_allclose(last("skewness_63"), (gap**3).mean(axis=0) / (gap**2).mean(axis=0) ** 1.5, rtol=1e-9)


def test_seasonality_is_the_mean_of_the_months_that_followed_this_point_of_past_years():
    panel = close_only(noisy_panel(n_sessions=1300))
    months = [panel.close[-1 - 252 * year + 21] / panel.close[-1 - 252 * year] - 1 for year in range(1, 6)]
    np.testing.assert_allclose(last("seasonality", panel), np.mean(months, axis=0), rtol=1e-9)


def test_volatility_regime_is_the_rank_of_todays_market_volatility():
    volatility = np.array([MARKET[stop - 21 : stop].std() for stop in range(len(MARKET) - 503, len(MARKET) + 1)])
    np.testing.assert_allclose(last("realized_volatility_regime"), np.full(4, (volatility <= volatility[-1]).mean()))


def test_rsi_is_near_wilders_recursion_and_bounded():
    change = RETURNS[:, 0]
    gain, loss = np.maximum(change[:14], 0).mean(), np.maximum(-change[:14], 0).mean()
    for step in change[14:]:
        gain, loss = (gain * 13 + max(step, 0)) / 14, (loss * 13 + max(-step, 0)) / 14
    assert last("rsi_14")[0] == pytest.approx(100 * gain / (gain + loss), abs=0.01)
    assert last("rsi_14", rows_of(np.linspace(10, 20, 200)))[0] == 100.0
    assert np.isnan(last("rsi_14", rows_of(np.full(200, 10.0)))[0])


def test_macd_is_near_its_recursion():
    def exponential(series, span):
        out = [series[0]]
        for value in series[1:]:
            out.append(out[-1] + 2 / (span + 1) * (value - out[-1]))
        return np.array(out)

    line = exponential(CLOSE[:, 1], 12) - exponential(CLOSE[:, 1], 26)
    expected = (line - exponential(line, 9))[-1] / CLOSE[-1, 1]
    assert last("macd")[1] == pytest.approx(expected, abs=1e-5)


def test_volume_and_range_features_are_their_plain_definitions():
    panel = noisy_panel(n_sessions=60, price_kind=PriceKind.SPLIT_ADJUSTED)
    returns = panel.close[1:] / panel.close[:-1] - 1
    dollars = panel.close * panel.volume
    np.testing.assert_allclose(last("amihud_illiquidity_21", panel), (np.abs(returns)[-21:] / dollars[-21:] * 1e6).mean(axis=0))
    volume = panel.volume[-21:]
    np.testing.assert_allclose(last("volume_z_21", panel), (volume[-1] - volume.mean(axis=0)) / volume.std(axis=0, ddof=1))
    overnight = panel.open[1:] / panel.close[:-1] - 1
    np.testing.assert_allclose(last("overnight_return_21", panel), overnight[-21:].mean(axis=0))
    log_range = np.log(panel.high / panel.low)[-21:]
    np.testing.assert_allclose(last("parkinson_volatility_21", panel), np.sqrt((log_range**2).mean(axis=0) / (4 * math.log(2))))


def test_volume_before_a_split_counts_in_the_shares_of_today():
    panel = noisy_panel(n_sessions=40, n_symbols=1)
    panel.volume[:] = 100.0
    panel.split_ratios[:] = 1.0
    panel.split_ratios[-1] = 2.0
    panel.volume[-1] = 200.0
    assert np.isnan(last("volume_z_21", panel)[0])  # the same share of the company: no variation at all


def test_log_ratio_is_the_logarithm():
    ratio = np.array([1.0, 1.001, 1.05, 1.3, 1.5])
    np.testing.assert_allclose(kernels.log_ratio(ratio, np.ones(5)), np.log(ratio), rtol=1e-13, atol=1e-16)


def test_the_market_is_the_mean_of_the_names_that_traded():
    returns = np.array([[0.01, np.nan, 0.03], [np.nan, np.nan, np.nan]])
    np.testing.assert_array_equal(kernels.market_returns(returns), [[0.02], [np.nan]])


def test_weights_add_to_one_and_fall():
    weights = kernels.ema_weights(12, 100)
    assert sum(weights) == pytest.approx(1.0)
    assert all(newer > older for newer, older in itertools.pairwise(weights))


@pytest.mark.parametrize("shape", [(504, 1, 1), (504, 1, 2), (63, 7, 3), (252, 40, 1), (21, 1, 500), (130, 33, 20), (2, 1, 1), (1, 4, 4)])
@pytest.mark.parametrize("memory_order", ["C", "F"])
def test_sums_are_taken_in_order_whatever_the_shape_and_memory(shape, memory_order):
    stack = np.asarray(np.random.default_rng(3).standard_normal(shape), order=memory_order)
    total = stack[0]
    for value in stack[1:]:
        total = total + value
    np.testing.assert_array_equal(kernels.ordered_sum(stack), total)
