"""What each vendor's fixtures say, and how its payloads may go wrong: a line for each vendor of the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from hedgefund_dagster.sources.http.declaration import Scope


@dataclass(frozen=True, kw_only=True)
class Change:
    """Text in the payload that is replaced, and the word by which the error must name it."""

    old: str
    new: str
    named: str


@dataclass(frozen=True, kw_only=True)
class Case:
    vendor: str
    dataset: str
    scope: Scope
    rows: int
    expected: tuple[Mapping[str, object], ...]
    """Rows that must be there; times as RFC 3339."""
    wrong: tuple[Change, ...]
    """Another symbol, series or data set than the one asked for."""
    renamed: tuple[Change, ...]
    retyped: tuple[Change, ...]
    settings: Mapping[str, object] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    twin: bool = False
    """The same end point and reader as another case: what a server may do wrong is tried on that one."""

    @property
    def name(self) -> str:
        return f"{self.vendor}-{self.dataset}"


SECRET = "canary0123456789abcdef0123456789"
YEAR_2024 = Scope(since=date(2024, 1, 1), until=date(2024, 12, 31))

CASES = (
    Case(
        vendor="cboe_vix",
        dataset="bars",
        scope=YEAR_2024,
        rows=5,
        expected=(
            {
                "symbol": "VIX",
                "session": "2018-02-05",
                "high": 38.8,
                "close": 37.32,
                "ts": "2018-02-05T21:15:00Z",
                "known_at": "2018-02-05T21:30:00Z",
            },
            {
                "symbol": "VIX",
                "session": "2024-07-03",
                "open": 12.06,
                "volume": None,
                "ts": "2024-07-03T20:15:00Z",
                "known_at_basis": "assumed",
            },
        ),
        wrong=(),  # the file names no symbol
        renamed=(Change(old="CLOSE", new="LAST", named="CLOSE"), Change(old="DATE,", new="TRADE DATE,", named="DATE")),
        retyped=(
            Change(old="12.060000", new="n/a", named="OPEN"),
            Change(old="07/03/2024", new="2024-07-03", named="DATE"),
            Change(old="38.800000", new="inf", named="HIGH"),
        ),
    ),
    Case(
        vendor="us_treasury",
        dataset="par_yields",
        scope=Scope(since=date(2024, 3, 1), until=date(2025, 1, 2)),
        rows=26,
        expected=(
            {
                "series_id": "BC_10YEAR",
                "period": "2024-07-03",
                "value": 4.36,
                "ts": "2024-07-03T19:30:00Z",
                "known_at": "2024-07-03T22:00:00Z",
                "unit": "percent a year",
            },
            {
                "series_id": "BC_1MONTH",
                "period": "2024-12-02",
                "value": 4.75,
                "ts": "2024-12-02T20:30:00Z",
                "known_at": "2024-12-02T23:00:00Z",
            },
        ),
        wrong=(
            Change(old="DailyTreasuryYieldCurveRateData</title>", new="DailyTreasuryBillRateData</title>", named="title"),
            Change(old="2024-12-02T00:00:00", new="1999-12-02T00:00:00", named="NEW_DATE"),
        ),
        renamed=(
            Change(old="BC_10YEAR", new="BC_TENYEAR", named="BC_10YEAR"),
            Change(old="NEW_DATE", new="RATE_DATE", named="NEW_DATE"),
            Change(old="m:properties", new="m:values", named="properties"),
            Change(old="entry>", new="item>", named="item"),
        ),
        retyped=(
            Change(old=">4.36<", new=">high<", named="BC_10YEAR"),
            Change(old="2024-07-03T00:00:00", new="07/03/2024", named="NEW_DATE"),
        ),
    ),
    Case(
        vendor="fred",
        dataset="series",
        scope=Scope(names=("GNPCA",), since=date(2020, 1, 1), until=date(2024, 12, 31)),
        env={"FRED_API_KEY": SECRET},
        rows=5,
        expected=(
            {
                "series_id": "GNPCA",
                "period": "2020-01-01",
                "value": 18509.143,
                "ts": "2020-01-02T06:00:00Z",
                "known_at": "2023-03-31T05:00:00Z",
                "known_at_basis": "vendor",
                "unit": "Billions of Chained 2017 Dollars",
            },
            {"series_id": "GNPCA", "period": "2020-01-01", "value": 20234.074, "known_at": "2023-09-29T05:00:00Z"},
            {"series_id": "GNPCA", "period": "2021-01-01", "value": None, "known_at": "2023-03-31T05:00:00Z"},
        ),
        wrong=(Change(old='"id": "GNPCA"', new='"id": "GDP"', named="id"),),
        renamed=(
            Change(old='"value"', new='"obs_value"', named="value"),
            Change(old='"vintage_dates"', new='"dates"', named="vintage_dates"),
            Change(old='"units": "Billions', new='"unit": "Billions', named="units"),
            Change(old='"count"', new='"total"', named="count"),
        ),
        retyped=(
            Change(old='"21407.692"', new='"n/a"', named="value"),
            Change(old='"21407.692"', new='["21407.692"]', named="value"),
            Change(old='"date": "2021-01-01"', new='"date": "first of 2021"', named="date"),
        ),
    ),
    Case(
        vendor="sec_edgar",
        dataset="fundamentals",
        scope=Scope(names=("AAPL",), since=date(2009, 1, 1), until=date(2024, 12, 31)),
        settings={"user_agent": "A Tester tester@example.org"},
        rows=5,
        expected=(
            {
                "symbol": "AAPL",
                "cik": 320193,
                "concept": "EarningsPerShareDiluted",
                "unit": "USD/shares",
                "period_start": "2012-09-30",
                "period_end": "2013-09-28",
                "value": 39.75,
                "known_at": "2013-10-31T02:00:00Z",
                "accession": "0001193125-13-416534",
                "fiscal_period": "FY",
            },
            {"concept": "EarningsPerShareDiluted", "period_end": "2013-09-28", "value": 5.68, "known_at": "2014-10-28T02:00:00Z"},
            {"taxonomy": "dei", "concept": "EntityCommonStockSharesOutstanding", "period_start": None, "value": 5864840000.0},
            {"concept": "Assets", "fiscal_year": None, "fiscal_period": None, "form": "10-K", "value": 231839000000.0},
        ),
        wrong=(Change(old='"cik": 320193', new='"cik": 789019', named="cik"),),
        renamed=(
            Change(old='"filed"', new='"filing_date"', named="filed"),
            Change(old='"val"', new='"value"', named="val"),
            Change(old='"cik_str"', new='"cik"', named="cik_str"),
            Change(old='"units"', new='"unit"', named="units"),
            Change(old='"fy"', new='"fiscalYear"', named="fy"),
        ),
        retyped=(
            Change(old='"val": 6.45', new='"val": {"amount": 6.45}', named="val"),
            Change(old='"filed": "2013-10-30"', new='"filed": "30 Oct 2013"', named="filed"),
            Change(old='"val": 6.45', new='"val": "NaN"', named="val"),
        ),
    ),
    Case(
        vendor="sec_edgar",
        dataset="instruments",
        scope=YEAR_2024,
        settings={"user_agent": "A Tester tester@example.org"},
        rows=3,
        expected=(
            {"symbol": "AAPL", "instrument_id": "CIK0000320193", "name": "Apple Inc.", "exchange": None},
            {"symbol": "BRK.B", "instrument_id": "CIK0001067983"},
        ),
        wrong=(),  # the list is of everybody
        renamed=(Change(old='"ticker"', new='"symbol"', named="ticker"),),
        retyped=(Change(old="320193", new='"none"', named="cik_str"),),
    ),
    Case(
        vendor="gdelt",
        dataset="news",
        scope=YEAR_2024,
        settings={"queries": {"AAPL": '"Apple Inc"'}},
        rows=4,
        expected=(
            {
                "topic": "AAPL",
                "query": '"Apple Inc"',
                "measure": "volume",
                "resolution": "day",
                "value": 0.0231,
                "ts": "2024-01-03T00:00:00Z",
                "known_at": "2024-01-03T00:15:00Z",
            },
            {"measure": "volume", "value": 0.0198, "ts": "2024-01-04T00:00:00Z"},
            {"measure": "tone", "value": -1.4023, "ts": "2024-01-03T00:00:00Z"},
        ),
        wrong=(
            Change(old=r"\"Apple Inc\"", new=r"\"Apple Records\"", named="title"),
            Change(old="Volume Intensity", new="Article Count", named="series"),
        ),
        renamed=(
            Change(old='"timeline"', new='"lines"', named="timeline"),
            Change(old='"value"', new='"v"', named="value"),
            Change(old='"date_resolution"', new='"resolution"', named="date_resolution"),
        ),
        retyped=(
            Change(old="0.0231", new='"many"', named="value"),
            Change(old="20240103T000000Z", new="2024-01-03", named="date"),
            Change(old='"date_resolution": "day"', new='"date_resolution": "week"', named="date_resolution"),
        ),
    ),
)
