"""What is particular to Alpaca: two hosts, two feeds, one token for the page after."""

from __future__ import annotations

from datetime import date

import pytest

from hedgefund_core.configuration import SourcesSettings, VendorSettings
from hedgefund_core.errors import ConfigError, DataInvalid
from hedgefund_dagster.sources import open_vendor
from hedgefund_dagster.sources.http.access import access_of
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
