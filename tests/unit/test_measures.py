"""Measures against independent libraries and closed forms."""

import math
from itertools import combinations

import numpy as np
import pytest
import skfolio.measures as reference
from scipy import stats

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant import measures
from hedgefund_core.quant.measures import Track

YEAR = 252.0


def track(seed=1, n=1500, mean=0.0004, spread=0.01):
    return mean + spread * np.random.default_rng(seed).standard_t(5, size=n) / math.sqrt(5 / 3)


SERIES = [track(seed) for seed in range(4)] + [track(9, mean=-0.001), track(10, n=40)]


@pytest.mark.parametrize("returns", SERIES)
def test_ratios_equal_skfolio(returns):
    deviation = reference.standard_deviation(returns)
    downside = reference.semi_deviation(returns, min_acceptable_return=0.0, biased=True)
    assert measures.sharpe_ratio(returns).value == pytest.approx(reference.mean(returns) / deviation * math.sqrt(YEAR), rel=1e-10)
    assert measures.sortino_ratio(returns).value == pytest.approx(reference.mean(returns) / downside * math.sqrt(YEAR), rel=1e-10)
    assert measures.volatility(returns).value == pytest.approx(deviation * math.sqrt(YEAR), rel=1e-10)
    growth = measures.annual_return(returns).value
    assert growth == pytest.approx(np.prod(1.0 + returns) ** (YEAR / len(returns)) - 1.0, rel=1e-9)
    worst = measures.max_drawdown(measures.equity_curve(returns)).value
    assert worst == pytest.approx(reference.max_drawdown(reference.get_drawdowns(returns, compounded=True)), rel=1e-10)
    assert measures.calmar_ratio(returns).value == pytest.approx(growth / worst)


@pytest.mark.parametrize("returns", SERIES)
def test_tails_equal_skfolio_and_their_definitions(returns):
    assert measures.conditional_value_at_risk(returns).value == pytest.approx(reference.cvar(returns, beta=0.95), rel=1e-9)
    assert measures.value_at_risk(returns).value == pytest.approx(-np.quantile(returns, 0.05))
    normal = stats.norm(returns.mean(), returns.std(ddof=1))
    assert measures.value_at_risk(returns, method="parametric").value == pytest.approx(-normal.ppf(0.05), rel=1e-9)
    expected_tail = -normal.expect(lambda x: x, ub=normal.ppf(0.05)) / 0.05
    assert measures.conditional_value_at_risk(returns, method="parametric").value == pytest.approx(expected_tail, rel=1e-6)


def test_the_tail_mean_is_beyond_the_quantile_and_its_interval_covers_it():
    returns = track()
    at_risk = measures.value_at_risk(returns, level=0.99)
    assert at_risk.low < at_risk.value < at_risk.high
    for method in ("historical", "parametric", "ewma"):
        quantile, tail = (f(returns, level=0.99, method=method).value for f in (measures.value_at_risk, measures.conditional_value_at_risk))
        assert tail > quantile > 0


def test_ewma_weighs_the_recent_past():
    calm_then_wild = np.r_[np.full(100, 0.001), np.full(10, 0.05)]
    assert measures.ewma_volatility(calm_then_wild) > 4 * measures.ewma_volatility(calm_then_wild[::-1])
    assert measures.ewma_volatility(np.full(50, 0.02)) == pytest.approx(0.02)


@pytest.mark.parametrize("returns", SERIES)
@pytest.mark.parametrize("benchmark", [0.0, 0.05])
def test_probability_of_skill_equals_skfolio(returns, benchmark):
    # skfolio takes bias-free skew and kurtosis of its own; on these lengths the difference stays small.
    ours = measures.probabilistic_sharpe_ratio(returns, benchmark=benchmark * math.sqrt(YEAR)).value
    assert ours == pytest.approx(reference.probabilistic_sharpe_ratio(returns, benchmark), abs=2e-3)


def test_expected_maximum_equals_skfolio_and_simulation():
    for n in (2, 5, 10, 100):
        assert measures.expected_maximum_sharpe(n, 0.25) == pytest.approx(max(0, reference.expected_max_sharpe_ratio(n, 0.5)), rel=1e-10)
    draws = np.random.default_rng(1).normal(size=(20_000, 50)).max(axis=1).mean()
    assert measures.expected_maximum_sharpe(50, 1.0) == pytest.approx(draws, rel=0.02)
    assert measures.expected_maximum_sharpe(1, 1.0) == measures.expected_maximum_sharpe(1.2, 1.0) == 0.0


def test_deflated_equals_skfolio_when_all_trials_are_independent():
    returns, trials = track(), np.random.default_rng(2).normal(0, 0.03, size=12)
    ours = measures.deflated_sharpe_ratio(returns, trial_sharpes=trials * math.sqrt(YEAR), effective_trials=12).value
    assert ours == pytest.approx(reference.deflated_sharpe_ratio(returns, trials), abs=2e-3)


