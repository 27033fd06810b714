"""What the fixtures of Alpaca say, and how its payloads may go wrong: as in cases.py, a line a data set."""

from __future__ import annotations

from datetime import date

from hedgefund_dagster.sources.http.declaration import Scope
from tests.contract.vendors.cases import SECRET, Case, Change

APPLE_AND_MICROSOFT = Scope(names=("AAPL", "MSFT"), since=date(2020, 8, 1), until=date(2020, 11, 30))
ALPACA = {"ALPACA_API_KEY": SECRET, "ALPACA_SECRET_KEY": SECRET}

ALPACA_CASES = (
    *(
        Case(
            vendor="alpaca",
            dataset=f"bars_{feed}",
            scope=APPLE_AND_MICROSOFT,
            env=ALPACA,
            rows=4,
            expected=(
                {
                    "symbol": "AAPL",
                    "session": "2020-08-28",
                    "open": 504.05,
                    "close": 499.23,
                    "adj_close": None,
                    "ts": "2020-08-28T20:00:00Z",
                    "source": f"alpaca_{feed}",
                },
                {"symbol": "AAPL", "session": "2020-11-27", "ts": "2020-11-27T18:00:00Z", "known_at": "2020-11-27T18:15:00Z"},
                {"symbol": "MSFT", "session": "2020-11-27", "volume": 14512236.0, "known_at_basis": "assumed"},
            ),
            wrong=(
                Change(old='"MSFT": [', new='"GOOG": [', named="bars"),
                Change(old="2020-08-28T04:00:00Z", new="2020-08-28T13:30:00Z", named="t"),
            ),
            renamed=(
                Change(old='"bars"', new='"data"', named="bars"),
                Change(old='"c":', new='"close":', named="c"),
                Change(old='"t":', new='"time":', named="t"),
                Change(old='"next_page_token"', new='"next"', named="next_page_token"),
            ),
            retyped=(
                Change(old='"c": 499.23', new='"c": "n/a"', named="].c"),
                Change(old='"c": 499.23', new='"c": "nan"', named="`c`"),
                Change(old="2020-08-28T04:00:00Z", new="28 Aug", named="].t"),
                Change(old="2020-08-28T04:00:00Z", new="2020-08-28T04:00:00", named="`t`"),
            ),
        )
        for feed in ("sip", "iex")
    ),
    Case(
        vendor="alpaca",
        dataset="corporate_actions",
        scope=APPLE_AND_MICROSOFT,
        env=ALPACA,
        rows=3,
        expected=(
            {"symbol": "AAPL", "session": "2020-08-07", "kind": "dividend", "value": 0.82, "source": "alpaca"},
            {"symbol": "AAPL", "session": "2020-08-31", "kind": "split", "value": 4.0},
            {"symbol": "MSFT", "session": "2020-09-08", "kind": "split", "value": 1.05},
        ),
        wrong=(Change(old='"symbol": "MSFT"', new='"symbol": "GOOG"', named="symbol"),),
        renamed=(
            Change(old='"corporate_actions"', new='"actions"', named="corporate_actions"),
            Change(old='"ex_date"', new='"exdate"', named="ex_date"),
            Change(old='"old_rate"', new='"from"', named="old_rate"),
            Change(old='"rate"', new='"cash"', named="rate"),
        ),
        retyped=(
            Change(old='"old_rate": 1', new='"old_rate": 0', named="old_rate"),
            Change(old='"rate": 0.82', new='"rate": "a dime"', named="rate"),
            Change(old='"rate": 0.82', new='"rate": "nan"', named="rate"),
            Change(old='"ex_date": "2020-08-07"', new='"ex_date": null', named="ex_date"),
        ),
    ),
    Case(
        vendor="alpaca",
        dataset="calendar",
        scope=APPLE_AND_MICROSOFT,
        env=ALPACA,
        rows=3,
        expected=(
            {"exchange": "XNYS", "session": "2020-08-28", "opens_at": "2020-08-28T13:30:00Z", "closes_at": "2020-08-28T20:00:00Z"},
            {
                "session": "2020-11-27",
                "opens_at": "2020-11-27T14:30:00Z",
                "closes_at": "2020-11-27T18:00:00Z",
                "known_at_basis": "observed",
            },
        ),
        wrong=(Change(old='"date": "2020-08-28"', new='"date": "2019-08-28"', named="date"),),
        renamed=(Change(old='"close"', new='"closes"', named="close"), Change(old='"date"', new='"day"', named="date")),
        retyped=(
            Change(old='"close": "13:00"', new='"close": "1 pm"', named="close"),
            Change(old='"open": "09:30"', new='"open": 930', named="open"),
            Change(old='"date": "2020-08-28"', new='"date": "28 Aug"', named="date"),
        ),
    ),
    Case(
        vendor="alpaca",
        dataset="assets",
        scope=APPLE_AND_MICROSOFT,
        env=ALPACA,
        rows=2,
        expected=(
            {
                "symbol": "AAPL",
                "instrument_id": "b0b6dd9d-8b9b-48a9-ba46-b9d54906e415",
                "name": "Apple Inc. Common Stock",
                "exchange": "NASDAQ",
                "known_at_basis": "observed",
            },
            {"symbol": "BRK.B", "exchange": "NYSE"},
        ),
        wrong=(Change(old='"status": "active"', new='"status": "inactive"', named="status"),),
        renamed=(Change(old='"symbol"', new='"ticker"', named="symbol"), Change(old='"id"', new='"asset_id"', named="id")),
        retyped=(Change(old='"exchange": "NYSE"', new='"exchange": ["NYSE"]', named="exchange"),),
    ),
    Case(
        vendor="alpaca",
        dataset="news",
        scope=APPLE_AND_MICROSOFT,
        env=ALPACA,
        rows=3,
        expected=(
            {
                "article_id": "24843171",
                "symbol": "MSFT",
                "ts": "2020-08-28T13:31:00Z",
                "known_at": "2020-08-28T15:02:11Z",
                "known_at_basis": "vendor",
                "publisher": "benzinga",
            },
            {"article_id": "24850000", "symbol": "AAPL", "author": None, "summary": None, "url": None},
        ),
        wrong=(Change(old='["AAPL", "TSLA"]', new='["GOOG", "TSLA"]', named="symbols"),),
        renamed=(
            Change(old='"news"', new='"articles"', named="news"),
            Change(old='"updated_at"', new='"edited_at"', named="updated_at"),
            Change(old='"symbols"', new='"tickers"', named="symbols"),
        ),
        retyped=(
            Change(old='"created_at": "2020-08-28T13:31:00Z"', new='"created_at": "yesterday"', named="created_at"),
            Change(old='"created_at": "2020-08-28T13:31:00Z"', new='"created_at": "2020-08-28T13:31:00"', named="created_at"),
            Change(old='"id": 24843171', new='"id": "first"', named="id"),
        ),
    ),
)
