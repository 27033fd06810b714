"""What has come while the disk was busy is one commit: nothing of it is told to anybody before, and nothing is booked twice in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from hedgefund_core.errors import InvariantViolation
from hedgefund_core.trading import events as e
from hedgefund_core.trading.observed import Channel, FillSighting, OrderSighting
from hedgefund_core.trading.order import Order
from live_executor.crash import hook_crashes
from live_executor.desk import Desk
from live_executor.journals.sqlite import SqliteJournal
from live_executor.ports import MayLeave
from live_executor.recovery import restart
from live_executor.simulation.disk import Disk, SimulatedJournal
from tests.scenario.stage import NOON, Stage, wait

NAMES = [f"N{n:02d}" for n in range(40)]


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Kinds of frames of each commit, in order."""
    seen: list[list[str]] = []
    append = SqliteJournal.append

    def counted(self: SqliteJournal, frames: Sequence[e.Event]) -> object:
        head = append(self, frames)
        seen.append([e.kind_of(frame) for frame in frames])
        return head

    monkeypatch.setattr(SqliteJournal, "append", counted)
    return seen


@pytest.fixture
def stage(own_house: Path) -> Stage:
    stage = Stage(own_house)
    stage.broker.prices = dict.fromkeys(NAMES, Decimal(100))
    stage.targets.write_text('{"quantities": {' + ", ".join(f'"{name}": 5' for name in NAMES) + "}}")
    return stage


async def _until_held(stage: Stage) -> None:
    while len(stage.held()) < len(NAMES):
        await wait(0.5)
    await wait(5)


def test_answers_and_fills_that_have_come_together_are_one_commit(stage: Stage, commits: list[list[str]]) -> None:
    stage.play(_until_held, every=3600.0, orders_in_flight=20)
    booked = [kinds for kinds in commits if "order_accepted" in kinds or "order_filled" in kinds]
    assert sum(kinds.count("order_filled") for kinds in booked) == len(NAMES)
    assert len(booked) <= 8, "twenty in flight at a time, each accepted and filled"
    assert sum(kinds.count("orders_intended") for kinds in commits) == 1, "one decision, one frame of its orders"


def test_one_alone_waits_for_nobody(stage: Stage, commits: list[list[str]]) -> None:
    stage.targets.write_text('{"quantities": {"N00": 5}}')
    heard: dict[str, float] = {}

    async def script(stage: Stage) -> None:
        while not stage.held():
            await wait(0.5)
        heard["filled"] = asyncio.get_running_loop().time()
        state = stage.live.state
        assert state.ledger.quantity("N00") == 5, "no virtual time passes between what the stream says and the commit"

    stage.play(script)
    assert heard


def test_a_strangers_fill_that_is_told_twice_at_once_is_booked_once(stage: Stage) -> None:
    fill = FillSighting(execution_id="x1", quantity=Decimal(3), price=Decimal(100), cumulative_quantity=Decimal(3), at=NOON)
    told = OrderSighting(
        client_order_id="by-hand", broker_order_id="s1", symbol="N00", side="buy", quantity=Decimal(3), filled_quantity=Decimal(3),
        average_price=Decimal(100), status="filled", channel=Channel.STREAM, at=NOON, fill=fill,
    )  # fmt: skip

    async def script(stage: Stage) -> None:
        await _until_held(stage)
        now = stage.clock.now()
        for _ in range(2):
            stage.broker._tell(replace(told, at=now, fill=replace(fill, at=now)))
        await wait(1)

    stage.play(script, every=3600.0)
    assert len(stage.of(e.ExternalFilled)) == 1


# ---- the desk ------------------------------------------------------------------------------------------------------------------


def _desk(disk: Disk) -> Desk:
    journal = SimulatedJournal(disk, lambda: None)
    return Desk(journal, restart(journal, lambda _digest: pytest.fail("no bundle")), sign_every=100, now=lambda: NOON)


def _opened() -> e.AccountOpened:
    return e.AccountOpened(
        ts=NOON, account="g", book="b", mode="paper", broker="memory", instruments=(), initial_cash=Decimal(1000), source="memory",
        price_kind="raw",
    )  # fmt: skip


def _cash(amount: int) -> e.CashPosted:
    return e.CashPosted(
        ts=NOON, broker_seq=0, activity_id=f"a{amount}", cash_kind=e.CashKind.DEPOSIT, amount=Decimal(amount), session="2026-11-24"
    )  # fmt: skip