def test_more_trials_make_the_same_track_worth_less():
    returns, trials = track(), np.linspace(-0.5, 0.5, 9)
    values = [measures.deflated_sharpe_ratio(returns, trial_sharpes=trials, effective_trials=n).value for n in (1, 3, 10, 100)]
    assert values == sorted(values, reverse=True)
    assert values[0] == measures.probabilistic_sharpe_ratio(returns).value
    alone = measures.deflated_sharpe_ratio(returns, trial_sharpes=np.zeros(1), effective_trials=50).value
    assert alone < values[0]


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    true = 0.5 / math.sqrt(YEAR)
    generator, covered = np.random.default_rng(3), 0
    for _ in range(400):
        measured = measures.sharpe_ratio(generator.normal(true, 1.0, size=1000) * 0.01)
        covered += measured.low <= 0.5 <= measured.high
    assert 0.92 <= covered / 400 <= 0.98


def test_the_bootstrap_interval_agrees_with_arch_and_its_seed():
    from arch.bootstrap import StationaryBootstrap

    returns = track(n=800)
    low, high = measures.bootstrap_interval(returns, measures.annual_sharpes, seed=1, draws=2000)
    assert (low, high) == measures.bootstrap_interval(returns, measures.annual_sharpes, seed=1, draws=2000)
    theirs = StationaryBootstrap(21, returns, seed=1).apply(lambda x: measures.annual_sharpes(x[None, :]), 2000)
    assert (low, high) == pytest.approx(tuple(np.quantile(theirs, [0.025, 0.975])), abs=0.15)


def test_bootstrap_blocks_are_runs_of_the_stated_mean_length():
    positions = measures.stationary_indices(500, 200, mean_block=10.0, generator=np.random.default_rng(1))
    breaks = (np.diff(positions, axis=1) % 500 != 1).mean()
    assert positions.min() >= 0
    assert positions.max() < 500
    assert breaks == pytest.approx(0.1, abs=0.01)


def test_beta_and_correlation_equal_scipy():
    market = track(4)
    returns = 0.7 * market + track(5)
    fit = stats.linregress(market, returns)
    ours = measures.beta(returns, market)
    assert ours.value == pytest.approx(fit.slope, rel=1e-10)
    assert ours.high - ours.value == pytest.approx(1.959964 * fit.stderr, rel=1e-5)
    linear = measures.correlation(returns, market)
    interval = stats.pearsonr(returns, market).confidence_interval(0.95)
    assert (linear.low, linear.high) == pytest.approx((interval.low, interval.high), rel=1e-8)
    assert measures.correlation(market, -market).value == -1.0


def test_information_coefficient_equals_scipy_session_by_session():
    generator = np.random.default_rng(6)
    scores, labels = np.round(generator.normal(size=(2, 40, 9)), 1)
    scores[generator.random(scores.shape) < 0.2] = np.nan
    got = measures.session_rank_correlations(scores, labels)
    for session in range(40):
        both = np.isfinite(scores[session])
        assert got[session] == pytest.approx(stats.spearmanr(scores[session][both], labels[session][both]).statistic, abs=1e-12)
    measured = measures.information_coefficient(scores, labels)
    assert measured.value == pytest.approx(got.mean())
    plain = stats.ttest_1samp(got, 0.0).statistic * math.sqrt(40 / 39)
    assert measures.t_statistic(scores, labels).value == pytest.approx(plain, rel=1e-9)


def test_overlapping_labels_widen_the_interval():
    generator = np.random.default_rng(7)
    shared = np.repeat(generator.normal(size=(60, 12)), 5, axis=0)
    labels = shared + 0.1 * generator.normal(size=shared.shape)
    scores = np.repeat(generator.normal(size=(60, 12)), 5, axis=0)
    plain, honest = (measures.information_coefficient(scores, labels, overlap=lags) for lags in (0, 4))
    assert honest.high - honest.low > 1.5 * (plain.high - plain.low)


def test_sessions_without_enough_names_or_spread_do_not_count():
    scores = np.array([[1.0, 2, np.nan, np.nan], [1, 1, 1, 1], [1, 2, 3, 4]])
    got = measures.session_rank_correlations(scores, np.array([[1.0, 2, 3, 4]] * 3))
    assert np.isnan(got[:2]).all()
    assert got[2] == pytest.approx(1.0)
    assert math.isnan(measures.information_coefficient(scores[:2], scores[:2]).value)


