"""The promoted model on the wall clock: decided after the close on the lake's bars, sent in its window, swapped between sessions."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hedgefund_core.errors import ConfigError, ModelUnavailable
from hedgefund_core.layout import panel_file
from hedgefund_core.quant.bars import Panel, PriceKind
from hedgefund_core.quant.panel_codec import pack_panel
from hedgefund_core.trading.order import Order
from live_executor.app_live import LiveRequest
from live_executor.commands import LookAtAlias, send
from tests.alpaca_server.server import Scenario
from tests.builders import tradable_panel, write_bundle, write_executor_house
from tests.live_house import Exchange, Hosted, House

FRIDAY = 149
"""Row of a session that ends its week."""


@pytest.fixture(scope="module")
def whole() -> Panel:
    return tradable_panel(n_sessions=170)


class ModelHouse(House):
    """A lake that grows by sessions, a bundle in a folder, and a broker whose calendar is the panel's."""

    def __init__(self, folder: Path, whole: Panel, monkeypatch: pytest.MonkeyPatch, *, row: int = FRIDAY) -> None:
        self.whole = whole
        quotes = {symbol: _around(price) for symbol, price in zip(whole.symbols, whole.close[row], strict=True)}
        scenario = Scenario(cash=Decimal(1_000_000), hours="regular", now=self.after_close(row).isoformat(), quotes=quotes)
        super().__init__(folder, Exchange(scenario), monkeypatch)
        monkeypatch.setenv("HEDGEFUND_TRADING__ALIAS_EVERY", "1h")
        self.bundle = write_executor_house(folder, self.until_row(row))

    def after_close(self, row: int) -> datetime:
        return datetime.fromisoformat(f"{self.whole.sessions[row]}T21:16:00+00:00")

    def until_row(self, row: int) -> Panel:
        return replace(self.whole.rows(0, row + 1), data_version="")

    def ingest(self, row: int) -> None:
        path = self.folder / "data" / panel_file(self.whole.source)
        fresh = path.with_suffix(".tmp")
        fresh.write_bytes(pack_panel(self.until_row(row)))
        fresh.replace(path)

    def set_clock(self, moment: datetime) -> None:
        self.exchange.ask("/_clock", {"now": moment.isoformat()})

    @contextmanager
    def following(self, bundle: Path | None = None, **request: Any) -> Iterator[Hosted]:
        hosted = Hosted(LiveRequest(mode="paper", bundle=bundle or self.bundle, **request))
        self.hosted = hosted
        try:
            yield hosted
        finally:
            hosted.stop()
            self.hosted = None

    def decisions(self) -> list[Any]:
        return [frame for frame in self.frames("decision_due") if frame.rebalance]


def _around(price: float) -> tuple[Decimal, Decimal]:
    middle = Decimal(str(round(price, 2)))
    return middle - Decimal("0.01"), middle + Decimal("0.01")


@pytest.fixture
def house_at(own_house: Path, whole: Panel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModelHouse]]:
    made: list[ModelHouse] = []

    def make(**more: int) -> ModelHouse:
        made.append(ModelHouse(own_house, whole, monkeypatch, **more))
        return made[-1]

    yield make
    for house in made:
        house.exchange.close()


def test_the_model_decides_after_the_close_and_its_orders_leave_in_the_window_of_the_next_auction(
    house_at: Callable[..., ModelHouse], whole: Panel
) -> None:
    house = house_at()
    monday = datetime.fromisoformat(f"{whole.sessions[FRIDAY + 1]}T00:00:00+00:00")
    with house.following():
        house.until(lambda: bool(house.frames("orders_intended")))
        intended = [order for frame in house.frames("orders_intended") for order in frame.orders]
        assert {order.time_in_force.value for order in intended} == {"opg"}
        assert {order.session for order in intended} == {str(whole.sessions[FRIDAY + 1])}
        (due,) = house.decisions()
        assert (due.session, due.for_session) == (str(whole.sessions[FRIDAY]), str(whole.sessions[FRIDAY + 1]))
        (bars,) = house.frames("bars_closed")
        assert bars.session == due.session
        assert bars.known_at <= due.ts
        assert house.exchange.truth()["orders"] == [], "the broker takes no orders for the auction yet"
        assert house.json("plan", "--diff")["purpose"] == "model"
        assert house.json("explain", intended[0].client_order_id)
    with house.following():  # a restart in between renames nothing and decides nothing again
        house.set_clock(monday - timedelta(minutes=30))  # Sunday, 19:30 in New York
        house.until(lambda: len(house.exchange.open_orders()) == len(intended))
        assert len(house.decisions()) == 1
        house.set_clock(monday + timedelta(hours=14, minutes=31))
        house.exchange.act("session", moment="open", by_clock=True)
        house.until(lambda: house.json("status")["orders_open"] == 0)
        house.until(lambda: bool(house.frames("session_began")) and house.json("status")["session"] == str(whole.sessions[FRIDAY + 1]))
        house.set_clock(house.after_close(FRIDAY + 1))
        house.ingest(FRIDAY + 1)
        house.until(lambda: len(house.frames("bars_closed")) == 2)
    assert {order["client_order_id"] for order in house.exchange.truth()["orders"]} == {order.client_order_id for order in intended}
    assert house.exchange.held()
    house.agree()
    (row,) = house.json("parity", "--session", str(whole.sessions[FRIDAY + 1]))["sessions"]
    assert row["fills"] == len(intended)
    by_cause = {cause: Decimal(value) for cause, value in row["by_cause"].items()}
    assert sum(by_cause.values()) == Decimal(row["live_pnl"]) - Decimal(row["backtest_pnl"])
    assert {cause for cause, value in by_cause.items() if value} == {"execution", "cost"}, (
        "this broker fills at its quotes and takes nothing"
    )
    assert float(row["backtest_pnl"]) == pytest.approx(_bought_at_the_opening(whole, FRIDAY + 1, intended), abs=20.0)


