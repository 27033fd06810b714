"""Eight planted leaks, each caught; and every registered feature clean on random and on real prices."""

import numpy as np
import pytest

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant import labels, point_in_time
from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.quant.features import FEATURES, audit, compute_features, default_specs, kernels
from hedgefund_core.quant.features.audit import AuditedKernel, LookAheadCheck
from tests.builders import close_only, noisy_panel, skfolio_panel


def centred_mean(panel):
    mean = np.full(panel.shape, np.nan)
    mean[2:-2] = kernels.over_windows(kernels.ordered_mean, 5, panel.close, rows=panel.shape[0])
    return mean


def full_sample_z_score(panel):
    returns = kernels.returns_of(panel)
    return (returns - np.nanmean(returns, axis=0)) / np.maximum(np.nanstd(returns, axis=0), 1e-9)


def back_filled_return(panel):
    close = panel.close.copy()
    for row in range(len(close) - 2, -1, -1):
        close[row] = np.where(np.isnan(close[row]), close[row + 1], close[row])
    return np.concatenate([np.full((1, panel.shape[1]), np.nan), close[1:] / close[:-1] - 1.0])


def shifted_by_minus_one(panel):
    returns = kernels.returns_of(panel)
    return np.concatenate([returns[1:], np.full((1, panel.shape[1]), np.nan)])


def price_adjusted_by_all_splits(panel):
    after = np.cumprod(panel.split_ratios[::-1], axis=0)[::-1] / panel.split_ratios
    return panel.close / after


