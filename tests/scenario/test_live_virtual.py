"""The live account on virtual time: hours in a moment, and every pause counted. Nothing of it may ask a real clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from hedgefund_core.errors import BrokerUnavailable, ConfigError, InvariantViolation, OrderRejected
from hedgefund_core.trading import events as e
from hedgefund_core.trading.observed import ActivitySighting, FeedUpdate, LinkState, QuoteSighting
from hedgefund_core.trading.order import OrderStatus, TimeInForce
from live_executor.recovery import recover
from tests.live_fakes import MemoryBroker, MemoryFeed, SlowBroker, away, unanswered
from tests.scenario.stage import NOON, Stage, wait


@pytest.mark.slow
def test_two_days_pass_sessions_begin_and_end_and_drift_is_traded(stage: Stage) -> None:
    stage.targets.write_text('{"AAPL": 0.5}')

    async def script(stage: Stage) -> None:
        await wait(600)
        assert stage.held() == {"AAPL": Decimal(500)}
        stage.broker.prices["AAPL"] = Decimal(90)
        await wait(3600)
        assert stage.held()["AAPL"] > 520, "the weight has fallen, so more is bought"
        await wait(27 * 3600 - 600)

    slow = {"books_every_seconds": 300.0, "orders_every_seconds": 60.0, "mailbox_every_seconds": 30.0, "targets_every_seconds": 30.0}
    stage.play(script, every=3600.0, heartbeat_every_seconds=60.0, **slow)
    assert [frame.session for frame in stage.of(e.SessionBegan)] == ["2026-11-24", "2026-11-25"]
    assert [frame.session for frame in stage.of(e.SessionEnded)] == ["2026-11-24", "2026-11-25"]
    assert [frame.session for frame in stage.of(e.AccountMarked)] == ["2026-11-24", "2026-11-25"]
    assert all(frame.ok for frame in stage.of(e.Reconciled))


def test_no_order_stream_reductions_go_and_the_queries_keep_the_books(stage: Stage) -> None:
    stage.broker.link = LinkState.DOWN
    stage.broker.held, stage.broker.cash = {"AAPL": Decimal(30)}, Decimal(97_000)

    async def script(stage: Stage) -> None:
        stage.targets.write_text('{"quantities": {"AAPL": 10, "MSFT": 5}}')
        await wait(600)

    stage.play(script)
    assert stage.held() == {"AAPL": Decimal(10)}
    assert {order.denied_by for frame in stage.of(e.OrdersDenied) for order in frame.orders} == {"entries_gate"}
    assert stage.live.state.ledger.quantity("AAPL") == 10
    assert stage.of(e.Reconciled)[-1].ok


def test_a_task_that_dies_stops_entries_is_said_and_ends_the_run(stage: Stage) -> None:
    stage.feed.fails = RuntimeError("nobody foresaw this")

    async def script(stage: Stage) -> None:
        await wait(60)

    with pytest.raises(InvariantViolation, match="nobody foresaw this"):
        stage.play(script)
    assert stage.of(e.EntriesGated)[-1].cause == "task data stream ended"
    assert stage.of(e.AlertRaised)[-1].severity == "critical"
    stage.feed.fails = None
    stage.broker = MemoryBroker(stage.clock, stage.broker.prices)
    stage.feed = MemoryFeed(stage.broker, stage.clock)


def test_a_broker_that_is_away_at_the_start_is_waited_for_and_then_given_up(stage: Stage) -> None:
    stage.broker.trouble = away("clock", times=5)

    async def script(stage: Stage) -> None:
        await wait(40)

    stage.play(script)
    assert stage.held() == {"AAPL": Decimal(10)}
    stage.broker.trouble = away("clock")
    with pytest.raises(BrokerUnavailable):
        stage.play(script)


def test_targets_that_cannot_be_taken_up_at_the_first_try_are_taken_up_at_the_second(stage: Stage) -> None:
    stage.broker.trouble = away("asset")

    async def script(stage: Stage) -> None:
        await wait(2)
        stage.broker.trouble = away()
        await wait(20)

    stage.play(script)
    assert stage.held() == {"AAPL": Decimal(10)}


def test_books_that_agree_need_no_activities_and_those_that_do_not_wait_for_them(stage: Stage) -> None:
    asked = 0

    def trouble(call: str) -> None:
        nonlocal asked
        asked += call == "activities"
        if call == "activities" and asked > 1:
            raise BrokerUnavailable("activities: an error of the server")

    stage.broker.trouble = trouble

    async def script(stage: Stage) -> None:
        await wait(30)
        assert stage.held() == {"AAPL": Decimal(10)}
        stage.broker.cash += 500
        await wait(100)
        assert stage.live.state.ladder.name == "active", "a deposit may be in the list that cannot be read"

    stage.play(script)


def test_a_market_that_is_open_after_its_hours_of_the_calendar_is_traded_in(stage: Stage) -> None:
    """The calendar's session has ended when the run begins; then the broker's clock says open, and the clock wins."""
    stage.broker.closes_at = NOON.replace(hour=16)

    async def script(stage: Stage) -> None:
        await wait(10)
        assert stage.held() == {}
        stage.broker.closes_at = NOON.replace(hour=21)
        await wait(20)

    stage.play(script, every=5.0)
    assert stage.held() == {"AAPL": Decimal(10)}
    assert {frame.session for frame in stage.of(e.SessionBegan)} == {"2026-11-24"}


def test_an_account_that_the_broker_blocks_adds_nothing_until_it_is_free_again(stage: Stage) -> None:
    async def script(stage: Stage) -> None:
        await wait(10)
        stage.broker.flags = ("trading_blocked",)
        await wait(60)
        stage.targets.write_text('{"quantities": {"AAPL": 12}}')
        await wait(60)
        assert stage.held() == {"AAPL": Decimal(10)}
        stage.broker.flags = ()
        await wait(60)

    stage.play(script, every=5.0)
    assert stage.held() == {"AAPL": Decimal(12)}


class Talkative(MemoryFeed):
    """Its stream tells every price; its query takes a minute."""

    async def updates(self) -> AsyncIterator[FeedUpdate]:
        while True:
            await asyncio.sleep(1.0)
            for quote in await super().latest(["AAPL"]):
                yield quote

    async def latest(self, symbols: Sequence[str]) -> list[QuoteSighting]:
        await asyncio.sleep(60.0)
        return await super().latest(symbols)


def test_a_slow_query_of_prices_delays_nothing_that_the_stream_has_told(stage: Stage) -> None:
    stage.feed = Talkative(stage.broker, stage.clock)

    async def script(stage: Stage) -> None:
        await wait(8)
        assert stage.held() == {"AAPL": Decimal(10)}

    stage.play(script)


def test_credentials_that_are_refused_later_end_the_run_with_its_reason(stage: Stage) -> None:
    def refuse(call: str) -> None:
        if call == "positions" and stage.broker.book:
            raise ConfigError("the broker refuses the credentials")

    stage.broker.trouble = refuse

    async def script(stage: Stage) -> None:
        await wait(120)

    with pytest.raises(ConfigError):
        stage.play(script)
    assert "credentials" in stage.of(e.AlertRaised)[-1].message


def test_an_order_for_the_opening_that_is_still_there_after_it_is_priced_anew(own_house: Path) -> None:
    stage = Stage(own_house, NOON.replace(hour=14))
    matching = stage.broker.match
    stage.broker.match = lambda _name: None

    async def script(stage: Stage) -> None:
        await wait(1500)
        (name,) = stage.broker.book
        assert stage.live.state.orders[name].time_in_force is TimeInForce.OPG
        await wait(310)
        assert stage.broker.book[name].status == "new", "the auction's news may take a moment"
        stage.broker.match = matching
        await wait(30)
        assert stage.broker.book[name].status == "canceled"
        assert stage.held() == {"AAPL": Decimal(10)}

    stage.play(script, every=3600.0)


def test_an_account_is_not_traded_at_another_broker_than_its_own(stage: Stage) -> None:
    stage.play(script_of_nothing)
    stage.broker_name = "other"
    with pytest.raises(ConfigError, match="trades in mode paper at broker memory, not in mode paper at other"):
        stage.play(script_of_nothing)


def test_an_order_that_rests_is_priced_anew(stage: Stage) -> None:
    stage.broker.match = lambda _name: None  # type: ignore[method-assign]

    async def script(stage: Stage) -> None:
        await wait(30)
        del stage.broker.match
        await wait(30)

    stage.play(script, every=3600.0)
    assert stage.held() == {"AAPL": Decimal(10)}
    statuses = [order.status for order in stage.live.state.orders.values()]
    assert OrderStatus.CANCELED in statuses
    assert statuses[-1] is OrderStatus.FILLED


def test_money_that_came_before_the_opening_is_booked_once_by_the_journal_alone(stage: Stage) -> None:
    """No file beside the journal is kept here: what tells a restart which cash lines are news is the journal."""

    def line(name: str, amount: int) -> ActivitySighting:
        return ActivitySighting(activity_id=name, activity_type="CSD", at=NOON, net_amount=Decimal(amount))

    async def script(stage: Stage) -> None:
        await wait(90)
        if len(stage.broker.lines) < 3:
            for name, amount in (("9-after", 250), ("1-dated-back", 30)):  # a fee has the id of midnight of its day
                stage.broker.lines.append(line(name, amount))
                stage.broker.cash += amount
                await wait(60)

    stage.broker.lines.append(line("0-before", 1000))
    for _ in range(2):
        stage.play(script)
        assert stage.live.state.ledger.cash == stage.broker.cash
        assert stage.live.state.gates == frozenset()
    assert [frame.amount for frame in stage.of(e.CashPosted)] == [Decimal(250), Decimal(30)]


def test_a_new_symbol_is_the_same_instrument_and_one_that_is_gone_is_frozen_and_said(stage: Stage) -> None:
    stage.broker.ids = {"AAPL": "id-1", "MSFT": "id-2"}
    stage.targets.write_text('{"quantities": {"AAPL": 10, "MSFT": 5}}')

    def rename(old: str, new: str) -> None:
        stage.broker.ids[new] = stage.broker.ids.pop(old)
        stage.broker.prices[new] = stage.broker.prices.pop(old)
        stage.broker.held[new] = stage.broker.held.pop(old)

    async def script(stage: Stage) -> None:
        await wait(90)

    stage.play(script, every=5.0)
    assert stage.held() == {"AAPL": Decimal(10), "MSFT": Decimal(5)}
    rename("AAPL", "APPL")
    del stage.broker.prices["MSFT"], stage.broker.held["MSFT"], stage.broker.ids["MSFT"]  # merged away: nobody knows it any more
    stage.targets.write_text('{"quantities": {"APPL": 12}}')
    stage.play(script, every=5.0)
    assert stage.held() == {"APPL": Decimal(12)}
    state = stage.live.state
    assert [(i.instrument_id, i.symbol) for i in state.instruments] == [("id-1", "APPL"), ("id-2", "MSFT")]
    assert state.ledger.quantity("id-1") == 12
    assert "id-2" in state.frozen
    (renamed,) = stage.of(e.InstrumentRenamed)
    assert (renamed.instrument_id, renamed.symbol) == ("id-1", "APPL")
    told = [frame.message for frame in stage.of(e.AlertRaised)]
    assert sum(message.startswith("MSFT (id-2)") for message in told) == 1
    assert state == recover(stage.entries(), lambda _digest: pytest.fail("no bundle is used")).state


def test_a_start_asks_at_once_what_does_not_depend_on_each_other(stage: Stage) -> None:
    """Seven answers one after the other: clock, calendar, account, positions, account, activities, report."""
    names = [f"N{n}" for n in range(8)]
    stage.broker = SlowBroker(stage.clock, dict.fromkeys(names, Decimal(100)))
    stage.feed = MemoryFeed(stage.broker, stage.clock)
    stage.targets.write_text(json.dumps({"quantities": dict.fromkeys(names, 5)}))

    async def script(stage: Stage) -> None:
        await wait(20)

    stage.play(script)
    first = stage.of(e.OrdersIntended)[0]
    assert {order.symbol for order in first.orders} == set(names)
    assert (first.ts - NOON).total_seconds() < 8 * SlowBroker.seconds


def test_targets_to_be_reached_once_say_by_the_exit_code_who_kept_them_from_it(stage: Stage) -> None:
    async def script(stage: Stage) -> None:
        await wait(120)

    def refuse(call: str) -> None:
        if call == "submit":
            raise OrderRejected("no")

    def code(wanted: str) -> int:
        stage.targets.write_text(wanted)
        stage.play(script)
        return stage.summary.exit_code

    stage.once = True
    assert code('{"quantities": {"AAPL": 10, "MSFT": 2100}}') == 5
    assert stage.held() == {"AAPL": Decimal(10)}, "what is allowed is traded all the same"
    assert code('{"quantities": {"AAPL": 10}}') == 0, "nobody asks for the denied one any more"
    stage.broker.trouble = refuse
    assert code('{"quantities": {"AAPL": 20}}') == 6
    stage.broker.trouble = lambda _call: None
    assert code('{"quantities": {"AAPL": 20}}') == 0
    away_until = NOON + timedelta(seconds=45)
    stage.broker.trouble = lambda call: away("positions")(call) if stage.clock.now() < away_until else None
    assert code('{"quantities": {"AAPL": 30}}') == 0, "what was denied for a closed gate is waited for"
    assert stage.held() == {"AAPL": Decimal(30)}
    assert {order.denied_by for frame in stage.of(e.OrdersDenied) for order in frame.orders} >= {"entries_gate"}


def test_a_stop_whose_cancels_the_broker_does_not_confirm_says_so_and_is_no_success(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage.broker, "match", lambda _name: None)

    async def script(stage: Stage) -> None:
        await wait(10)
        stage.broker.trouble = away("cancel")

    stage.play(script)
    assert [order.status for order in stage.live.state.working] == [OrderStatus.PENDING_CANCEL]
    assert stage.summary.exit_code == 6
    said = [trouble for trouble in stage.of(e.TroubleSeen) if isinstance(trouble, e.TroubleSeen)][-1]
    assert (said.severity, said.message[:41]) == ("critical", "1 of the day's orders may still work: the")
    assert "executor halt --level 2" in said.message


def test_a_name_that_changes_while_it_is_traded_stays_the_target_that_it_was(stage: Stage) -> None:
    stage.broker.ids = {"AAPL": "id-1", "MSFT": "id-2"}

    async def script(stage: Stage) -> None:
        await wait(20)
        for belongings in (stage.broker.ids, stage.broker.prices, stage.broker.held):
            belongings["APPL"] = belongings.pop("AAPL")
        for place, (symbol, quantity) in enumerate((("AAPL", -10), ("APPL", 10))):
            line = ActivitySighting(
                activity_id=f"9{place}", activity_type="NC", at=stage.clock.now(), symbol=symbol, quantity=Decimal(quantity),
                net_amount=Decimal(0),
            )  # fmt: skip
            stage.broker.lines.append(line)
        await wait(90)
        stage.targets.write_text('{"quantities": {"AAPL": 12}}')
        await wait(30)
        assert stage.held() == {"APPL": Decimal(12)}
        stage.targets.write_text('{"quantities": {"AAPL": 0, "APPL": 14}}')
        await wait(30)

    stage.play(script, every=5.0)
    assert stage.held() == {"APPL": Decimal(14)}
    state = stage.live.state
    assert (state.ledger.quantity("id-1"), state.frozen, state.former_names) == (14, {}, {"AAPL": "id-1"})
    assert [frame.message for frame in stage.of(e.AlertRaised)] == [
        "AAPL is APPL from here on: the same instrument, its position and orders"
    ]
    stage.targets.write_text('{"quantities": {"AAPL": 15}}')
    stage.play(script_of_nothing, every=5.0)
    assert stage.held() == {"APPL": Decimal(15)}


async def script_of_nothing(_stage: Stage) -> None:
    await wait(30)


def test_the_same_stage_plays_the_same_twice(stage: Stage, tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        await wait(10)
        stage.targets.write_text('{"quantities": {"AAPL": 3, "MSFT": -4}}')
        await wait(60)

    def played(stage: Stage) -> list[bytes]:
        stage.broker.trouble = unanswered("answer", times=2)
        stage.play(script, every=5.0)
        where = str(stage.targets.resolve().parent).encode()
        return [e.encode(frame).replace(where, b"") for frame in stage.frames]

    other = Stage(tmp_path)
    assert played(stage) == played(other)
