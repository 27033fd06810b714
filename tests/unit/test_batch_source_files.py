"""Bring your own data: what is wrong is named by file, row and column; nothing is made up."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hedgefund_core.configuration import FilesSettings
from hedgefund_core.errors import DataInvalid
from hedgefund_core.quant.bars import PriceKind
from hedgefund_dagster.sources.files import Files
from tests.builders import price_rows, write_price_folder

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def read(folder, **settings):
    source = Files(FilesSettings(folder=str(folder), **settings))
    return source.bars({payload.dataset: payload for payload in source.fetch(NOW)})


def refused(folder, **settings):
    with pytest.raises(DataInvalid) as caught:
        read(folder, **settings)
    assert caught.value.exit_code == 4
    assert caught.value.mend
    return caught.value.message


def test_a_folder_of_csv_is_read(tmp_path):
    bars = read(write_price_folder(tmp_path / "p", price_rows()))
    assert len(np.unique(bars.symbol)) == 8
    assert np.isnan(bars.fields["volume"]).all()
    assert bars.ts is None


def test_csv_and_parquet_say_the_same(tmp_path):
    rows = price_rows()
    csv = read(write_price_folder(tmp_path / "csv", rows))
    (tmp_path / "parquet").mkdir()
    symbol, day, close = zip(*rows, strict=True)
    table = pa.table({"symbol": symbol, "date": np.array(day, dtype="datetime64[D]"), "close": close})
    pq.write_table(table, tmp_path / "parquet" / "prices.parquet")
    parquet = read(tmp_path / "parquet")
    assert np.array_equal(csv.fields["close"], parquet.fields["close"])
    assert np.array_equal(csv.session, parquet.session)
    assert np.array_equal(csv.symbol, parquet.symbol)


def test_times_with_an_offset_become_sessions_of_the_configured_zone(tmp_path):
    rows = [(symbol, f"{day}T21:00:00-05:00", close) for symbol, day, close in price_rows()]
    bars = read(write_price_folder(tmp_path / "p", rows, header="symbol,ts,close"))
    assert str(bars.session[0]) == "2018-01-01"
    assert bars.ts is not None
    assert str(bars.ts[0]) == "2018-01-02T02:00:00.000000"


@pytest.mark.parametrize("moment", ["{day}T00:00:00", "{day}"])
def test_a_time_without_a_zone_is_refused(tmp_path, moment):
    rows = [(symbol, moment.format(day=day), close) for symbol, day, close in price_rows()]
    said = refused(write_price_folder(tmp_path / "p", rows, header="symbol,ts,close"))
    assert "prices.csv: row 1, column `ts`" in said
    assert "no time zone" in said


def test_a_market_that_never_closes_counts_its_days_in_utc(tmp_path):
    rows = [(symbol, f"{day}T00:00:00Z", close) for symbol, day, close in price_rows()]
    bars = read(write_price_folder(tmp_path / "p", rows, header="symbol,ts,close"), calendar="24/7")
    assert str(bars.session[0]) == "2018-01-01"


def test_files_whose_stored_names_would_be_the_same_are_refused(tmp_path):
    folder = write_price_folder(tmp_path / "p", price_rows())
    (folder / "my prices.csv").write_text("symbol,date,close\n")
    (folder / "my_prices.csv").write_text("symbol,date,close\n")
    assert "my prices.csv and my_prices.csv" in refused(folder)


@pytest.mark.parametrize("folder", ["", "missing"])
def test_no_folder(tmp_path, folder):
    assert "folder" in refused(tmp_path / folder if folder else "")


def test_an_empty_folder(tmp_path):
    assert "holds no .csv" in refused(tmp_path)


def test_an_empty_file_and_a_broken_one(tmp_path):
    assert "no rows" in refused(write_price_folder(tmp_path / "a", []))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.parquet").write_bytes(b"nonsense")
    assert "b/x.parquet" in refused(tmp_path / "b")


@pytest.mark.parametrize(
    ("header", "named"), [("ticker,date,close", "symbol"), ("symbol,day,close", "date"), ("symbol,date,price", "close")]
)
def test_a_missing_column_names_file_and_column(tmp_path, header, named):
    message = refused(write_price_folder(tmp_path / "p", price_rows(), header=header))
    assert "p/prices.csv" in message
    assert f"`{named}`" in message


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (("S0", "31.12.2019", 1.0), "`date`"),
        (("S0", "2019-02-30", 1.0), "`date`"),
        (("", "2019-02-01", 1.0), "`symbol`"),
        (("S0", "2019-02-01", "ten"), "`close`"),
    ],
)
def test_an_unreadable_cell_names_file_row_and_column(tmp_path, row, named):
    rows = price_rows()
    rows.insert(5, row)
    message = refused(write_price_folder(tmp_path / "p", rows))
    assert "p/prices.csv: row 6" in message
    assert named in message


def test_empty_and_nan_cells_are_absent_not_zero(tmp_path):
    rows = price_rows()
    rows[3] = (rows[3][0], rows[3][1], "NaN")
    rows[4] = (rows[4][0], rows[4][1], "")
    assert np.isnan(read(write_price_folder(tmp_path / "p", rows)).fields["close"][3:5]).all()


def test_too_few_symbols_and_too_short_a_history_say_what_is_missing(tmp_path):
    assert "1 are missing" in refused(write_price_folder(tmp_path / "a", price_rows(n_symbols=7)))
    message = refused(write_price_folder(tmp_path / "b", price_rows(n_sessions=900)))
    assert "3 years and 250 sessions" in message
    assert "are missing" in message


def test_a_small_panel_that_is_long_enough_is_accepted(tmp_path):
    assert len(read(write_price_folder(tmp_path / "p", price_rows(n_sessions=1040))).session) == 8 * 1040


def test_raw_prices_with_adjusted_closes_yield_derived_actions(tmp_path):
    rows = [(s, d, c, c / 2.0 if d < "2019-01-01" else c) for s, d, c in price_rows()]
    folder = write_price_folder(tmp_path / "p", rows, header="symbol,date,close,adj_close")
    source = Files(FilesSettings(folder=str(folder), price_kind=PriceKind.RAW.value))
    actions = source.corporate_actions({payload.dataset: payload for payload in source.fetch(NOW)})
    assert actions is not None
    assert set(actions.kind.tolist()) == {"split"}
    assert len(actions.value) == 8
    adjusted = Files(FilesSettings(folder=str(folder)))
    assert adjusted.corporate_actions({}) is None
