import numpy as np
import pandas as pd
import polars as pl
import pytest

from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.point_in_time import Versions, as_of, as_of_frame, as_of_values


def moment(text):
    return np.datetime64(text, "us")


# Three sessions of A; the second was corrected a year later, and recorded late once more.
ROWS = {
    "instrument_id": ["A", "A", "A", "A", "B"],
    "ts": ["2020-01-02T21:00", "2020-01-03T21:00", "2020-01-03T21:00", "2020-01-06T21:00", "2020-01-03T21:00"],
    "known_at": ["2020-01-02T21:15", "2020-01-03T21:15", "2021-01-04T12:00", "2020-01-06T21:15", "2020-01-03T21:15"],
    "recorded_at": ["2020-01-02T22:00", "2020-01-03T22:00", "2021-01-04T13:00", "2020-01-06T22:00", "2020-01-05T22:00"],
}
CLOSE = np.array([1.0, 2.0, 2.5, 3.0, 7.0])


def versions():
    times = {name: np.array(ROWS[name], dtype="datetime64[us]") for name in ("ts", "known_at", "recorded_at")}
    return Versions(instrument_id=np.array(ROWS["instrument_id"]), **times)


@pytest.mark.parametrize(
    ("known_by", "recorded_by", "expected"),
    [
        ("2020-01-03T21:15", None, [1.0, 2.0, 7.0]),
        ("2020-01-03T21:14", None, [1.0]),
        ("2020-01-06T21:15", None, [1.0, 2.0, 3.0, 7.0]),
        ("2021-01-04T12:00", None, [1.0, 2.5, 3.0, 7.0]),
        ("2021-01-04T12:00", "2021-01-04T12:59", [1.0, 2.0, 3.0, 7.0]),
        ("2021-01-04T12:00", "2020-01-04T00:00", [1.0, 2.0]),
        ("2019-01-01T00:00", None, []),
    ],
)
def test_a_read_sees_the_greatest_version_of_its_moment(known_by, recorded_by, expected):
    pinned = None if recorded_by is None else moment(recorded_by)
    assert CLOSE[as_of(versions(), known_by=moment(known_by), recorded_by=pinned)].tolist() == expected


def test_the_order_of_the_table_does_not_matter():
    rows, order = versions(), np.array([4, 2, 0, 3, 1])
    turned = Versions(
        instrument_id=rows.instrument_id[order], ts=rows.ts[order], known_at=rows.known_at[order], recorded_at=rows.recorded_at[order]
    )
    known_by = moment("2022-01-01")
    assert CLOSE[order][as_of(turned, known_by=known_by)].tolist() == CLOSE[as_of(rows, known_by=known_by)].tolist()


def test_each_session_may_be_read_as_of_its_own_decision():
    rows = versions()
    decided = rows.ts + np.timedelta64(15, "m")
    ts = np.unique(rows.ts)
    values = as_of_values(rows, CLOSE, as_of(rows, known_by=decided), instruments=("A", "B", "C"), ts=ts)
    np.testing.assert_array_equal(values, [[1.0, np.nan, np.nan], [2.0, 7.0, np.nan], [3.0, np.nan, np.nan]])


def test_pandas_and_polars_frames_are_read_alike():
    columns = {**ROWS, "close": CLOSE}
    polars = pl.DataFrame(columns).with_columns(pl.col(["ts", "known_at", "recorded_at"]).str.to_datetime(time_unit="us"))
    pandas = pd.DataFrame(columns).astype(dict.fromkeys(("ts", "known_at", "recorded_at"), "datetime64[us]"))
    aware = pandas.assign(**{name: pandas[name].dt.tz_localize("UTC") for name in ("ts", "known_at", "recorded_at")})
    for frame in (polars, pandas, aware):
        assert as_of_frame(frame, known_by=moment("2020-01-06T21:15"))["close"].to_list() == [1.0, 2.0, 3.0, 7.0]
    with pytest.raises(DataInvalid, match="recorded_at"):
        as_of_frame(polars.drop("recorded_at"), known_by=moment("2020-01-06"))


def test_rows_without_their_times_are_refused():
    rows = versions()
    with pytest.raises(DataInvalid, match="known_at"):
        Versions(
            instrument_id=rows.instrument_id, ts=rows.ts, known_at=np.full(5, np.datetime64("NaT", "us")), recorded_at=rows.recorded_at
        )
    with pytest.raises(DataInvalid, match="lengths"):
        Versions(instrument_id=rows.instrument_id, ts=rows.ts[:2], known_at=rows.known_at, recorded_at=rows.recorded_at)
