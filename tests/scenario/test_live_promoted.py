"""From research to a broker's fill and back: a model that research promoted trades at a broker, and `explain` walks the whole way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from mlflow import MlflowClient

from hedgefund_core.layout import CHAMPION, MLFLOW_DB, REGISTERED_MODEL
from hedgefund_core.quant.bars import Panel, PriceKind
from hedgefund_dagster.books import BOOKS
from hedgefund_dagster.demo_loop import Pipeline
from hedgefund_dagster.resources.lake import Lake
from live_executor.app_live import LiveRequest
from tests.alpaca_server.server import Scenario
from tests.builders import noisy_panel, write_price_folder
from tests.live_house import Exchange, Hosted, House

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
BOOK, MANDATE, SESSIONS = BOOKS["own_files"], "market_neutral", 1080
KNOWN = (29, 20)
"""Hour and minute (UTC) at which a file's bar of a day is known: the day has ended in New York, and some minutes more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """A house whose lake, registry and Dagster history are those of a real promotion."""

    house: House
    panel: Panel
    """All sessions; the lake has the file up to the cut."""
    cut: int
    """Row of the session that research ended with."""
    prices: Path
    instance: dg.DagsterInstance
    pipeline: Pipeline

    def until(self, row: int) -> None:
        """The vendor's file up to a session, through ingest and validation into the lake."""
        write_prices(self.prices, self.panel, row)
        self.pipeline.prices_to_features("files")

    def at(self, row: int, hour: int, minute: int = 0) -> None:
        self.house.exchange.ask("/_clock", {"now": _moment(self.panel, row, hour, minute).isoformat()})


def _moment(panel: Panel, row: int, hour: int, minute: int) -> datetime:
    return datetime.fromisoformat(f"{panel.sessions[row]}T00:00:00+00:00") + timedelta(hours=hour, minutes=minute)


def write_prices(folder: Path, panel: Panel, row: int) -> None:
    grids = [getattr(panel, name) for name in ("open", "high", "low", "close", "volume")]
    cells = [
        (name, str(panel.sessions[i]), *(round(float(grid[i, j]), 4) for grid in grids))
        for j, name in enumerate(panel.symbols)
        for i in range(row + 1)
    ]
    write_price_folder(folder, cells, header="symbol,date,open,high,low,close,volume")  # type: ignore[arg-type]


@pytest.fixture
def promoted(own_house: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Promoted]:
    panel = noisy_panel(seed=5, n_sessions=SESSIONS + 5, n_symbols=20, price_kind=PriceKind.SPLIT_ADJUSTED)
    prices = own_house / "prices"
    settings = {"SOURCES__FILES__FOLDER": str(prices), "UNIVERSE__SOURCE": "files", "TRADING__ALIAS_EVERY": "1h"}
    for name, value in settings.items():
        monkeypatch.setenv(f"HEDGEFUND_{name}", value)
    cut = next(row for row in range(SESSIONS - 10, SESSIONS) if panel.sessions[row].astype(object).weekday() == 4)
    write_prices(prices, panel, cut)
    quotes = {symbol: _around(panel.close[cut, column]) for column, symbol in enumerate(panel.symbols)}
    now = _moment(panel, cut, *KNOWN).isoformat()
    exchange = Exchange(Scenario(cash=Decimal(1_000_000), hours="regular", now=now, quotes=quotes))
    (own_house / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(own_house / "dagster")) as instance:
        pipeline = Pipeline(instance=instance, lake=Lake(own_house / "data"))
        pipeline.prices_to_features("files")
        pipeline.research(BOOK, MANDATE, str(panel.sessions[cut]), rule_only=True)
        pipeline.promote(BOOK, MANDATE, str(panel.sessions[cut]), rule_only=True)
        house = House(own_house, exchange, monkeypatch)
        yield Promoted(house=house, panel=panel, cut=cut, prices=prices, instance=instance, pipeline=pipeline)
    exchange.close()


def _around(price: float) -> tuple[Decimal, Decimal]:
    middle = Decimal(str(round(float(price), 2)))
    return middle - Decimal("0.01"), middle + Decimal("0.01")


def test_a_promoted_models_fill_is_explained_down_to_the_file_of_its_bars_and_its_runs(promoted: Promoted) -> None:
    trade_one_session(promoted, promoted.cut)
    house, session = promoted.house, str(promoted.panel.sessions[promoted.cut])
    for fill in house.json("fills"):
        told = house.json("explain", fill["client_order_id"])
        assert told["verdicts"]
        assert {verdict["verdict"] for verdict in told["verdicts"]} == {"allow"}
        assert (told["decision"]["session"], [feature["name"] for feature in told["features"]]) == (session, ["momentum_12_1"])
        assert told["decision"]["score"] == pytest.approx(told["features"][0]["value"], abs=1e-9)
        for bar in told["bars"]:
            assert read_raw(house.folder / "data", bar, fill["symbol"]) == pytest.approx(bar["close"])
        assert told["bars"][-1]["session"] == session
        assert told["panel"]["note"] == "" or "written anew" in told["panel"]["note"]
    assert_runs_are_there(promoted, told)
    bar = house.json("explain", "--bar", f"{fill['symbol']}@{session}")
    assert read_raw(house.folder / "data", bar["bar"], fill["symbol"]) == pytest.approx(bar["bar"]["close"])
    assert bar["known_at"]
    (use,) = bar["decisions"]
    assert (use["decision_id"], use["orders"]) == (told["decision"]["decision_id"], [fill["client_order_id"]])
    shown = house.cli("explain", fill["client_order_id"])
    assert shown.exit_code == 0
    assert bar["bar"]["raw_file"] in shown.output.replace("\n", "")
    assert_parity_is_right_by_hand(promoted)


