"""An account on the wall clock, as a process against a broker that fails: what it holds is what was asked for, and what the broker has."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hedgefund_core.layout import halt_file
from live_executor.commands import Halt, send
from live_executor.live.adapters import LIVE_FEEDS, LiveSetup
from live_executor.ports import LiveFeed
from tests.alpaca_server.server import Scenario
from tests.live_house import Exchange, House


@pytest.fixture
def exchange_of() -> Iterator[Callable[..., Exchange]]:
    made: list[Exchange] = []

    def make(**scenario: object) -> Exchange:
        made.append(Exchange(Scenario(quote_every=0.5, **scenario)))
        return made[-1]

    yield make
    for exchange in made:
        exchange.close()


@pytest.fixture
def house_of(own_house: Path, exchange_of: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch) -> Callable[..., House]:
    return lambda **scenario: House(own_house, exchange_of(**scenario), monkeypatch)


@pytest.fixture
def house(house_of: Callable[..., House]) -> House:
    return house_of()


def test_targets_are_reached_exactly_and_followed_when_the_file_changes(house: House) -> None:
    house.want({"quantities": {"AAPL": 100, "MSFT": -30}})
    with house.running() as process:
        house.until_held(AAPL=100, MSFT=-30)
        house.want({"quantities": {"AAPL": 40, "MSFT": 20, "GOOG": 5}})
        house.until_held(AAPL=40, MSFT=20, GOOG=5)
        house.until(lambda: house.json("status")["orders_open"] == 0 and house.json("status")["feed"]["connected"])
        status = house.json("status")
        assert (status["state"], status["mode"], status["broker"], status["gates"]) == ("active", "paper", "alpaca", [])
        assert status["feed"]["age_seconds"] < 5
        assert status["market_open"] is True
        assert status["reconciled_at"]
        house.want("{ this is no JSON")
        house.until(lambda: bool(house.frames("alert_raised")))
        assert "targets.json" in house.frames("alert_raised")[-1].message
        assert process.poll() is None
    assert process.returncode == 0
    house.agree()
    assert house.json("reconcile")["ok"]
    assert json.loads(house.said[0])["fills"] >= 5


def test_a_restart_continues_and_orders_nothing_twice(house: House) -> None:
    house.want({"AAPL": 0.2})
    with house.running():
        house.until(lambda: house.exchange.held().get("AAPL", 0) > 190)
    first = house.exchange.truth()["orders"]
    with house.running() as process:
        house.until(lambda: len(house.frames("session_began")) >= 1 and house.json("status")["running"])
        time.sleep(1.5)
        second = house.start()
        assert second.wait(40) == 5, "another executor holds the account"
        assert str(process.pid) in second.communicate()[1]
        house.process = process
    assert house.exchange.truth()["orders"] == first
    house.agree()


def test_a_kill_while_orders_are_open_loses_none_and_doubles_none(house: House) -> None:
    house.exchange.ask("/_settings", {"fill_delay": 0.4, "slices": 3})
    house.want({"quantities": {"AAPL": 90, "MSFT": 60, "GOOG": 30}})
    process = house.start()
    house.until(lambda: len(house.exchange.open_orders()) == 3)
    process.kill()
    process.wait()
    time.sleep(0.7)  # fills that nobody hears
    with house.running():
        house.until_held(AAPL=90, MSFT=60, GOOG=30)
        house.until(lambda: house.json("status")["orders_open"] == 0)
    assert len(house.exchange.truth()["orders"]) == 3
    house.agree()


def test_a_kill_before_the_send_is_made_up_for_by_the_next_start(house: House) -> None:
    house.want({"quantities": {"AAPL": 10, "MSFT": 10}})
    killed = house.start(env={"HEDGEFUND_CRASH_AT": "before_send"})
    assert killed.wait(40) == -signal.SIGKILL
    assert house.exchange.truth()["orders"] == []
    with house.running():
        house.until_held(AAPL=10, MSFT=10)
    assert len(house.exchange.truth()["orders"]) == 2
    house.agree()


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "timeout", "when": "after", "seconds": 8.0},
        {"kind": "reset", "when": "before"},
        pytest.param({"kind": "status", "when": "after", "status": 504}, marks=pytest.mark.slow),
        pytest.param({"kind": "html", "when": "after"}, marks=pytest.mark.slow),
    ],
    ids=["time-out after", "reset before", "504 after", "html after"],
)
def test_an_order_without_an_answer_is_looked_up_and_never_doubled(house: House, fault: dict[str, object]) -> None:
    house.exchange.fault(**fault, route="POST /v2/orders")
    house.want({"quantities": {"AAPL": 50}})
    with house.trading():
        house.until_held(AAPL=50)
        house.until(lambda: house.json("status")["unknown_orders"] == 0 and house.json("status")["orders_open"] == 0)
        time.sleep(1.0)
    assert [order["qty"] for order in house.exchange.truth()["orders"]] == ["50"]
    house.agree()


def test_fills_that_the_stream_never_told_are_found_by_query(house: House) -> None:
    house.exchange.fault("lost", target="trade", times=100)
    house.exchange.ask("/_settings", {"slices": 2})
    house.want({"quantities": {"AAPL": 50, "KO": 10}})
    with house.trading():
        house.until_held(AAPL=50, KO=10)
        house.until(lambda: house.json("status")["orders_open"] == 0)
    assert sum(frame.quantity for frame in house.frames("order_filled")) == 60
    house.agree()


def test_a_stream_that_drops_between_fills_is_made_up_for(house: House) -> None:
    house.exchange.ask("/_settings", {"slices": 3, "fill_delay": 0.2})
    for skip in (1, 3):
        house.exchange.fault("drop", target="trade", skip=skip)
    house.want({"quantities": {"AAPL": 30, "MSFT": 30}})
    with house.trading():
        house.until_held(AAPL=30, MSFT=30)
        house.until(lambda: house.json("status")["orders_open"] == 0 and not house.json("status")["gates"])
    assert any(frame.closed for frame in house.frames("entries_gated"))
    house.agree()


@pytest.mark.slow
def test_without_an_order_stream_entries_wait_and_reductions_go(house: House) -> None:
    house.want({"quantities": {"AAPL": 50}})
    with house.trading():
        house.until_held(AAPL=50)
    house.exchange.fault("http", target="trade", times=1000, status=503)
    house.want({"quantities": {"AAPL": 20, "MSFT": 10}})
    with house.trading():
        house.until_held(AAPL=20)
        assert "order stream is down" in house.json("status")["gates"]
        flat = house.json("flatten", "--reason", "enough")
        assert flat["state"] == "flattening"
        house.until_held()
    assert not any(order["symbol"] == "MSFT" for order in house.exchange.truth()["orders"])
    house.agree()


def test_a_manual_trade_is_booked_said_and_not_traded_back(house: House) -> None:
    house.want({"quantities": {"AAPL": 50}})
    with house.trading():
        house.until_held(AAPL=50)
        house.exchange.act("external", symbol="AAPL", side="buy", qty="7")
        house.exchange.act("external", symbol="KO", side="buy", qty="3")
        house.until(lambda: len(house.frames("external_filled")) == 2)
        time.sleep(1.2)
        assert house.exchange.held() == {"AAPL": 57, "KO": 3}, "not traded back"
        assert any("somebody else" in frame.message for frame in house.frames("alert_raised"))
        assert set(house.json("status")["frozen"]) == {"AAPL", "KO"}
        house.json("resume", "--reason", "it was me")
        house.until_held(AAPL=50, KO=3)  # the file asks for 50, and nothing is in doubt any more
    house.agree()


def test_an_unexplained_position_freezes_until_a_person_adopts_it(house: House) -> None:
    house.want({"quantities": {"AAPL": 50}})
    with house.trading():
        house.until_held(AAPL=50)
        house.exchange.act("position", symbol="AAPL", qty="44")
        house.until(lambda: "AAPL" in house.json("status")["frozen"])
        found = house.json("reconcile", code=5)
        assert found["differences"][0]["symbol"] == "AAPL"
        house.want({"quantities": {}})
        time.sleep(0.6)
        adopted = house.cli("reconcile", "--adopt", "--reason", "seen at the broker")
        assert adopted.exit_code == 0, adopted.output + adopted.stderr
        house.until(lambda: not house.json("status")["frozen"])
        assert house.json("positions")[0]["quantity"] == "44"
    assert house.exchange.held() == {"AAPL": 44}


def test_cash_lines_and_an_announced_split_are_booked_from_the_activity_list(house: House) -> None:
    house.want({"quantities": {"AAPL": 50}})
    today = datetime.now(ZoneInfo("America/New_York")).date().isoformat()
    with house.trading():
        house.until_held(AAPL=50)
    house.exchange.act("announce", symbol="AAPL", ex_date=today, new_rate=2, old_rate=1)
    with house.trading():
        house.until(lambda: len(house.frames("split_announced")) == 1)
        house.want({"quantities": {}})
        time.sleep(0.5)
        house.exchange.act("cash", kind="DIV", amount="12.50", symbol="AAPL")
        house.exchange.act("cash", kind="FEE", amount="-0.07", description="TAF fee")
        house.exchange.act("split", symbol="AAPL", ratio="2")
        house.until(lambda: [row["quantity"] for row in house.json("positions")] == ["100"])
        house.until(lambda: len(house.frames("cash_posted")) == 2)
        house.until(lambda: house.frames("reconciled")[-1].ok)
    (announced,) = house.frames("split_announced")
    assert (announced.ratio, announced.session) == (Decimal(2), today)
    status = house.json("status")
    assert status["state"] == "active"
    assert Decimal(status["cash"]) == Decimal(house.exchange.truth()["cash"])
    assert house.json("replay", "--verify")["ok"]


# ---- people ------------------------------------------------------------------------------------------------------------------


def test_orders_of_people_meet_the_same_rules_and_tell_their_fate(house: House) -> None:
    assert house.cli("order", "AAPL", "BUY", "5").exit_code == 7, "nobody runs"
    house.want({})
    with house.trading():
        house.until(lambda: house.entries("reconciled") != [] and house.json("status")["gates"] == [])
        filled = house.json("order", "AAPL", "BUY", "5", "--reason", "test")
        assert (filled["status"], filled["orders"][0]["filled_quantity"]) == ("filled", "5")
        same = house.json("order", "AAPL", "BUY", "5", "--request-id", filled["request_id"])
        assert same["orders"][0]["client_order_id"] == filled["orders"][0]["client_order_id"]
        other = house.json("order", "AAPL", "BUY", "6", "--request-id", filled["request_id"], code=2)
        assert (other["status"], other["orders"]) == ("conflict", [])
        assert house.json("cancel", "all", "--request-id", filled["request_id"], code=2)["status"] == "conflict"
        assert house.json("order", "AAPL", "BUY", "50000", code=5)["status"] == "denied"
        denied = house.json("order", "NOPE", "BUY", "5", code=5)
        same = house.json("order", "NOPE", "BUY", "5", "--request-id", denied["request_id"], code=5)
        assert (same["status"], same["reason"]) == ("denied", f"{denied['reason']} (asked before: nothing is sent again)")
        house.exchange.fault("status", route="POST /v2/orders", status=403, body='{"code":40310000,"message":"insufficient buying power"}')
        rejected = house.json("order", "MSFT", "BUY", "5", code=6)
        assert (rejected["status"], "insufficient" in rejected["reason"]) == ("rejected", True)
        resting = house.json("order", "KO", "BUY", "5", "--limit", "180", "--wait", "3")
        assert resting["status"] == "accepted"
        gone = house.json("cancel", resting["orders"][0]["client_order_id"])
        assert gone["status"] == "canceled"
        again = house.json("order", "KO", "BUY", "5", "--limit", "180", "--request-id", resting["request_id"], code=6)
        assert (again["status"], again["orders"][0]["status"]) == ("not_filled", "canceled")
        house.json("order", "KO", "BUY", "5", "--limit", "180")
        house.json("order", "XOM", "BUY", "5", "--limit", "170")
        assert len(house.exchange.open_orders()) == 2
        assert house.json("cancel", "all")["status"] == "canceled"
        assert house.exchange.open_orders() == []
        assert house.cli("order", "AAPL", "BUY", "-5").exit_code == 2
    house.agree()


def test_a_cancel_that_the_broker_ignores_is_asked_again_until_it_is_gone(house: House) -> None:
    house.want({})
    with house.trading():
        house.until(lambda: house.entries("reconciled") != [] and house.json("status")["gates"] == [])
        house.json("order", "KO", "BUY", "5", "--limit", "180")
        house.json("order", "XOM", "BUY", "5", "--limit", "170")
        house.exchange.fault("cancel_stays_open", target="order", times=5)
        done = house.json("halt", "--level", "2", "--reason", "drill")
        assert done["state"] == "cancelling"
        house.until(lambda: house.exchange.open_orders() == [])
        house.until(lambda: house.json("status")["orders_open"] == 0)
        assert house.json("order", "KO", "BUY", "5", code=5)["status"] == "denied"
    house.agree()


def test_halts_are_journaled_within_a_blink_and_level_four_lets_nothing_leave(house: House) -> None:
    house.want({"quantities": {"AAPL": 10}})
    with house.trading():
        house.until_held(AAPL=10)
        left = time.monotonic()
        send(house.folder / "data", "paper", Halt(level=1, reason="drill", person="ann"))
        while not house.entries("halt_requested"):
            assert time.monotonic() - left < 2.0
        assert time.monotonic() - left < 2.0  # 0.1 s on an idle machine
        house.want({"quantities": {"AAPL": 5, "MSFT": 5}})
        house.until_held(AAPL=5)
        assert house.json("resume", "--reason", "over")["state"] == "active"
        house.until_held(AAPL=5, MSFT=5)
        (house.folder / "data" / halt_file("paper")).write_text("stop\n")
        house.until(lambda: house.json("status")["state"] == "halted")
        orders = len(house.exchange.truth()["orders"])
        house.want({"quantities": {"AAPL": 0, "MSFT": 0}})
        time.sleep(1.2)
        assert len(house.exchange.truth()["orders"]) == orders
    refused = house.start()
    assert refused.wait(40) == 5
    refused.communicate()
    house.agree()


def test_flatten_closes_everything_and_stays_armed(house: House) -> None:
    house.want({"quantities": {"AAPL": 10, "MSFT": -5}})
    with house.trading():
        house.until_held(AAPL=10, MSFT=-5)
        house.exchange.act("halt", symbol="MSFT")
        assert house.json("flatten", "--reason", "enough")["state"] == "flattening"
        house.until(lambda: "AAPL" not in house.exchange.held())
        time.sleep(0.5)
        assert house.exchange.held() == {"MSFT": -5}
        house.exchange.act("halt", symbol="MSFT", halted=False)
        house.until_held()
    house.agree()


# ---- start and stop ---------------------------------------------------------------------------------------------------------------


def test_stopping_cancels_the_days_entries(house: House) -> None:
    house.want({})
    with house.running() as process:
        house.until(lambda: house.entries("reconciled") != [] and house.json("status")["gates"] == [])
        house.json("order", "KO", "BUY", "5", "--limit", "180")
        process.send_signal(signal.SIGINT)
        assert process.wait(40) == 130
    assert [order["status"] for order in house.exchange.truth()["orders"]] == ["canceled"]
    house.agree()


def test_once_that_is_stopped_before_it_is_done_leaves_no_order_and_does_not_say_0(house: House) -> None:
    house.want({"quantities": {"KO": 10}})
    house.exchange.fault("stuck", target="order", times=100)
    with house.trading(once=True) as hosted:
        house.until(lambda: len(house.exchange.open_orders()) == 1)
    assert house.exchange.open_orders() == []
    assert hosted.summary is not None
    assert hosted.summary.exit_code == 130
    house.agree()


def test_refusals_name_what_mends_them(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(code: int, *arguments: str, **env: str) -> str:
        with monkeypatch.context() as patch:
            for name, value in env.items():
                patch.setenv(name, value)
            result = house.cli("run", "--targets", str(house.targets), *arguments)
        assert result.exit_code == code, result.output + result.stderr
        return result.stderr

    house.want({"quantities": {"AAPL": 10}})
    said = refused(3, ALPACA_SECRET_KEY="odd-secret")
    assert "ALPACA" in said
    assert "odd-secret" not in said
    refused(6, ALPACA_TRADING_URL="http://127.0.0.1:9")
    assert "live.sentence" in refused(3, "--mode", "live", "--live")
    house.want({"quantities": {"NOPE": 10}})
    assert "NOPE" in refused(4)
    house.want('{"AAPL": ')
    assert "targets.json" in refused(4)
    house.exchange.act("flags", trading_blocked=True)
    house.account = "blocked"
    house.want({})
    assert "trading_blocked" in refused(5)
    assert house.exchange.truth()["orders"] == []


def test_an_account_begins_with_what_the_broker_holds(house_of: Callable[..., House]) -> None:
    house = house_of(positions={"XOM": (Decimal(12), Decimal(150))}, cash=Decimal(50_000))
    house.want({"quantities": {"AAPL": 10}})
    with house.trading(once=True) as hosted:
        assert hosted.ended()
    assert house.exchange.held() == {"XOM": 12, "AAPL": 10}
    assert {row["symbol"]: row["quantity"] for row in house.json("positions")} == {"XOM": "12", "AAPL": "10"}
    assert house.json("reconcile")["ok"]


def test_a_closed_market_takes_orders_for_its_opening_auction(house_of: Callable[..., House]) -> None:
    house = house_of(hours="regular", now="2026-11-24T02:00:00+00:00")
    house.want({"quantities": {"AAPL": 10}})
    with house.trading():
        house.until(lambda: len(house.exchange.open_orders()) == 1)
        order = house.exchange.open_orders()[0]
        assert (order["time_in_force"], order["type"], order["qty"]) == ("opg", "limit", "10")
        house.exchange.ask("/_clock", {"now": "2026-11-24T14:30:01+00:00"})
        house.exchange.act("session", moment="open", by_clock=True)
        house.until_held(AAPL=10)
        house.until(lambda: house.json("status")["session"] == "2026-11-24" and house.json("status")["orders_open"] == 0)
        house.exchange.ask("/_clock", {"now": "2026-11-24T21:00:01+00:00"})
        house.until(lambda: bool([frame for frame in house.frames("session_ended") if frame.session == "2026-11-24"]))
        assert [frame.session for frame in house.frames("account_marked")][-1] == "2026-11-24"
    assert len(house.exchange.truth()["orders"]) == 1
    assert house.json("replay", "--verify")["ok"]


def test_data_are_due_while_the_brokers_market_is_open_whatever_hour_it_is_here(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    setups, real = list[LiveSetup](), LIVE_FEEDS["alpaca"]

    def made(setup: LiveSetup) -> LiveFeed:
        setups.append(setup)
        return real(setup)

    monkeypatch.setitem(LIVE_FEEDS, "alpaca", made)
    house.want({"quantities": {}})
    with house.trading():
        house.until(lambda: bool(setups and setups[0].data_due is not None and setups[0].data_due()))
        house.exchange.act("session", moment="close")
        house.until(lambda: setups[0].data_due is not None and not setups[0].data_due())
    assert len(setups) == 1, "of the feed that traded"
