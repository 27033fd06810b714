"""What the fixtures of Alpaca say, and how its payloads may go wrong: as in cases.py, a line a data set."""

from __future__ import annotations

from datetime import date

from hedgefund_dagster.sources.http.declaration import Scope
from tests.contract.vendors.cases import SECRET, Case, Change

APPLE_AND_MICROSOFT = Scope(names=("AAPL", "MSFT"), since=date(2020, 8, 1), until=date(2020, 11, 30))
ALPACA = {"ALPACA_API_KEY": SECRET, "ALPACA_SECRET_KEY": SECRET}

HALF_DAY = Scope(names=("AAPL", "MSFT"), since=date(2020, 11, 27), until=date(2020, 11, 27))

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
            twin=feed == "iex",
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
    Case(
        vendor="alpaca",
        dataset="symbol_changes",
        scope=Scope(names=("META", "FB"), since=date(2020, 8, 1), until=date(2024, 11, 30)),
        env=ALPACA,
        rows=2,
        expected=(
            {
                "instrument_id": "30303M102",
                "symbol": "FB",
                "valid_from": "2016-01-04",
                "valid_until": "2022-06-08",
                "successor": "30303M102",
                "event": "renamed",
            },
            {
                "symbol": "META",
                "valid_from": "2022-06-09",
                "valid_until": None,
                "known_at": "2022-06-10T04:00:00Z",
                "known_at_basis": "assumed",
            },
        ),
        wrong=(
            Change(
                old='"old_symbol": "FB", "old_cusip": "74347G861", "new_symbol": "FB"',
                new='"old_symbol": "GOOG", "old_cusip": "x", "new_symbol": "GOOGL"',
                named="old_symbol",
            ),
        ),
        renamed=(
            Change(old='"corporate_actions"', new='"actions"', named="corporate_actions"),
            Change(old='"old_cusip"', new='"cusip"', named="old_cusip"),
            Change(old='"process_date"', new='"date"', named="process_date"),
        ),
        retyped=(
            Change(old='"2022-06-09"', new='"9 June"', named="process_date"),
            Change(old='"new_symbol": "META"', new='"new_symbol": null', named="new_symbol"),
        ),
    ),
    *(
        case
        for feed, delay in (("sip", "15"), ("iex", "01"))
        for case in (
            Case(
                vendor="alpaca",
                dataset=f"bars_1h_{feed}",
                scope=HALF_DAY,
                env=ALPACA,
                rows=3,
                expected=(
                    {
                        "symbol": "AAPL",
                        "resolution": "1h",
                        "session": "2020-11-27",
                        "ts": "2020-11-27T15:00:00Z",
                        "known_at": f"2020-11-27T15:{delay}:00Z",
                        "open": 116.6,
                        "vwap": 116.881,
                        "trade_count": 81234,
                        "source": f"alpaca_{feed}",
                    },
                    {"symbol": "AAPL", "ts": "2020-11-27T18:00:00Z", "volume": 9871200.0},
                    {"symbol": "MSFT", "ts": "2020-11-27T15:00:00Z", "close": 215.8},
                ),
                wrong=(
                    Change(old='"MSFT": [', new='"GOOG": [', named="bars"),
                    Change(old="2020-11-27T17:00:00Z", new="2020-11-27T17:30:00Z", named="t"),
                ),
                renamed=(
                    Change(old='"c":', new='"close":', named="c"),
                    Change(old='"next_page_token"', new='"next"', named="next_page_token"),
                ),
                retyped=(
                    Change(old='"c": 116.9,', new='"c": "n/a",', named="].c"),
                    Change(old='"vw": 116.65', new='"vw": "nan"', named="`vw`"),
                    Change(old='"n": 60511', new='"n": 0.5', named="].n"),
                ),
                twin=feed == "iex",
            ),
            Case(
                vendor="alpaca",
                dataset=f"bars_1m_{feed}",
                scope=HALF_DAY,
                env=ALPACA,
                rows=3,
                expected=(
                    {"symbol": "AAPL", "resolution": "1m", "ts": "2020-11-27T14:31:00Z", "open": 116.57, "known_at_basis": "assumed"},
                    {"symbol": "AAPL", "ts": "2020-11-27T18:00:00Z", "close": 116.59},
                    {"symbol": "MSFT", "ts": "2020-11-27T14:32:00Z", "volume": 51230.0},
                ),
                wrong=(Change(old="2020-11-27T17:59:00Z", new="2020-11-27T17:59:30Z", named="t"),),
                renamed=(Change(old='"bars"', new='"data"', named="bars"), Change(old='"v":', new='"volume":', named="v")),
                retyped=(
                    Change(old='"o": 116.57', new='"o": "inf"', named="`o`"),
                    Change(old='"o": 116.57', new='"o": null', named="].o"),
                ),
                twin=feed == "iex",
            ),
            Case(
                vendor="alpaca",
                dataset=f"quotes_{feed}",
                scope=HALF_DAY,
                env=ALPACA,
                rows=4,
                expected=(
                    {
                        "symbol": "AAPL",
                        "resolution": "tick",
                        "sequence": 0,
                        "bid": 116.91,
                        "bid_size": 5.0,
                        "ask": 116.93,
                        "ask_size": 2.0,
                        "source": f"alpaca_{feed}",
                    },
                    {"symbol": "AAPL", "sequence": 1, "ask_size": 1.0},
                    {"bid": 116.9, "ask": None, "ask_size": None, "session": "2020-11-27"},
                    {"symbol": "MSFT", "ts": "2020-11-27T17:30:01Z", "known_at": f"2020-11-27T17:{30 + int(delay)}:01Z"},
                ),
                wrong=(Change(old='"MSFT": [', new='"GOOG": [', named="quotes"),),
                renamed=(
                    Change(old='"quotes"', new='"data"', named="quotes"),
                    Change(old='"as":', new='"size":', named="as"),
                    Change(old='"bp":', new='"bid":', named="bp"),
                ),
                retyped=(
                    Change(old='"bp": 116.9,', new='"bp": "nan",', named="`bp`"),
                    Change(old="2020-11-27T15:00:07.5Z", new="2020-11-27T15:00:07.5", named="`t`"),
                ),
                twin=feed == "iex",
            ),
            Case(
                vendor="alpaca",
                dataset=f"trades_{feed}",
                scope=HALF_DAY,
                env=ALPACA,
                rows=3,
                expected=(
                    {"symbol": "AAPL", "sequence": 0, "price": 116.92, "size": 100.0, "exchange": "V", "conditions": "@"},
                    {"symbol": "AAPL", "sequence": 1, "price": 116.93, "conditions": "@I"},
                    {"symbol": "MSFT", "size": 30.5, "ts": "2020-11-27T17:30:09Z"},
                ),
                wrong=(Change(old='"MSFT": [', new='"GOOG": [', named="trades"),),
                renamed=(Change(old='"trades"', new='"data"', named="trades"), Change(old='"p":', new='"price":', named="p")),
                retyped=(
                    Change(old='"s": 30.5', new='"s": "inf"', named="`s`"),
                    Change(old='"p": 215.39', new='"p": {"usd": 215.39}', named="].p"),
                    Change(old='"i": 55512', new='"i": "first"', named="].i"),
                ),
                twin=feed == "iex",
            ),
        )
    ),
)
