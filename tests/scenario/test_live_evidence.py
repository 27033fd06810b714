"""What became of an order, whoever tells and however late: a live account before a broker that loses, lags and refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from decimal import Decimal
from threading import Timer

import msgspec
import pytest
from msgspec.structs import replace

from hedgefund_core.errors import BrokerUnavailable, ConfigError
from hedgefund_core.layout import account_folder, commands_folder, journal_file
from hedgefund_core.trading import events as e
from hedgefund_core.trading.observed import AccountSighting, AssetSighting, LinkState
from hedgefund_core.trading.order import Order, OrderStatus, OrderType, Side
from live_executor.asking import Asking
from live_executor.commands import Adopt, Cancel, Halt, Mailbox, Place, send
from live_executor.journals.emergency import Act, EmergencyAct, EmergencyLog
from live_executor.journals.sqlite import JournalReader, open_journal
from live_executor.queries.decisions import again, reopen
from live_executor.queries.story import tell
from live_executor.settings import read_settings
from tests.live_fakes import MemoryBroker, away, unanswered
from tests.scenario.stage import Stage, wait


def test_an_answer_that_is_lost_is_looked_up_and_booked_once(stage: Stage) -> None:
    stage.broker.trouble = unanswered("answer")

    async def script(stage: Stage) -> None:
        await wait(30)

    stage.play(script)
    assert stage.held() == {"AAPL": Decimal(10)}
    assert len(stage.broker.book) == 1
    assert len(stage.of(e.OrderOutcomeUnknown)) == 1
    assert stage.of(e.OrderAbsent) == []


def test_an_order_that_never_arrived_goes_out_again_under_the_same_id_once_that_is_proved(stage: Stage) -> None:
    stage.broker.trouble = unanswered("submit")

    async def script(stage: Stage) -> None:
        await wait(30)

    stage.play(script)
    assert stage.held() == {"AAPL": Decimal(10)}
    unknown, absent = stage.of(e.OrderOutcomeUnknown)[0], stage.of(e.OrderAbsent)[0]
    assert list(stage.broker.book) == [unknown.client_order_id]
    assert (absent.ts - unknown.ts).total_seconds() >= 4.0, "two absences, each two seconds after what came before"


def test_an_order_that_never_arrived_and_is_not_wanted_any_more_is_looked_for_longer(stage: Stage) -> None:
    stage.broker.trouble = unanswered("submit")

    async def script(stage: Stage) -> None:
        await wait(2)
        send(stage.folder / "data", "v", Cancel(request_id="c1", client_order_id="", person="ann", reason="no"))
        await wait(30)

    stage.play(script)
    unknown, absent = stage.of(e.OrderOutcomeUnknown)[0], stage.of(e.OrderAbsent)[0]
    assert (absent.ts - unknown.ts).total_seconds() >= 10.0, "no id protects from the order that takes its place"
    assert unknown.client_order_id not in stage.broker.book


def test_an_order_that_is_over_here_and_open_there_is_cancelled_there(stage: Stage) -> None:
    stage.broker.match = lambda _name: None  # nothing is filled: the order rests until it is priced anew

    async def script(stage: Stage) -> None:
        await wait(5)
        name = next(iter(stage.broker.book))
        await stage.broker.cancel(stage.live.state.orders[name])
        await wait(5)
        assert stage.live.state.known_orders[name].status is OrderStatus.CANCELED
        stage.broker.book[name] = msgspec.structs.replace(stage.broker.book[name], status="new")  # taken late, after all
        await wait(60)
        assert stage.broker.book[name].status == "canceled"

    stage.play(script, every=3600.0)
    assert [alert.severity for alert in stage.of(e.AlertRaised) if "open at the broker" in alert.message] == ["critical"]


def test_an_adoption_takes_nothing_that_a_fill_on_its_way_brings(stage: Stage) -> None:
    stage.broker.match = lambda _name: None

    async def script(stage: Stage) -> None:
        await wait(6)
        (name,) = stage.broker.book
        stage.broker.link = LinkState.DOWN  # its news is lost; the next query of orders is four seconds away
        MemoryBroker.match(stage.broker, name)
        send(stage.folder / "data", "v", Adopt(request_id="a", reason="as the broker has it", person="someone"))
        await wait(60)
        assert not list(Mailbox(stage.folder / "data", "v").commands()), "it was asked and is done"
        ledger = stage.live.state.ledger
        assert (ledger.quantity("AAPL"), ledger.cash) == (Decimal(10), stage.broker.cash)

    stage.play(script, every=3600.0)
    assert len(stage.of(e.OrderFilled)) == 1
    assert stage.of(e.PositionAdopted) == stage.of(e.CashAdopted) == []


def test_an_adoption_takes_no_position_that_was_read_before_a_fill(stage: Stage) -> None:
    stage.broker.match = lambda _name: None

    async def filled_meanwhile(symbol: str) -> AssetSighting | None:
        (name,) = stage.broker.book
        MemoryBroker.match(stage.broker, name)
        await wait(1)
        return await MemoryBroker.asset(stage.broker, symbol)

    async def script(stage: Stage) -> None:
        await wait(6)
        stage.broker.held["MSFT"] = Decimal(5)  # a name that is new to the account: it is asked about before it is adopted
        stage.broker.asset = filled_meanwhile
        send(stage.folder / "data", "v", Adopt(request_id="a", reason="as the broker has it", person="someone"))
        await wait(30)

    stage.play(script, every=3600.0, books_every_seconds=3600.0)
    ledger = stage.live.state.ledger
    assert [ledger.quantity(key) for key in ("AAPL", "MSFT")] == [10, 5]
    assert ledger.cash == stage.broker.cash
    assert [frame.instrument_id for frame in stage.of(e.PositionAdopted)] == ["MSFT"]


def test_what_the_broker_takes_out_of_the_market_is_decided_anew_and_what_a_person_takes_out_is_not(stage: Stage) -> None:
    matching = stage.broker.match
    stage.broker.match = lambda _name: None

    async def script(stage: Stage) -> None:
        await wait(5)
        (name,) = stage.broker.book
        await stage.broker.cancel(stage.live.state.orders[name])
        await wait(10)
        _, again = stage.broker.book
        assert stage.broker.book[again].status == "new"
        send(stage.folder / "data", "v", Cancel(request_id="c1", client_order_id="", person="ann", reason="no"))
        await wait(30)
        assert len(stage.broker.book) == 2, "it is tried again when drift is due"
        stage.broker.match = matching
        await wait(60)

    stage.play(script, every=60.0)
    assert stage.held() == {"AAPL": Decimal(10)}


def test_what_the_broker_takes_out_again_and_again_is_decided_ever_more_rarely(stage: Stage) -> None:
    stage.broker.match = lambda _name: None

    async def script(stage: Stage) -> None:
        for _ in range(600):
            await wait(1)
            for name, order in list(stage.live.state.orders.items()):
                if order.status is OrderStatus.ACCEPTED:
                    await stage.broker.cancel(stage.live.state.orders[name])

    stage.play(script, every=3600.0)
    assert 4 <= len(stage.broker.book) <= 12


def test_lists_that_lag_behind_the_positions_are_no_difference(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.broker.match = lambda _name: None

    async def script(stage: Stage) -> None:
        await wait(6)
        old = list(stage.broker.book.values())
        stage.broker.link = LinkState.DOWN  # the stream says nothing of the fill, the lists nothing for five seconds
        MemoryBroker.match(stage.broker, old[0].client_order_id)
        answers = {"orders": old, "look_up": old[0], "activities": []}

        def late(answer: object) -> Callable[..., Awaitable[object]]:
            async def said(*_asked: object, **_how: object) -> object:
                return answer

            return said

        with monkeypatch.context() as patch:
            for call, answer in answers.items():
                patch.setattr(stage.broker, call, late(answer))
            await wait(5)
        await wait(10)
        assert stage.live.state.ledger.quantity("AAPL") == 10
        assert (stage.live.state.ladder.name, stage.live.state.frozen) == ("active", {})

    stage.play(script, every=3600.0, books_every_seconds=1.0)


def test_what_a_sale_pays_for_is_bought_within_seconds_of_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.broker.held, stage.broker.cash, account = {"AAPL": Decimal(100)}, Decimal(0), stage.broker.account

    async def cash_only() -> AccountSighting:
        return msgspec.structs.replace(await account(), buying_power=stage.broker.cash)

    monkeypatch.setattr(stage.broker, "account", cash_only)
    stage.targets.write_text('{"quantities": {"AAPL": 0, "MSFT": 150}}')

    async def script(stage: Stage) -> None:
        await wait(15)

    stage.play(script, every=3600.0)
    assert stage.held() == {"MSFT": Decimal(150)}


def test_while_the_cancels_of_a_stop_are_under_way_nothing_is_decided_anew(stage: Stage) -> None:
    stage.targets.write_text('{"quantities": {"AAPL": 10, "MSFT": 5}}')
    stage.broker.match = lambda _name: None  # nothing is filled: the orders rest
    at_once = stage.broker.cancel

    async def slowly(order: Order) -> None:
        asyncio.get_running_loop().call_later(2.0 * (order.symbol == "MSFT"), lambda: asyncio.ensure_future(at_once(order)))

    stage.broker.cancel = slowly

    async def script(stage: Stage) -> None:
        await wait(5)

    stage.play(script, every=0.5)
    assert [order.status for order in stage.broker.book.values()] == ["canceled", "canceled"]
    assert stage.live.state.gates == frozenset()


def test_what_was_done_before_an_account_was_opened_anew_is_not_its_own(stage: Stage) -> None:
    stage.own_folder = stage.folder / "data" / account_folder("v")
    log = EmergencyLog(stage.own_folder)
    log.prepare()
    log.write(EmergencyAct(number=1, ts=stage.start, act=Act.HALT, person="ann", reason="last week", level=3))

    async def script(stage: Stage) -> None:
        await wait(10)

    stage.play(script)
    assert stage.of(e.EmergencyAdopted) == []
    assert stage.held() == {"AAPL": Decimal(10)}
    (kept,) = stage.own_folder.glob("emergency-before-*.log")
    assert [act.reason for act in EmergencyLog(stage.own_folder, kept.name).read()] == ["last week"]
    assert log.read() == []


@pytest.mark.parametrize("why", ["halted", "canceled", "stream down"])
def test_an_order_that_waits_for_the_rate_limit_does_not_leave_once_it_may_not(stage: Stage, why: str) -> None:
    stage.broker.queue_seconds = 4.0
    commands = {
        "halted": Halt(level=1, reason="enough", person="ann"),
        "canceled": Cancel(request_id="c1", client_order_id="", person="ann", reason="no"),
    }

    async def script(stage: Stage) -> None:
        while not stage.live.state.orders:
            await wait(0.1)
        await wait(1.0)
        if why in commands:
            send(stage.folder / "data", "v", commands[why])
        else:
            stage.broker.drop()
        await wait(8.0)

    stage.play(script)
    assert stage.broker.book == {}
    assert stage.of(e.OrderOutcomeUnknown) == []


def test_the_keys_of_another_account_book_nothing_here(stage: Stage) -> None:
    async def script(stage: Stage) -> None:
        await wait(10)

    async def another() -> AccountSighting:
        return replace(await MemoryBroker.account(stage.broker), account_number="2")

    async def away() -> AccountSighting:
        raise BrokerUnavailable("no answer")

    stage.play(script)
    there = len(stage.frames)
    stage.broker.account = another
    with pytest.raises(ConfigError, match="another account"):
        stage.play(script)
    assert len(stage.frames) == there
    stage.broker.account = away
    stage.play(script)  # an account that has something to close is not kept waiting
    assert len(stage.frames) > there


def test_a_request_that_is_given_up_is_answered(stage: Stage) -> None:
    data = stage.folder / "data"
    asked = Place(
        request_id="q1", symbol="MSFT", side=Side.BUY, quantity=Decimal(1), order_type=OrderType.MARKET, limit_price=None,
        time_in_force=None, reason="", person="ann",
    )  # fmt: skip

    async def script(stage: Stage) -> None:
        await wait(3)
        stage.broker.trouble = away("asset")
        send(data, "v", asked)
        await wait(200)

    stage.play(script)
    (said,) = [frame for frame in stage.of(e.TroubleSeen) if frame.request_id]
    assert (said.request_id, "given up" in said.message) == ("q1", True)
    journal = open_journal(data, read_settings().keys, "v")  # an executor runs: the request has been taken, and is over
    taken = Timer(0.2, lambda: [path.unlink() for path in (data / commands_folder("v")).glob("*.json")])
    taken.start()
    with pytest.raises(BrokerUnavailable, match="given up"):
        Asking(data, "v", lambda _digest: pytest.fail("no bundle is used")).place(asked, 5.0)
    taken.join()
    journal.close()


def test_a_request_that_cannot_be_carried_out_ends_no_run_and_is_answered(stage: Stage) -> None:
    async def script(stage: Stage) -> None:
        await wait(6)
        stage.broker.held["MSFT"] = Decimal("Infinity")  # whatever the reason: it would be found again by every start
        send(stage.folder / "data", "v", Adopt(request_id="a", reason="as the broker has it", person="someone"))
        await wait(30)
        assert not list(Mailbox(stage.folder / "data", "v").commands())

    stage.play(script)
    (said,) = [frame for frame in stage.of(e.TroubleSeen) if frame.request_id]
    assert (said.request_id, "given up" in said.message, "impossible position" in said.message) == ("a", True, True)


def test_a_decision_on_targets_is_opened_and_decided_again(stage: Stage) -> None:
    async def script(stage: Stage) -> None:
        await wait(30)

    stage.play(script)
    with closing(JournalReader(stage.folder / "data" / journal_file("v"))) as reader:
        after = tell(reader.read(), lambda _digest: pytest.fail("no bundle is used"))
        recorded = after.decisions[0]
        before = tell(reader.read(), lambda _digest: pytest.fail("no bundle is used"), until_seq=recorded.due_seq)
    opened = reopen(before, recorded, after)
    assert opened is not None
    found = again(opened, [])
    assert (found.identical, [(row.symbol, row.recorded, row.now) for row in found.orders]) == (True, [("AAPL", 10, 10)])
    assert [row.now for row in again(opened, ["position.AAPL=4"]).orders if row.now] == [6]
