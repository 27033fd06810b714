import numpy as np
import pytest

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import PriceKind, from_long
from tests.builders import close_only, noisy_panel


def test_extend_appends_and_keeps_the_last_rows():
    panel = noisy_panel(n_sessions=20)
    joined = panel.rows(0, 12).extend(panel.rows(12, 20))
    np.testing.assert_array_equal(joined.close, panel.close)
    np.testing.assert_array_equal(joined.sessions, panel.sessions)
    kept = panel.rows(0, 12).extend(panel.rows(12, 20), keep=5)
    np.testing.assert_array_equal(kept.volume, panel.volume[-5:])
    assert kept.shape == (5, 4)


def test_extend_refuses_the_past_other_symbols_and_other_fields():
    panel = noisy_panel(n_sessions=20)
    with pytest.raises(DataInvalid, match="strictly increasing"):
        panel.rows(0, 12).extend(panel.rows(11, 20))
    with pytest.raises(DataInvalid, match="other symbols"):
        panel.rows(0, 12).extend(noisy_panel(n_sessions=20, n_symbols=3).rows(12, 20))
    closes = close_only(panel)
    opens = noisy_panel(n_sessions=20, price_kind=PriceKind.TOTAL_RETURN)
    with pytest.raises(DataInvalid, match="field open"):
        closes.rows(0, 12).extend(opens.rows(12, 20))


def test_from_long_places_rows_of_any_order_and_leaves_absent_cells_nan():
    sessions = np.array(["2001-01-03", "2001-01-02", "2001-01-02"], dtype="datetime64[D]")
    columns = {"close": np.array([3.0, 1.0, 2.0]), "volume": np.array([30.0, 10.0, 20.0])}
    panel = from_long(sessions, ["B", "A", "B"], columns, price_kind=PriceKind.RAW)
    assert panel.symbols == ("A", "B")
    np.testing.assert_array_equal(panel.close, [[1.0, 2.0], [np.nan, 3.0]])
    np.testing.assert_array_equal(panel.field("volume"), [[10.0, 20.0], [np.nan, 30.0]])
    assert panel.open is None
    ordered = from_long(sessions, ["B", "A", "B"], columns, price_kind=PriceKind.RAW, column_order=["B", "A", "C"])
    assert ordered.symbols == ("B", "A", "C")
    assert np.isnan(ordered.close[:, 2]).all()


@pytest.mark.parametrize(
    ("symbols", "columns", "order", "message"),
    [
        (["A", "A"], {"close": np.ones(2)}, None, "twice"),
        (["A", "B"], {"open": np.ones(2)}, None, "no close"),
        (["A", "B"], {"close": np.ones(2)}, ["A"], "outside the panel: B"),
    ],
)
def test_from_long_refuses(symbols, columns, order, message):
    sessions = np.array(["2001-01-02", "2001-01-02"], dtype="datetime64[D]")
    with pytest.raises(DataInvalid, match=message):
        from_long(sessions, symbols, columns, price_kind=PriceKind.RAW, column_order=order)
