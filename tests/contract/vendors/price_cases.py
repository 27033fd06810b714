"""What the fixtures of the price vendors say, and how their payloads may go wrong: as in cases.py, a line a data set."""

from __future__ import annotations

from datetime import date

from hedgefund_dagster.sources.http.declaration import Scope
from tests.contract.vendors.cases import SECRET, Case, Change

APPLE = Scope(names=("AAPL",), since=date(2020, 8, 1), until=date(2020, 11, 30))
APPLE_AND_MICROSOFT = Scope(names=("AAPL", "MSFT"), since=date(2020, 8, 1), until=date(2020, 11, 30))
ALPACA = {"ALPACA_API_KEY": SECRET, "ALPACA_SECRET_KEY": SECRET}
MASSIVE = {"MASSIVE_API_KEY": SECRET}
ALPHA_VANTAGE = {"ALPHA_VANTAGE_API_KEY": SECRET}
TIINGO = {"TIINGO_API_KEY": SECRET}

PRICE_CASES = (
    Case(
        vendor="tiingo",
        dataset="bars",
        scope=APPLE,
        env=TIINGO,
        rows=5,
        expected=(
            {
                "symbol": "AAPL",
                "session": "2020-08-28",
                "open": 504.05,
                "close": 499.23,
                "adj_close": 122.5738,
                "ts": "2020-08-28T20:00:00Z",
                "known_at": "2020-08-28T20:15:00Z",
                "known_at_basis": "assumed",
            },
            {"session": "2020-08-31", "close": 129.04, "volume": 225702688.0},
            {"session": "2020-11-27", "ts": "2020-11-27T18:00:00Z", "volume": 46691331.0},
        ),
        wrong=(Change(old="2020-08-28T00", new="2019-08-28T00", named="date"),),
        renamed=(
            Change(old='"close"', new='"last"', named="close"),
            Change(old='"adjClose"', new='"adjustedClose"', named="adjClose"),
            Change(old='"volume"', new='"vol"', named="volume"),
            Change(old='"date"', new='"day"', named="date"),
        ),
        retyped=(
            Change(old='"close": 499.23', new='"close": "n/a"', named="close"),
            Change(old='"close": 499.23', new='"close": {"usd": 499.23}', named="close"),
            Change(old='"close": 499.23', new='"close": "inf"', named="close"),
            Change(old='"2020-08-28T00:00:00.000Z"', new='"28 Aug 2020"', named="date"),
        ),
    ),
    Case(
        vendor="tiingo",
        dataset="corporate_actions",
        twin=True,
        scope=APPLE,
        env=TIINGO,
        rows=2,
        expected=(
            {"symbol": "AAPL", "session": "2020-08-07", "kind": "dividend", "value": 0.82, "ts": "2020-08-07T20:00:00Z"},
            {"session": "2020-08-31", "kind": "split", "value": 4.0, "known_at": "2020-08-31T20:15:00Z"},
        ),
        wrong=(Change(old="2020-08-31T00", new="2021-08-31T00", named="date"),),
        renamed=(
            Change(old='"divCash"', new='"dividend"', named="divCash"),
            Change(old='"splitFactor"', new='"split"', named="splitFactor"),
        ),
        retyped=(
            Change(old='"splitFactor": 4.0', new='"splitFactor": "4:1"', named="splitFactor"),
            Change(old='"splitFactor": 4.0', new='"splitFactor": -4.0', named="split"),
            Change(old='"divCash": 0.82', new='"divCash": null', named="divCash"),
        ),
    ),
    Case(
        vendor="yahoo",
        dataset="bars",
        scope=APPLE,
        rows=5,
        expected=(
            {
                "symbol": "AAPL",
                "session": "2020-08-28",
                "open": 504.05,
                "close": 499.23,
                "volume": 46907500.0,
                "adj_close": 121.19,
                "ts": "2020-08-28T20:00:00Z",
            },
            {"session": "2020-08-31", "close": 129.04, "volume": 225702700.0},
            {"session": "2020-11-27", "ts": "2020-11-27T18:00:00Z", "known_at": "2020-11-27T18:15:00Z"},
        ),
        wrong=(
            Change(old='"symbol": "AAPL"', new='"symbol": "MSFT"', named="symbol"),
            Change(old='"dataGranularity": "1d"', new='"dataGranularity": "1wk"', named="dataGranularity"),
            Change(old='"numerator": 4.0', new='"numerator": -4.0', named="numerator"),
        ),
        renamed=(
            Change(old='"close"', new='"last"', named="close"),
            Change(old='"adjclose": [110', new='"adjusted": [110', named="adjclose"),
            Change(old='"exchangeTimezoneName"', new='"tz"', named="exchangeTimezoneName"),
            Change(old='"numerator"', new='"new"', named="numerator"),
        ),
        retyped=(
            Change(old="124.8075027466", new='"n/a"', named="close"),
            Change(old="124.8075027466", new='"nan"', named="close"),
            Change(old="124.8075027466,", new="", named="close"),
            Change(old="America/New_York", new="America/Gotham", named="exchangeTimezoneName"),
            Change(old="1598621400,", new='"28 Aug",', named="timestamp"),
        ),
    ),
    Case(
        vendor="yahoo",
        dataset="corporate_actions",
        twin=True,
        scope=APPLE,
        rows=2,
        expected=(
            {"symbol": "AAPL", "session": "2020-08-07", "kind": "dividend", "value": 0.82, "currency": "USD"},
            {"session": "2020-08-31", "kind": "split", "value": 4.0, "currency": None},
        ),
        wrong=(Change(old='"symbol": "AAPL"', new='"symbol": "MSFT"', named="symbol"),),
        renamed=(Change(old='"amount"', new='"cash"', named="amount"),),
        retyped=(
            Change(old='"amount": 0.205', new='"amount": "a dime"', named="amount"),
            Change(old='"amount": 0.205', new='"amount": -0.205', named="dividend"),
        ),
    ),
    Case(
        vendor="massive",
        dataset="bars",
        scope=APPLE,
        env=MASSIVE,
        rows=3,
        expected=(
            {"symbol": "AAPL", "session": "2020-08-28", "open": 504.05, "close": 499.23, "adj_close": None, "ts": "2020-08-28T20:00:00Z"},
            {"session": "2020-08-31", "close": 129.04, "volume": 225702688.0},
            {"session": "2020-11-27", "ts": "2020-11-27T18:00:00Z", "volume": 46691331.0, "known_at_basis": "assumed"},
        ),
        wrong=(
            Change(old='"ticker": "AAPL"', new='"ticker": "MSFT"', named="ticker"),
            Change(old='"adjusted": false', new='"adjusted": true', named="adjusted"),
        ),
        renamed=(
            Change(old='"results":', new='"bars":', named="results"),
            Change(old='"c":', new='"close":', named="c"),
            Change(old='"t":', new='"time":', named="t"),
            Change(old='"adjusted"', new='"unadjusted"', named="adjusted"),
        ),
        retyped=(
            Change(old='"c": 499.23', new='"c": "n/a"', named="$.results[0].c"),
            Change(old='"c": 499.23', new='"c": "inf"', named="`c`"),
            Change(old='"t": 1598587200000', new='"t": "2020-08-28"', named="$.results[0].t"),
            Change(old='"t": 1598587200000', new='"t": 159858720000000000', named="`t`"),
        ),
    ),
    Case(
        vendor="massive",
        dataset="bars_1h",
        scope=Scope(names=("AAPL",), since=date(2020, 11, 27), until=date(2020, 11, 27)),
        env=MASSIVE,
        rows=2,
        expected=(
            {"symbol": "AAPL", "resolution": "1h", "ts": "2020-11-27T15:00:00Z", "known_at": "2020-11-27T15:15:00Z", "trade_count": 9120},
            {"ts": "2020-11-27T18:00:00Z", "volume": 51230.0, "session": "2020-11-27"},
        ),
        wrong=(
            Change(old='"ticker": "AAPL"', new='"ticker": "MSFT"', named="ticker"),
            Change(old='"adjusted": false', new='"adjusted": true', named="adjusted"),
            Change(old="1606485600000", new="1606485601000", named="t"),
        ),
        renamed=(Change(old='"o":', new='"open":', named="o"), Change(old='"t":', new='"time":', named="t")),
        retyped=(
            Change(old='"vw": 116.71', new='"vw": "inf"', named="`vw`"),
            Change(old='"l": 116.51', new='"l": null', named="$.results[0].l"),
        ),
        twin=False,
    ),
    Case(
        vendor="massive",
        dataset="bars_1m",
        scope=Scope(names=("AAPL",), since=date(2020, 11, 27), until=date(2020, 11, 27)),
        env=MASSIVE,
        rows=2,
        expected=(
            {"symbol": "AAPL", "resolution": "1m", "ts": "2020-11-27T14:31:00Z", "vwap": 116.65, "source": "massive"},
            {"ts": "2020-11-27T18:00:00Z", "vwap": None, "trade_count": None, "volume": 812.5},
        ),
        wrong=(
            Change(old='"ticker": "AAPL"', new='"ticker": "MSFT"', named="ticker"),
            Change(old='"adjusted": false', new='"adjusted": true', named="adjusted"),
            Change(old="1606487340000", new="1606487341000", named="t"),
        ),
        renamed=(Change(old='"o":', new='"open":', named="o"), Change(old='"t":', new='"time":', named="t")),
        retyped=(
            Change(old='"vw": 116.71', new='"vw": "inf"', named="`vw`"),
            Change(old='"l": 116.51', new='"l": null', named="$.results[0].l"),
        ),
        twin=True,
    ),
    Case(
        vendor="massive",
        dataset="corporate_actions",
        scope=APPLE,
        env=MASSIVE,
        rows=2,
        expected=(
            {"symbol": "AAPL", "session": "2020-08-07", "kind": "dividend", "value": 0.82, "currency": "USD"},
            {"session": "2020-08-31", "kind": "split", "value": 4.0, "ts": "2020-08-31T20:00:00Z", "known_at": "2020-08-31T20:15:00Z"},
        ),
        wrong=(Change(old='"ticker": "AAPL"', new='"ticker": "MSFT"', named="ticker"),),
        renamed=(
            Change(old='"split_to"', new='"to"', named="split_to"),
            Change(old='"execution_date"', new='"ex_date"', named="execution_date"),
            Change(old='"cash_amount"', new='"amount"', named="cash_amount"),
            Change(old='"results"', new='"splits"', named="results"),
        ),
        retyped=(
            Change(old='"split_from": 1', new='"split_from": 0', named="split_from"),
            Change(old='"split_to": 4', new='"split_to": "four"', named="split_to"),
            Change(old='"cash_amount": 0.82', new='"cash_amount": "nan"', named="cash_amount"),
            Change(old='"2020-08-07"', new='"7 Aug"', named="ex_dividend_date"),
        ),
    ),
    Case(
        vendor="alpha_vantage",
        dataset="bars",
        scope=APPLE,
        env=ALPHA_VANTAGE,
        rows=4,
        expected=(
            {
                "symbol": "AAPL",
                "session": "2020-08-28",
                "open": 504.05,
                "close": 499.23,
                "adj_close": 121.187,
                "ts": "2020-08-28T20:00:00Z",
            },
            {"session": "2020-11-27", "ts": "2020-11-27T18:00:00Z", "known_at": "2020-11-27T18:15:00Z", "volume": 46691331.0},
        ),
        wrong=(Change(old='"2. Symbol": "AAPL"', new='"2. Symbol": "MSFT"', named="2. Symbol"),),
        renamed=(
            Change(old="Time Series (Daily)", new="Daily Series", named="Time Series (Daily)"),
            Change(old="4. close", new="4. last", named="4. close"),
            Change(old="6. volume", new="5. volume", named="6. volume"),
        ),
        retyped=(
            Change(old='"499.23"', new='"n/a"', named="float"),
            Change(old='"499.23"', new='"inf"', named="close"),
            Change(old='"2020-08-28":', new='"28 Aug 2020":', named="date"),
        ),
    ),
    Case(
        vendor="alpha_vantage",
        dataset="corporate_actions",
        twin=True,
        scope=APPLE,
        env=ALPHA_VANTAGE,
        rows=2,
        expected=(
            {"symbol": "AAPL", "session": "2020-08-07", "kind": "dividend", "value": 0.82},
            {"session": "2020-08-31", "kind": "split", "value": 4.0},
        ),
        wrong=(Change(old='"2. Symbol": "AAPL"', new='"2. Symbol": "MSFT"', named="2. Symbol"),),
        renamed=(
            Change(old="7. dividend amount", new="7. dividend", named="7. dividend amount"),
            Change(old="8. split coefficient", new="8. split", named="8. split coefficient"),
        ),
        retyped=(Change(old='"4.0"', new='"4:1"', named="float"), Change(old='"4.0"', new='"-4.0"', named="split")),
    ),
)