def _bought_at_the_opening(whole: Panel, row: int, orders: list[Order]) -> float:
    """By hand: what the opening auction has of each order, to the close, less commission."""
    got = 0.0
    for order in orders:
        i = whole.symbols.index(order.symbol)
        shares = min(float(order.quantity), whole.volume[row, i] * 0.001 // 1)
        got += shares * (order.side.sign * (whole.close[row, i] - whole.open[row, i]) - 3e-4 * whole.open[row, i])
    return got


def test_without_a_promoted_model_or_with_notional_units_nothing_starts(house_at: Callable[..., ModelHouse], whole: Panel) -> None:
    house = house_at()
    hosted = Hosted(LiveRequest(mode="paper"))
    assert hosted.ended()
    assert isinstance(hosted.error, ModelUnavailable)
    assert hosted.error.exit_code == 7
    units = replace(whole.rows(0, FRIDAY + 1), price_kind=PriceKind.TOTAL_RETURN, source="units", data_version="")
    refused = Hosted(LiveRequest(mode="paper", bundle=write_executor_house(house.folder, units)))
    assert refused.ended()
    assert isinstance(refused.error, ConfigError)


def test_bars_that_come_late_are_waited_for_and_a_missed_rebalance_is_made_up_once(
    house_at: Callable[..., ModelHouse], whole: Panel
) -> None:
    house = house_at(row=FRIDAY - 5)
    with house.following():
        house.until(lambda: len(house.decisions()) == 1)
    house.set_clock(house.after_close(FRIDAY))
    with house.following():
        begun = len(house.frames("reconciled"))
        house.until(lambda: len(house.frames("reconciled")) > begun + 1)
        house.set_clock(house.after_close(FRIDAY) + timedelta(hours=2))
        house.until(lambda: any("no bars of session" in frame.message for frame in house.frames("alert_raised")))
        assert len(house.frames("decision_due")) == 1
    house.set_clock(house.after_close(FRIDAY + 1))
    house.ingest(FRIDAY + 1)
    with house.following():  # nobody ran on Monday: what Friday should have decided is decided now
        house.until(lambda: len(house.frames("decision_due")) == 2)
        house.set_clock(house.after_close(FRIDAY + 2))
        house.ingest(FRIDAY + 2)
        house.until(lambda: len(house.frames("decision_due")) == 3)
    made = [(due.session, due.rebalance) for due in house.frames("decision_due")]
    assert made == [(str(whole.sessions[FRIDAY + step]), rebalance) for step, rebalance in ((-5, True), (1, True), (2, False))]
    assert house.json("replay", "--verify")["ok"]


def test_another_model_is_verified_in_a_child_and_swapped_between_sessions_and_a_person_goes_back(
    house_at: Callable[..., ModelHouse], whole: Panel
) -> None:
    house = house_at()
    shelf = house.folder / "shelf"
    shutil.copytree(house.bundle, shelf)
    with house.following(bundle=shelf):
        house.until(lambda: bool(house.frames("model_loaded")) and bool(house.frames("orders_intended")))
        first = house.frames("model_loaded")[0].digest
        _put(write_bundle(house.folder, house.until_row(FRIDAY), feature="reversal_21", name="second"), shelf)
        send(house.folder / "data", house.account, LookAtAlias())
        house.until(lambda: len(house.frames("model_loaded")) == 2)
        second = house.frames("model_loaded")[1].digest
        assert second != first
        _put(write_bundle(house.folder, house.until_row(FRIDAY), feature="reversal_21", name="third", passed=False), shelf)
        send(house.folder / "data", house.account, LookAtAlias())
        house.until(lambda: any("model refused" in frame.message for frame in house.frames("alert_raised")))
        (shelf / "manifest.json").unlink()  # the registry is away: nothing changes
        send(house.folder / "data", house.account, LookAtAlias())
        told = house.json("model", "rollback", "--reason", "worse than promised", "--person", "ada")
        assert told["digest"] == first
        back = house.frames("model_loaded")[2]
        assert (back.digest, back.person, back.reason) == (first, "ada", "worse than promised")
        _put(house.folder / "second", shelf)
        house.until(lambda: not list((house.folder / "data" / "live" / house.account / "commands").glob("*.json")))
    with house.following(bundle=shelf):  # the alias still points to what a person went back from
        known = len(house.frames("reconciled"))
        house.until(lambda: len(house.frames("reconciled")) > known)
        assert len(house.frames("model_loaded")) == 3
    assert house.json("status")["model"]["version"] == back.version
    assert house.json("replay", "--verify")["ok"]


def _put(bundle: Path, shelf: Path) -> None:
    for path in bundle.iterdir():
        shutil.copy(path, shelf / f".{path.name}")
        (shelf / f".{path.name}").replace(shelf / path.name)
