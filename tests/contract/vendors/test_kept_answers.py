"""What is asked only once: answers a vendor says still hold, and answers that several data sets are read off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hedgefund_core.errors import DataInvalid, DataUnavailable
from tests.contract.vendors.bench import bench_of
from tests.contract.vendors.loopback import Fault, serving


def test_unchanged_history_is_not_sent_again_and_a_damaged_cache_costs_a_request(tmp_path):
    with serving("cboe_vix") as server:
        bench = bench_of("cboe_vix", "bars", server, tmp_path)
        first = bench.fetch()
        again = bench.fetch()
        assert server.seen[-1].headers["if-none-match"] == '"5f1c-62a"'
        assert [p.sha256 for p in first] == [p.sha256 for p in again]
        for path in tmp_path.rglob("*.entry"):
            path.write_bytes(b"damaged")
        assert [p.sha256 for p in bench.fetch()] == [p.sha256 for p in first]
        assert "if-none-match" not in server.seen[-1].headers


@pytest.mark.parametrize("vendor", ["tiingo", "yahoo", "alpha_vantage"])
def test_prices_and_actions_of_one_answer_are_asked_for_once(tmp_path, vendor):
    with serving(vendor) as server:
        alone = bench_of(vendor, "corporate_actions", server, tmp_path / "alone").rows()
        server.seen.clear()
        bars = bench_of(vendor, "bars", server, tmp_path / "both")
        actions = bench_of(vendor, "corporate_actions", server, tmp_path / "both")
        assert bars.rows().num_rows == bars.case.rows
        assert actions.rows().equals(alone)
        assert len(server.seen) == 1
        actions.clock.now += timedelta(hours=1)
        actions.fetch()
        assert len(server.seen) == 2, "only for a while"


def test_a_kept_answer_is_as_old_as_it_is_and_an_open_session_stays_unfinished(tmp_path):
    with serving("tiingo") as server:
        day = (
            b'[{"date":"2020-11-27T00:00:00.000Z","close":1,"high":1,"low":1,"open":1,"volume":1,"adjClose":1,"divCash":0,"splitFactor":1}]'
        )
        server.always = Fault(kind="status", body=day)
        bench = bench_of("tiingo", "bars", server, tmp_path)
        bench.clock.now = datetime(2020, 11, 27, 18, 14, tzinfo=UTC)
        assert bench.rows().num_rows == 0, "a minute before the bar is complete"
        bench.clock.now += timedelta(minutes=2)
        assert bench.rows().num_rows == 0, "the answer is the one of two minutes ago"
        assert len(server.seen) == 1
        bench.clock.now += timedelta(minutes=10)
        assert bench.rows().num_rows == 1


def test_a_kept_answer_the_program_cannot_read_any_more_is_asked_for_again(tmp_path):
    with serving("cboe_vix") as server:
        bench = bench_of("cboe_vix", "bars", server, tmp_path)
        client = bench.client()
        original = client.get

        def keep_something_else(asked, _):
            return original(asked, lambda _: None)

        client.get = keep_something_else
        server.edit = lambda _: b"SOMETHING,ELSE\n1,2\n"
        bench.vendor.fetch("bars", bench.case.scope, client)
        server.edit = lambda body: body
        assert bench.rows().num_rows == bench.case.rows
        assert [("if-none-match" in seen.headers) for seen in server.seen] == [False, True, False]


def test_a_304_to_a_question_without_conditions_is_trouble_not_an_answer(tmp_path):
    with serving("us_treasury") as server:
        server.always = Fault(kind="status", status=304)
        with pytest.raises((DataUnavailable, DataInvalid), match="304"):
            bench_of("us_treasury", "par_yields", server, tmp_path).fetch()