def read_raw(data: Path, bar: dict[str, Any], symbol: str) -> float:
    """The close in the very row of the very payload that a bar is said to come from; the payload's sha256 is the one that is said."""
    content = (data / bar["raw_file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == bar["raw_sha256"]
    cells = content.decode().splitlines()[bar["raw_row"]].split(",")
    assert cells[:2] == [symbol, bar["session"]]
    return float(cells[5])


def assert_runs_are_there(promoted: Promoted, told: dict[str, Any]) -> None:
    """The runs that are named exist: in MLflow with the version that carries the alias, in Dagster as a success."""
    address = f"sqlite:///{promoted.house.folder / 'data' / MLFLOW_DB}"
    client = MlflowClient(tracking_uri=address, registry_uri=address)
    version = client.get_model_version_by_alias(REGISTERED_MODEL, CHAMPION)
    assert (told["model"]["version"], told["mlflow_run_id"]) == (str(version.version), version.run_id)
    assert client.get_run(told["mlflow_run_id"]).info.status == "FINISHED"
    run = promoted.instance.get_run_by_id(told["dagster_run_id"])
    assert run is not None
    assert run.is_success


def assert_parity_is_right_by_hand(promoted: Promoted) -> None:
    """Live profit from fills and closes; the simulator's from what it says of each fill; their difference by cause; slippage."""
    house, panel, row = promoted.house, promoted.panel, promoted.cut + 1
    found = house.json("parity", "--session", str(panel.sessions[row]))
    (session,) = found["sessions"]
    closes = {symbol: round(float(panel.close[row, column]), 4) for column, symbol in enumerate(panel.symbols)}
    orders = {order["client_order_id"]: order for order in house.json("orders")}
    theirs = {finding["what"].split()[1]: finding["backtest"].split(" at ") for finding in found["findings"] if finding["kind"] == "fill"}
    live = [(orders[fill["client_order_id"]], float(fill["quantity"]), float(fill["price"])) for fill in house.json("fills")]
    simulated = [(orders[name], float(words[0]), float(words[1])) for name, words in theirs.items() if words[0] != "nothing"]
    assert len(theirs) == len(live) == session["fills"], "this broker fills at its quotes, never at the auction's price"
    costs = 3e-4  # the mandate's commission; what is borrowed over one night comes beside it
    assert float(session["live_pnl"]) == pytest.approx(profit(live, closes), abs=0.02)
    assert float(session["backtest_pnl"]) == pytest.approx(profit(simulated, closes) - costs * value(simulated), abs=30.0)
    by_cause = {cause: float(amount) for cause, amount in session["by_cause"].items()}
    assert (by_cause["data"], by_cause["model"], by_cause["decision"]) == (0.0, 0.0, 0.0)
    assert by_cause["cost"] == pytest.approx(costs * value(live), abs=30.0), "this broker takes nothing: the schedule's cost is gained"
    assert sum(by_cause.values()) == pytest.approx(float(session["live_pnl"]) - float(session["backtest_pnl"]))
    (kind,) = found["slippage"]
    assert kind["order_type"] == "limit opg"
    for name, fills in (("live_bps", live), ("simulated_bps", simulated)):
        paid = sum(sign(order) * quantity * (price - reference(order, house)) for order, quantity, price in fills)
        assert kind[name] == pytest.approx(1e4 * paid / sum(q * reference(order, house) for order, q, _ in fills), rel=1e-6)


Filled = list[tuple[dict[str, Any], float, float]]


def sign(order: dict[str, Any]) -> int:
    return 1 if order["side"] == "buy" else -1


def value(fills: Filled) -> float:
    return sum(quantity * price for _, quantity, price in fills)


def profit(fills: Filled, closes: dict[str, float]) -> float:
    return sum(sign(order) * quantity * (closes[order["symbol"]] - price) for order, quantity, price in fills)


def reference(order: dict[str, Any], house: House) -> float:
    """The price decided on: the last close that was known."""
    name = order["client_order_id"]
    (intended,) = [one for frame in house.frames("orders_intended") for one in frame.orders if one.client_order_id == name]
    return float(intended.reference_price)


def trade_one_session(promoted: Promoted, cut: int) -> None:
    """Decide after the close, send in the window of the next opening auction, fill, and see that session's bars."""
    house = promoted.house
    hosted = Hosted(LiveRequest(mode="paper"))
    house.hosted = hosted
    try:
        house.until(lambda: bool(house.frames("orders_intended")))
        intended = sum(len(frame.orders) for frame in house.frames("orders_intended"))
        promoted.at(cut + 1, 0, 30)  # Sunday, 19:30 in New York
        house.until(lambda: len(house.exchange.open_orders()) == intended)
        promoted.at(cut + 1, 14, 31)
        house.exchange.act("session", moment="open", by_clock=True)
        house.until(lambda: house.json("status")["orders_open"] == 0)
        house.until(lambda: house.json("status")["session"] == str(promoted.panel.sessions[cut + 1]))
        promoted.at(cut + 1, *KNOWN)
        promoted.until(cut + 1)
        house.until(lambda: len(house.frames("bars_closed")) == 2)
    finally:
        hosted.stop()
        house.hosted = None
