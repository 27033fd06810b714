import numpy as np
import pytest

from hedgefund_core.errors import ConfigError, DataInvalid
from hedgefund_core.quant.bars import PriceKind
from hedgefund_core.quant.features.audit import altered_after
from hedgefund_core.quant.labels import cross_sectionally_demeaned, forward_returns
from tests.builders import close_only, noisy_panel


@pytest.mark.parametrize(("fill", "field"), [("next_close", "close"), ("next_open", "open")])
def test_a_label_is_the_return_from_the_fill_on(fill, field):
    panel = noisy_panel(n_sessions=40, price_kind=PriceKind.SPLIT_ADJUSTED)
    labels = forward_returns(panel, 5, fill=fill, demean=False)
    prices = panel.field(field)
    np.testing.assert_allclose(labels.values[10], prices[16] / prices[11] - 1)
    assert (labels.start[10], labels.end[10]) == (11, 16)
    assert np.isfinite(labels.values[33]).all()
    assert np.isnan(labels.values[34:]).all()


def test_labels_are_demeaned_across_names():
    panel = noisy_panel(n_sessions=40, hole_share=0.05)
    labels = forward_returns(panel, 3)
    means = np.array([row[~np.isnan(row)].mean() for row in labels.values[:36] if not np.isnan(row).all()])
    np.testing.assert_allclose(means, 0.0, atol=1e-15)


def test_a_session_with_one_name_has_no_label():
    np.testing.assert_array_equal(cross_sectionally_demeaned(np.array([[0.1, np.nan], [0.25, 0.75]])), [[np.nan, np.nan], [-0.25, 0.25]])


@pytest.mark.parametrize("fill", ["next_close", "next_open"])
def test_a_split_within_a_label_is_no_return(fill):
    raw = noisy_panel(n_sessions=40)
    shares = np.cumprod(raw.split_ratios, axis=0)
    whole = noisy_panel(n_sessions=40)
    for name in ("open", "close"):
        object.__setattr__(whole, name, getattr(raw, name) * shares)
    object.__setattr__(whole, "price_kind", PriceKind.SPLIT_ADJUSTED)
    np.testing.assert_allclose(
        forward_returns(raw, 6, fill=fill).values, forward_returns(whole, 6, fill=fill).values, rtol=1e-9, atol=1e-12
    )


def test_a_label_reads_nothing_after_its_end():
    panel = noisy_panel(n_sessions=60)
    labels = forward_returns(panel, 5, demean=False)
    altered = forward_returns(altered_after(panel, 30), 5, demean=False)
    ended = labels.end <= 30
    np.testing.assert_array_equal(labels.values[ended], altered.values[ended])
    assert not np.isclose(labels.values[25], altered.values[25]).any()


def test_short_panels_and_bad_prices_have_no_label():
    panel = noisy_panel(n_sessions=5, price_kind=PriceKind.SPLIT_ADJUSTED)
    assert np.isnan(forward_returns(panel, 5).values).all()
    panel.close[1, 0] = 0.0
    assert np.isnan(forward_returns(panel, 2, demean=False).values[0, 0])


def test_wrong_settings_are_refused():
    panel = close_only(noisy_panel(n_sessions=40))
    with pytest.raises(DataInvalid, match="open"):
        forward_returns(panel, 5, fill="next_open")
    with pytest.raises(ConfigError, match="same_close"):
        forward_returns(panel, 5, fill="same_close")
    with pytest.raises(ConfigError, match="horizon 0"):
        forward_returns(panel, 0)
