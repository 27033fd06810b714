"""What is particular to Alpaca: two hosts, two feeds, one token for the page after."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from hedgefund_core.configuration import SourcesSettings, VendorSettings
from hedgefund_core.errors import ConfigError, DataInvalid
from hedgefund_dagster.sources import open_vendor
from hedgefund_dagster.sources.http.access import access_of
from hedgefund_dagster.sources.http.declaration import Scope
from tests.contract.vendors.bench import bench_of, changed_by
from tests.contract.vendors.loopback import Fault, serving


def test_alpaca_asks_for_raw_bars_of_one_feed_and_reads_all_pages(tmp_path):
    with serving("alpaca") as server:
        for feed in ("sip", "iex"):
            server.seen.clear()
            bench = bench_of("alpaca", f"bars_{feed}", server, tmp_path / feed)
            assert set(bench.rows().column("source").to_pylist()) == {f"alpaca_{feed}"}, "feeds are sources of their own"
            assert {(seen.query["adjustment"], seen.query["feed"]) for seen in server.seen} == {("raw", feed)}
            assert [seen.query.get("page_token") for seen in server.seen] == [None, "QUFQTHxEfDE1OTg4NDY0MDA"]


def test_alpaca_an_empty_page_before_the_end_is_walked_past(tmp_path):
    with serving("alpaca") as server:
        bench = bench_of("alpaca", "bars_sip", server, tmp_path)
        server.edit = changed_by(lambda content: content.update(bars={}) if content["next_page_token"] else None)
        assert {(row["symbol"], str(row["session"])) for row in bench.rows().to_pylist()} == {
            ("AAPL", "2020-11-27"),
            ("MSFT", "2020-11-27"),
        }


def test_alpaca_overlapping_pages_give_each_bar_once(tmp_path):
    with serving("alpaca") as server:
        bench = bench_of("alpaca", "bars_sip", server, tmp_path)
        last = {"t": "2020-08-31T04:00:00Z", "o": 127.58, "h": 131, "l": 126, "c": 129.04, "v": 225702688, "n": 1682473, "vw": 128.677132}
        server.edit = changed_by(lambda content: None if content["next_page_token"] else content["bars"]["AAPL"].insert(0, last))
        assert bench.rows().num_rows == bench.case.rows


def test_alpaca_a_page_that_points_to_itself_ends(tmp_path):
    with serving("alpaca") as server:
        bench = bench_of("alpaca", "bars_sip", server, tmp_path)
        server.edit = changed_by(lambda content: content.update(next_page_token="QUFQTHxEfDE1OTg4NDY0MDA"))
        with pytest.raises(DataInvalid, match="points back"):
            bench.fetch()
        assert len(server.seen) == 2


def test_alpaca_nothing_at_all_is_no_rows(tmp_path):
    with serving("alpaca") as server:
        for dataset, body in (
            ("bars_sip", b'{"bars": {}, "next_page_token": null}'),
            ("corporate_actions", b'{"corporate_actions": {}, "next_page_token": null}'),
            ("news", b'{"news": [], "next_page_token": null}'),
            ("calendar", b"[]"),
        ):
            server.edit = lambda _, body=body: body
            assert bench_of("alpaca", dataset, server, tmp_path / dataset).rows().num_rows == 0


def test_alpaca_many_symbols_are_asked_for_in_groups(tmp_path):
    with serving("alpaca") as server:
        bench = bench_of("alpaca", "bars_sip", server, tmp_path)
        server.always = Fault(kind="status", body=b'{"bars": {}, "next_page_token": null}')
        scope = type(bench.case.scope)(names=tuple(f"S{i}" for i in range(250)), since=date(2024, 1, 2), until=date(2024, 1, 2))
        bench.vendor.fetch("bars_sip", scope, bench.client())
        assert [len(seen.query["symbols"].split(",")) for seen in server.seen] == [100, 100, 50]


def test_alpacas_two_hosts_are_moved_by_two_variables():
    facts = open_vendor("alpaca", SourcesSettings()).facts
    env = {
        "ALPACA_API_KEY": "a",
        "ALPACA_SECRET_KEY": "b",
        "ALPACA_DATA_URL": "http://127.0.0.1:1",
        "ALPACA_TRADING_URL": "http://127.0.0.1:2",
    }
    assert access_of(facts, VendorSettings(), env).base_urls == {"": "http://127.0.0.1:1", "trading": "http://127.0.0.1:2"}
    assert access_of(facts, VendorSettings(base_url="http://127.0.0.1:3"), env).base_urls["trading"] == "http://127.0.0.1:3"
    with pytest.raises(ConfigError, match="unencrypted"):
        access_of(facts, VendorSettings(), {**env, "ALPACA_DATA_URL": "http://data.example"})
    with pytest.raises(ConfigError, match="ALPACA_SECRET_KEY"):
        access_of(facts, VendorSettings(), {"ALPACA_API_KEY": "a"})


def test_alpaca_samples_are_of_the_session_and_of_what_is_out(tmp_path):
    with serving("alpaca") as server:
        bench = bench_of("alpaca", "quotes_sip", server, tmp_path)
        bench.rows()
        assert [seen.query["start"] for seen in server.seen] == ["2020-11-27T15:00:00Z", "2020-11-27T17:30:00Z"], "a half day ends at 13:00"
        server.seen.clear()
        bench.clock.now = datetime(2020, 11, 27, 15, 10, tzinfo=UTC)
        assert bench.fetch() == ()
        assert server.seen == [], "what is younger than a quarter of an hour is refused to a free plan"


def test_alpaca_a_bar_that_is_not_complete_is_left_for_the_next_fetch(tmp_path):
    with serving("alpaca") as server:
        bench = bench_of("alpaca", "bars_1m_iex", server, tmp_path)
        payloads = [replace(payload, retrieved_at=datetime(2020, 11, 27, 14, 32, 59, tzinfo=UTC)) for payload in bench.fetch()]
        assert bench.rows(payloads).column("ts").to_pylist() == [datetime(2020, 11, 27, 14, 31, tzinfo=UTC)]


@pytest.mark.parametrize("dataset", ["bars_1h_sip", "bars_1m_sip", "quotes_sip", "trades_sip"])
def test_alpaca_overlapping_pages_give_each_tick_and_bar_once(tmp_path, dataset):
    with serving("alpaca") as server:
        bench = bench_of("alpaca", dataset, server, tmp_path)
        payloads = bench.fetch()
        assert bench.rows([*payloads, *payloads]).num_rows == bench.case.rows


def test_alpaca_long_spans_of_bars_are_asked_for_by_the_month(tmp_path):
    with serving("alpaca") as server:
        bench = bench_of("alpaca", "bars_1m_sip", server, tmp_path)
        server.always = Fault(kind="status", body=b'{"bars": {}, "next_page_token": null}')
        scope = Scope(names=("AAPL",), since=date(2020, 1, 1), until=date(2020, 3, 31))
        bench.vendor.fetch("bars_1m_sip", scope, bench.client())
        spans = [(seen.query["start"][:10], seen.query["end"][:10]) for seen in server.seen]
        assert spans == [("2020-01-01", "2020-02-01"), ("2020-02-02", "2020-03-04"), ("2020-03-05", "2020-03-31")]


def test_alpaca_a_name_between_two_changes_has_both_its_days(tmp_path):
    with serving("alpaca") as server:
        bench = bench_of("alpaca", "symbol_changes", server, tmp_path)

        def changed_again(content):
            again = {"old_symbol": "META", "old_cusip": "30303M102", "new_symbol": "FB", "new_cusip": "x", "process_date": "2023-01-03"}
            content["corporate_actions"]["name_changes"] = [*content["corporate_actions"]["name_changes"][:1], again]

        server.edit = changed_by(changed_again)
        found = [(row["symbol"], str(row["valid_from"]), str(row["valid_until"])) for row in bench.rows().to_pylist()]
        assert found == [("FB", "2016-01-04", "2022-06-08"), ("META", "2022-06-09", "2023-01-02"), ("FB", "2023-01-03", "None")]
