"""Paper trading without a vendor: the simulated broker with a durable book, its own prices or those of a recorded day."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from live_executor.app_live import LiveRequest, run_live
from live_executor.cli import app
from live_executor.feeds.recorder import read_segment, segments
from live_executor.settings import read_settings
from tests.live_house import QUICK


@pytest.fixture
def folder(own_house: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for key, value in QUICK.items():
        monkeypatch.setenv(f"HEDGEFUND_TRADING__LIVE__{key}", value)
    return own_house


def reach(folder: Path, wanted: dict[str, int], account: str, **more: object) -> None:
    targets = folder / f"{account}.json"
    targets.write_text(json.dumps({"quantities": wanted}))
    request = LiveRequest(mode="paper", account=account, broker="simulated", targets=targets, once=True, **more)  # type: ignore[arg-type]
    run_live(read_settings(), request, on_live=lambda _live: None)


def held(account: str) -> dict[str, Decimal]:
    result = CliRunner().invoke(app, ["positions", "--account", account, "--json"])
    assert result.exit_code == 0, result.output + result.stderr
    return {row["symbol"]: Decimal(row["quantity"]) for row in json.loads(result.stdout)}


def shown(*arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output + result.stderr
    return json.loads(result.stdout)


def what_is_shown_agrees(account: str) -> bool:
    """In the middle of a session: equity is cash and positions, its profit is one number everywhere, and the books agree."""
    at = ("--account", account)
    status, profit, stated = shown("status", *at), shown("pnl", *at), shown("statement", *at)
    held = sum(Decimal(row["market_value"]) for row in shown("positions", *at))
    assert Decimal(status["equity"]) == Decimal(status["cash"]) + held == Decimal(stated["closing_equity"])
    assert status["day_pnl"] == profit["day"] == profit["total"]
    assert Decimal(profit["day"]) == sum(Decimal(row["total"]) for row in profit["by_instrument"])
    assert stated["cash_ties_out"]
    assert {row["check"]: row["status"] for row in shown("doctor", *at)}["broker"] == "ok"  # and it asks for neither panel nor model
    return bool(shown("reconcile", *at)["ok"])


def test_targets_are_reached_and_the_book_outlives_the_process(folder: Path) -> None:
    reach(folder, {"AAPL": 20, "MSFT": -10}, "sim")
    assert held("sim") == {"AAPL": 20, "MSFT": -10}
    book = json.loads((folder / "data" / "live" / "sim" / "exchange.json").read_bytes())
    assert {symbol: Decimal(quantity) for symbol, quantity in book["positions"].items() if Decimal(quantity)} == held("sim")
    assert what_is_shown_agrees("sim")
    assert json.loads((folder / "data" / "live" / "sim" / "exchange.json").read_bytes()) == book  # looking changed nothing
    reach(folder, {"AAPL": 5, "MSFT": -10}, "sim")  # another process: the exchange remembers
    assert held("sim") == {"AAPL": 5, "MSFT": -10}
    reach(folder, {}, "sim")  # a file without any name is reached at once, and leaves everything alone
    assert held("sim") == {"AAPL": 5, "MSFT": -10}
    verified = CliRunner().invoke(app, ["replay", "--verify", "--account", "sim"])
    assert verified.exit_code == 0, verified.output
    assert sum(1 for path in segments(folder / "data" / "live" / "sim") for _ in read_segment(path)) > 2
    assert CliRunner().invoke(app, ["audit", "verify", "--account", "sim"]).exit_code == 0
    changed = segments(folder / "data" / "live" / "sim")[0]
    changed.write_bytes(changed.read_bytes().replace(b'"AAPL"', b'"AAPX"', 1))
    audit = CliRunner().invoke(app, ["audit", "verify", "--account", "sim", "--json"])
    assert audit.exit_code == 1
    assert changed.name in json.loads(audit.stdout)["reason"]


def test_a_recorded_day_is_traded_again_at_its_own_prices(folder: Path) -> None:
    reach(folder, {"AAPL": 20}, "first")
    reach(folder, {"AAPL": 20}, "again", feed="replay", recorded="first", speed=1.0)
    assert held("again") == {"AAPL": 20}
    quoted = {
        str(price)
        for path in segments(folder / "data" / "live" / "first")
        for found in read_segment(path)
        for price in (getattr(found.update, "bid", None), getattr(found.update, "ask", None))
    }
    result = CliRunner().invoke(app, ["fills", "--account", "again", "--json"])
    fills = json.loads(result.stdout)
    assert fills
    near = [abs(Decimal(row["price"]) - Decimal(price)) for row in fills for price in quoted if price != "None"]
    assert min(near) <= Decimal("0.02")


def test_a_file_of_targets_without_any_key_is_refused_with_the_way_out_and_that_way_works(folder: Path) -> None:
    targets = folder / "first.json"
    targets.write_text('{"quantities": {"AAPL": 20}}')
    refused = CliRunner().invoke(app, ["run", "--targets", str(targets)])
    assert refused.exit_code == 3
    assert all(words in refused.stderr for words in ("ALPACA_API_KEY", "ALPACA_SECRET_KEY", "--broker simulated --feed simulated"))
    ran = CliRunner().invoke(
        app, ["run", "--targets", str(targets), "--broker", "simulated", "--feed", "simulated", "--account", "first", "--once"]
    )
    assert ran.exit_code == 0, ran.output + ran.stderr
    assert held("first") == {"AAPL": Decimal(20)}