def target_encoded_name(panel):
    """The mean future return of each name over the sample, worn by the name as a feature."""
    future = labels.forward_returns(panel, 1, demean=False).values if panel.shape[0] > 2 else np.full(panel.shape, np.nan)
    known = ~np.isnan(future)
    mean = np.where(known, future, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.broadcast_to(mean, panel.shape)


PLANTED = {
    "centred window": (centred_mean, 5),
    "full-sample z-score": (full_sample_z_score, 2),
    "back-fill": (back_filled_return, 2),
    "shift(-1)": (shifted_by_minus_one, 2),
    "future split factor": (price_adjusted_by_all_splits, 1),
    "target encoding": (target_encoded_name, 3),
}


@pytest.mark.parametrize("leak", PLANTED)
@pytest.mark.parametrize("hole_share", [0.0, 0.02])
def test_a_planted_leak_in_a_feature_is_found(leak, hole_share):
    kernel, warm_up = PLANTED[leak]
    panel = noisy_panel(hole_share=hole_share)
    subject = AuditedKernel(name=leak, warm_up=warm_up, kernel=kernel)
    found = audit.audit_feature(panel, kernel(panel), subject)
    checks = {finding.check for finding in found}
    assert LookAheadCheck.FUTURE in checks
    for finding in found:
        assert finding.subject == leak
        assert finding.symbol in panel.symbols
        assert finding.session in panel.sessions
        assert finding.seen != finding.known
        assert leak in str(finding)


@pytest.mark.parametrize("leak", ["back-fill", "future split factor"])
def test_a_leak_is_found_even_where_the_data_have_neither_gaps_nor_splits(leak):
    kernel, warm_up = PLANTED[leak]
    panel = noisy_panel()
    panel.split_ratios[:] = 1.0
    found = audit.audit_feature(panel, kernel(panel), AuditedKernel(name=leak, warm_up=warm_up, kernel=kernel))
    assert [finding.check for finding in found] == [LookAheadCheck.FUTURE]


def test_a_late_restatement_is_found_by_its_times_and_by_the_as_of_read():
    panel = noisy_panel(n_sessions=6, n_symbols=1)
    ts = panel.sessions.astype("datetime64[us]") + np.timedelta64(21, "h")
    used_at = ts + np.timedelta64(15, "m")
    known_at, values = used_at.copy(), panel.close[:, 0].copy()
    # The restated close of the third session is published a year later, and the table was read without asking when.
    restated = np.append(values, values[2] * 1.1)
    rows = point_in_time.Versions(
        instrument_id=np.full(7, "S0"),
        ts=np.append(ts, ts[2]),
        known_at=np.append(known_at, ts[2] + np.timedelta64(365, "D")),
        recorded_at=np.append(known_at, ts[2] + np.timedelta64(365, "D")),
    )
    latest = point_in_time.as_of(rows, known_by=np.datetime64("2100-01-01"))
    cells = {"instruments": panel.symbols, "ts": ts}
    as_used = point_in_time.as_of_values(rows, restated, latest, **cells)
    then = point_in_time.as_of(rows, known_by=np.append(used_at, used_at[2]))
    as_known = point_in_time.as_of_values(rows, restated, then, **cells)

    by_times = audit.audit_restatement(
        "bars",
        symbols=rows.instrument_id[latest],
        ts=rows.ts[latest],
        known_at=rows.known_at[latest],
        used_at=used_at,
        values=restated[latest],
    )
    by_value = audit.audit_as_of(as_used, as_known, panel)
    assert [finding.check for finding in by_times + by_value] == [LookAheadCheck.RESTATEMENT] * 2
    assert {finding.session for finding in by_times + by_value} == {panel.sessions[2]}
    assert by_value[0].seen == values[2] * 1.1
    assert by_value[0].known == values[2]
    assert audit.audit_as_of(as_known, as_known, panel) == []


def test_a_same_bar_fill_is_found_and_a_next_session_fill_is_not():
    decided = np.array(["2001-01-02", "2001-01-03"], dtype="datetime64[D]")
    prices = np.array([10.0, 11.0])
    same = audit.audit_fills(["A", "B"], decided=decided, filled=np.array([decided[0] + 1, decided[1]]), prices=prices)
    assert [(finding.check, finding.symbol, finding.seen) for finding in same] == [(LookAheadCheck.SAME_BAR_FILL, "B", 11.0)]
    assert audit.audit_fills(["A", "B"], decided=decided, filled=decided + 1, prices=prices) == []


def test_a_split_factor_applied_before_it_was_effective_is_found():
    when = np.array(["2001-01-02", "2003-02-18"], dtype="datetime64[D]")
    effective = np.array(["2003-02-18", "2003-02-18"], dtype="datetime64[D]")
    found = audit.audit_split_factors(
        "close", symbols=["MSFT", "MSFT"], applied_from=when, effective=effective, ratios=np.array([2.0, 2.0])
    )
    assert [(finding.check, finding.session) for finding in found] == [(LookAheadCheck.SPLIT_FACTOR, when[0])]
    assert (
        audit.audit_split_factors("close", symbols=["MSFT"], applied_from=when[1:], effective=effective[1:], ratios=np.array([2.0])) == []
    )


def test_labels_that_start_on_the_decided_bar_are_found():
    panel = noisy_panel(n_sessions=60)
    good = labels.forward_returns(panel, 5)
    assert audit.audit_labels(panel, good.values, start=good.start, end=good.end) == []
    found = audit.audit_labels(panel, good.values, start=good.start - 1, end=good.end - 1)
    assert [(finding.check, finding.session) for finding in found] == [(LookAheadCheck.LABEL, panel.sessions[0])]


def test_a_feature_that_needs_more_rows_than_it_states_is_found():
    panel = noisy_panel()
    feature = FEATURES["momentum_3_1"]
    subject = AuditedKernel(name="short", warm_up=40, kernel=lambda bars: feature.values(bars, feature.params))
    found = audit.audit_feature(panel, subject.kernel(panel), subject)
    assert {finding.check for finding in found} == {LookAheadCheck.WINDOW}


def test_tampered_values_of_a_clean_feature_are_found_at_their_cell():
    panel = noisy_panel()
    values = compute_features(panel, ["reversal_5"]).values[:, :, 0].copy()
    values[50, 2] += 1e-15
    found = audit.audit_feature(panel, values, "reversal_5")
    assert (found[0].check, found[0].session, found[0].symbol) == (LookAheadCheck.PREFIX, panel.sessions[50], "S2")


def test_values_of_another_shape_are_refused():
    panel = noisy_panel()
    with pytest.raises(DataInvalid, match="shape"):
        audit.audit_feature(panel, panel.close[:-1], "reversal_5")


@pytest.mark.parametrize("name", sorted(FEATURES))
@pytest.mark.parametrize(("price_kind", "n_symbols", "hole_share"), [(PriceKind.RAW, 3, 0.001), (PriceKind.SPLIT_ADJUSTED, 1, 0.0)])
def test_every_registered_feature_is_clean_on_noise(name, price_kind, n_symbols, hole_share):
    panel = noisy_panel(n_sessions=700, n_symbols=n_symbols, price_kind=price_kind, hole_share=hole_share)
    params = {"years": 2} if name == "seasonality" else {}  # five years would not fit in the panel
    spec = FEATURES[name].spec(params)
    values = compute_features(panel, [spec]).values[:, :, 0]
    assert np.isfinite(values).any() or (n_symbols == 1 and name == "residual_momentum")  # one name is its own market
    assert audit.audit_feature(panel, values, spec) == []


def test_every_feature_of_the_real_prices_is_clean():
    panel = skfolio_panel(last_sessions=2000)
    if panel is None:  # the bundled data are an extra; the noise above has tried every feature
        assert close_only(noisy_panel()).volume is None
        return
    specs = default_specs(panel, longest_warm_up=1261)
    assert len(specs) >= 20
    values = compute_features(panel, specs).values
    for column, spec in enumerate(specs):
        assert audit.audit_feature(panel, values[:, :, column], spec, cuts=[1270, 1990]) == []
        assert np.isfinite(values[-1, :, column]).all()
