"""What is particular to the price vendors: their pages, their refusals, the shares their prices are in."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest

from hedgefund_core.errors import DataInvalid, DataUnavailable
from tests.contract.vendors.bench import bench_of, changed_by
from tests.contract.vendors.cases import SECRET
from tests.contract.vendors.loopback import Fault, serving

# ---------------------------------------------------------------------------------------------------------------- yahoo


def test_yahoo_a_later_split_changes_no_stored_price(tmp_path):
    with serving("yahoo") as server:
        bench = bench_of("yahoo", "bars", server, tmp_path)
        before = {row["session"]: (row["close"], row["volume"]) for row in bench.rows().to_pylist()}

        def split_again(content):
            chart = content["chart"]["result"][0]
            chart["events"]["splits"]["1766068200"] = {"date": 1766068200, "numerator": 10.0, "denominator": 1.0, "splitRatio": "10:1"}
            quote = chart["indicators"]["quote"][0]
            for name in ("open", "high", "low", "close"):
                quote[name] = [None if value is None else value / 10.0 for value in quote[name]]
            quote["volume"] = [None if value is None else value * 10 for value in quote["volume"]]

        server.edit = changed_by(split_again)
        bench.clock.now = bench.clock.now.replace(hour=13)
        assert {row["session"]: (row["close"], row["volume"]) for row in bench.rows().to_pylist()} == before


def test_yahoo_is_asked_until_now_whatever_the_last_day_wanted(tmp_path):
    with serving("yahoo") as server:
        bench_of("yahoo", "bars", server, tmp_path).fetch()
        assert {seen.query["period2"] for seen in server.seen} == {"9999999999"}


def test_yahoo_days_of_nulls_and_the_open_session_are_no_bars(tmp_path):
    with serving("yahoo") as server:
        sessions = {row["session"] for row in bench_of("yahoo", "bars", server, tmp_path).rows().to_pylist()}
        assert date(2020, 11, 30) not in sessions
        assert date(2026, 1, 5) not in sessions


@pytest.mark.parametrize("columns", ["empty", "absent"])
def test_yahoo_a_chart_without_days_has_no_rows(tmp_path, columns):
    with serving("yahoo") as server:
        bench = bench_of("yahoo", "bars", server, tmp_path)

        def emptied(content):
            chart = content["chart"]["result"][0]
            del chart["timestamp"], chart["events"]
            named = ("open", "high", "low", "close", "volume") if columns == "empty" else ()
            adjusted = {"adjclose": []} if columns == "empty" else {}
            chart["indicators"] = {"quote": [{name: [] for name in named}], "adjclose": [adjusted]}

        server.edit = changed_by(emptied)
        assert bench.rows().num_rows == 0


def test_yahoo_no_chart_is_named(tmp_path):
    with serving("yahoo") as server:
        bench = bench_of("yahoo", "bars", server, tmp_path)
        server.edit = lambda _: b'{"chart": {"result": null, "error": {"code": "Not Found", "description": "No data found"}}}'
        with pytest.raises(DataInvalid, match="`result`"):
            bench.fetch()


# --------------------------------------------------------------------------------------------------------------- tiingo


def test_tiingo_no_days_are_no_rows(tmp_path):
    with serving("tiingo") as server:
        server.edit = lambda _: b"[]"
        assert bench_of("tiingo", "bars", server, tmp_path).rows().num_rows == 0


def test_tiingo_a_day_stated_twice_stands_once_and_two_versions_of_it_both_stand(tmp_path):
    with serving("tiingo") as server:
        bench = bench_of("tiingo", "bars", server, tmp_path)
        server.edit = changed_by(lambda days: days.append(days[0]))
        assert bench.rows().num_rows == bench.case.rows
        bench.clock.now += timedelta(hours=1)
        server.edit = changed_by(lambda days: days.append({**days[0], "close": 1.0}))
        assert bench.rows().num_rows == bench.case.rows + 1, "which of them is right is for validation to judge"


# -------------------------------------------------------------------------------------------------------- alpha_vantage


@pytest.mark.parametrize("field", ["Note", "Information", "Error Message"])
def test_alpha_vantage_words_with_status_200_are_a_refusal(tmp_path, field):
    with serving("alpha_vantage") as server:
        bench = bench_of("alpha_vantage", "bars", server, tmp_path)
        words = f"We have detected your API key as {SECRET} and our standard API rate limit is 25 requests per day."
        server.always = Fault(kind="status", body=json.dumps({field: words}).encode())
        with pytest.raises(DataUnavailable, match="25 requests per day") as caught:
            bench.fetch()
        assert SECRET not in caught.value.message
        assert caught.value.mend
        assert len(server.seen) == 1, "asking again would cost another of the day's requests"
        server.always = None
        assert bench.rows().num_rows == bench.case.rows, "the refusal was not kept"


# -------------------------------------------------------------------------------------------------------------- massive


def test_massive_reads_all_pages_and_the_key_stays_in_the_header(tmp_path):
    with serving("massive") as server:
        bench = bench_of("massive", "bars", server, tmp_path)
        server.edit = lambda body: body.replace(b"?cursor=", f"?apiKey={SECRET}&cursor=".encode())
        assert bench.rows().num_rows == bench.case.rows
        assert [seen.query.get("cursor") for seen in server.seen] == [None, "bGltaXQ9MiZzb3J0PWFzYw"]
        assert all("apiKey" not in seen.query and seen.headers["authorization"] == f"Bearer {SECRET}" for seen in server.seen)


@pytest.mark.parametrize("elsewhere", ["{0}.evil.example/x?", "http://127.0.0.1:1/x?", "//evil.example/?", "file:///etc/passwd?"])
def test_massive_a_next_page_elsewhere_is_not_asked_for(tmp_path, elsewhere):
    with serving("massive") as server:
        bench = bench_of("massive", "bars", server, tmp_path)
        target = elsewhere.format(server.url)
        server.edit = lambda body: body.replace(f'"next_url": "{server.url}'.encode(), f'"next_url": "{target}'.encode())
        with pytest.raises(DataInvalid, match="`next_url`"):
            bench.fetch()
        assert len(server.seen) == 1


def test_massive_endless_and_repeated_pages_end(tmp_path):
    with serving("massive") as server:
        bench = bench_of("massive", "bars", server, tmp_path)
        again = f"{server.url}/v2/aggs/ticker/AAPL/range/1/day/1598932800000/2020-11-30?cursor=bGltaXQ9MiZzb3J0PWFzYw"
        server.edit = lambda body: body.replace(b'"count": 1\n', f'"count": 1, "next_url": "{again}"\n'.encode())
        with pytest.raises(DataInvalid, match="points back"):
            bench.fetch()
        assert len(server.seen) == 2


def test_massive_no_results_are_no_rows(tmp_path):
    with serving("massive") as server:
        bench = bench_of("massive", "bars", server, tmp_path)
        server.edit = lambda _: b'{"ticker":"AAPL","queryCount":0,"resultsCount":0,"adjusted":false,"status":"OK","count":0}'
        assert bench.rows().num_rows == 0


def test_massive_two_payments_of_one_day_add_up_and_one_served_twice_counts_once(tmp_path):
    with serving("massive") as server:
        bench = bench_of("massive", "corporate_actions", server, tmp_path)

        def paid_twice(content):
            for row in [row for row in content["results"] if "cash_amount" in row]:
                content["results"] += [dict(row), {**row, "id": "special", "dividend_type": "SC", "cash_amount": 1.5}]

        server.edit = changed_by(paid_twice)
        found = {row["kind"]: row["value"] for row in bench.rows().to_pylist()}
        assert found == {"dividend": pytest.approx(2.32), "split": 4.0}
