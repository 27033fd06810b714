import numpy as np
import pytest

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.regime import Regime, by_regime, realized_volatility, volatility_regimes

GENERATOR = np.random.default_rng(1)
RETURNS = GENERATOR.normal(size=600) * np.repeat([0.01, 0.002, 0.04], 200)


def test_realized_volatility_is_the_window_and_nothing_else():
    got = realized_volatility(RETURNS, window=10)
    assert np.isnan(got[:9]).all()
    assert got[9] == pytest.approx(np.sqrt(np.mean(RETURNS[:10] ** 2) * 252))
    broken = RETURNS.copy()
    broken[100] = np.nan
    assert np.flatnonzero(np.isnan(realized_volatility(broken, window=10))[10:]).tolist() == list(range(90, 100))


def test_regimes_follow_volatility():
    regimes = volatility_regimes(RETURNS, window=10, history=150)
    assert (regimes[:158] == Regime.UNKNOWN).all()
    assert (regimes[220:330] == Regime.CALM).mean() > 0.6
    assert (regimes[412:450] == Regime.TURBULENT).mean() > 0.8


def test_the_future_changes_no_regime():
    other = RETURNS.copy()
    other[400:] = 5.0
    before, after = (volatility_regimes(one, window=10, history=150) for one in (RETURNS, other))
    assert (before[:400] == after[:400]).all()


def test_a_session_is_filed_under_the_regime_known_before_it():
    regimes = np.array([int(Regime.CALM), int(Regime.TURBULENT), int(Regime.CALM)])
    split = by_regime(np.array([1.0, 2.0, 3.0]), regimes)
    assert split[Regime.UNKNOWN].tolist() == [1.0]
    assert split[Regime.CALM].tolist() == [2.0]
    assert split[Regime.TURBULENT].tolist() == [3.0]


def test_short_series_are_unknown_and_bad_bounds_refused():
    assert (volatility_regimes(RETURNS[:100]) == Regime.UNKNOWN).all()
    for bad in ({"calm": 0.9}, {"window": 1}):
        with pytest.raises(DataInvalid):
            volatility_regimes(RETURNS, **bad)
    with pytest.raises(DataInvalid):
        by_regime(np.zeros(2), np.zeros(3, dtype=np.int64))