def test_win_rates_and_profit_factor_by_hand():
    returns = np.array([0.01, -0.02, 0.0, 0.03, 0.01])
    assert measures.win_rate(returns).value == 0.75
    assert measures.profit_factor(returns).value == pytest.approx(2.5)
    months = np.array(["2020-01-30", "2020-01-31", "2020-02-03", "2020-03-02", "2020-03-03"], dtype="datetime64[D]")
    monthly = measures.monthly_win_rate(returns, months)
    assert (monthly.value, monthly.n) == (0.5, 2)
    interval = stats.binomtest(3, 4).proportion_ci(method="wilson")
    assert (measures.win_rate(returns).low, measures.win_rate(returns).high) == pytest.approx((interval.low, interval.high))


def test_turnover_is_a_year_of_traded_notional():
    assert measures.turnover(np.array([1.5, 0, 0, 0, 0])).value == pytest.approx(0.3 * YEAR)
    with pytest.raises(DataInvalid, match="negative"):
        measures.turnover(np.array([-0.1, 0.2]))


def naive_overfitting(returns, blocks):
    """Bailey et al. (2017), written as in the paper: one split after the other."""
    parts, below, splits = np.array_split(returns, blocks), 0, 0
    for half in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[b] for b in half])
        outside = np.concatenate([parts[b] for b in range(blocks) if b not in half])
        best = int((inside.mean(axis=0) / inside.std(axis=0)).argmax())
        rank = stats.rankdata(outside.mean(axis=0) / outside.std(axis=0))[best]
        omega = rank / (returns.shape[1] + 1)
        below += math.log(omega / (1 - omega)) <= 1e-12
        splits += 1
    return below / splits


@pytest.mark.parametrize("trials", [2, 7, 10])
def test_overfitting_equals_the_papers_procedure(trials):
    returns = np.random.default_rng(trials).normal(0.0002, 0.01, size=(240, trials))
    assert measures.probability_of_backtest_overfitting(returns, blocks=8).value == pytest.approx(naive_overfitting(returns, 8))


def test_overfitting_tells_skill_from_luck():
    noise = np.random.default_rng(1).normal(0, 0.01, size=(1000, 20))
    skilled = noise.copy()
    skilled[:, 3] += 0.003
    assert measures.probability_of_backtest_overfitting(skilled).value < 0.01
    assert measures.probability_of_backtest_overfitting(noise).value > 0.2


def test_effective_trials_count_ideas_not_variants():
    generator = np.random.default_rng(2)
    ideas = generator.normal(size=(500, 3))
    variants = np.repeat(ideas, 4, axis=1) + 0.2 * generator.normal(size=(500, 12))
    assert measures.effective_number_of_trials(variants).value == 3
    assert measures.effective_number_of_trials(ideas).value == 3
    assert measures.effective_number_of_trials(np.repeat(ideas[:, :1], 5, axis=1)).value == 1
    still = np.c_[ideas, np.zeros(500)]
    assert measures.effective_number_of_trials(still).value == 4


def test_what_is_not_defined_is_nan_and_not_a_number():
    flat = np.full(10, 0.001)
    for measured in (
        measures.sharpe_ratio(flat),
        measures.probabilistic_sharpe_ratio(flat),
        measures.sortino_ratio(flat),
        measures.profit_factor(flat),
        measures.calmar_ratio(flat),
        measures.beta(track(n=10), np.zeros(10)),
        measures.win_rate(np.zeros(3)),
    ):
        assert math.isnan(measured.value)


@pytest.mark.parametrize("name", [name for name in measures.MEASURES if name not in {"beta", "correlation"}])
def test_a_gap_is_an_error_and_never_skipped(name):
    returns = track(n=30)
    returns[7] = np.nan
    sessions = np.datetime64("2020-01-01") + np.arange(30)
    with pytest.raises(DataInvalid, match="finite"):
        measures.MEASURES[name](Track(returns=returns, sessions=sessions, traded=returns))


def test_a_ruined_account_is_said():
    with pytest.raises(DataInvalid, match="ruined"):
        measures.max_drawdown(np.array([1.0, 0.5, -0.1]))


def test_all_measures_are_those_whose_inputs_exist():
    returns, sessions = track(n=300), np.datetime64("2020-01-01") + np.arange(300)
    without = measures.all_measures(Track(returns=returns, sessions=sessions))
    whole = measures.all_measures(Track(returns=returns, sessions=sessions, benchmark=track(3, n=300), traded=np.abs(returns)))
    assert set(measures.MEASURES) - set(without) == {"beta", "correlation", "turnover"}
    assert list(whole) == list(measures.MEASURES)
    for measured in whole.values():
        assert measured.definition
        assert measured.low is None or measured.low <= measured.value <= measured.high


@pytest.mark.parametrize(("sharpe", "too_good"), [(3.01, True), (3.0, False), (-5.0, False), (math.nan, False)])
def test_what_is_too_good_to_be_true(sharpe, too_good):
    assert measures.implausible(sharpe) is too_good