def test_a_group_is_one_commit_and_each_event_stands_on_those_before_it() -> None:
    disk, commits = Disk(), list[int]()
    disk.on_durable = lambda frames: commits.append(len(frames))
    desk = _desk(disk)
    desk.open([_opened()])
    with desk.together():
        desk.book([_cash(1)])
        desk.book([_cash(2)])
        assert desk.state.ledger.cash == 1003
        assert commits == [1], "nothing of it is durable yet"
    assert commits == [1, 2]
    assert (desk.state.ledger.cash, desk.state.broker_seq) == (Decimal(1003), 2)
    assert restart(SimulatedJournal(disk, lambda: None), lambda _digest: pytest.fail("no bundle")).state == desk.state


@pytest.mark.parametrize("ending", [SystemExit(), InvariantViolation("broken")], ids=["power cut", "broken books"])
def test_a_group_that_does_not_come_to_its_end_leaves_nothing_behind(ending: BaseException) -> None:
    disk = Disk()
    desk = _desk(disk)
    desk.open([_opened()])

    def cut_short() -> None:
        with desk.together():
            desk.book([_cash(1)])
            raise ending

    with pytest.raises(type(ending)):
        cut_short()
    assert (desk.state.ledger.cash, disk.head.seq) == (Decimal(1000), 1)
    desk.book([_cash(2)])
    assert (desk.state.ledger.cash, desk.state.broker_seq) == (Decimal(1002), 1)


@pytest.mark.parametrize(("point", "kept"), [("before_journal", 1), ("after_journal", 3)])
def test_a_group_is_cut_before_or_after_it_is_durable_and_never_in_between(point: str, kept: int) -> None:
    disk = Disk()
    desk = _desk(disk)
    desk.open([_opened()])

    def cut(name: str) -> None:
        if name == point:
            raise SystemExit

    def book() -> None:
        with desk.together():
            desk.book([_cash(1)])
            desk.book([_cash(2)])

    hook_crashes(cut)
    try:
        with pytest.raises(SystemExit):
            book()
    finally:
        hook_crashes(None)
    assert disk.head.seq == kept
    assert _desk(disk).state.ledger.cash == (1003 if kept == 3 else 1000)


def test_whoever_waits_for_a_commit_that_does_not_come_is_let_go(stage: Stage) -> None:
    """A request that loses its own cancel in the moment of its answer must not keep a run that ends from ending."""
    submit, sent = stage.broker.submit, list[str]()

    async def stubborn(order: Order, *, may_leave: MayLeave | None = None) -> OrderSighting:
        sent.append(order.client_order_id)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return await submit(order, may_leave=may_leave)

    stage.broker.submit = stubborn  # type: ignore[method-assign]
    stage.targets.write_text('{"quantities": {"N00": 5}}')

    async def script(stage: Stage) -> None:
        while not sent:
            await wait(0.5)

    stage.play(script, on_stop="leave")
    assert len(sent) == 1


def test_a_query_that_overtakes_the_stream_waits_a_moment_before_it_asks_for_what_is_on_its_way(stage: Stage) -> None:
    stage.broker.match = lambda _name: None  # type: ignore[method-assign] # nothing is filled before the script says so
    stage.targets.write_text('{"quantities": {"N00": 5}}')
    asked: list[str] = []

    async def script(stage: Stage) -> None:
        await wait(3)
        name = next(iter(stage.broker.book))
        stage.broker.trouble = asked.append
        new = stage.broker.book[name]
        fills = [
            FillSighting(
                execution_id=f"x{n}", quantity=Decimal(q), price=Decimal(100), cumulative_quantity=Decimal(c), at=stage.clock.now()
            )
            for n, q, c in ((1, 2, 2), (2, 3, 5))
        ]
        part = replace(new, status="partially_filled", filled_quantity=Decimal(2), average_price=Decimal(100), fill=fills[0])
        whole = replace(new, status="filled", filled_quantity=Decimal(5), average_price=Decimal(100), fill=fills[1], channel=Channel.STREAM)
        loop = asyncio.get_running_loop()
        loop.call_later(0.03, stage.broker._tell, replace(part, channel=Channel.STREAM))
        await stage.live._intake.order(whole)  # the second fill, seen before the first
        order = stage.live.state.known_orders[name]
        assert (order.filled_quantity, len(order.fill_ids)) == (Decimal(5), 2)

    stage.play(script, every=3600.0, reprice_seconds=600.0, on_stop="leave", orders_every_seconds=600.0, books_every_seconds=600.0)
    assert "activities" not in asked
