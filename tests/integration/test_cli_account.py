"""The reading commands: their JSON is public, agrees with itself, and comes from the journal alone."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hedgefund_core.layout import panel_manifest
from hedgefund_core.risk import RULES
from live_executor.cli import app
from tests.builders import tradable_panel, write_executor_house

STATUS = {
    "state", "mode", "broker", "session", "equity", "cash", "day_pnl", "drawdown", "model", "feed", "orders_open", "unknown_orders",
    "journal", "reconciled_at",
}  # fmt: skip
POSITION = {"symbol", "quantity", "average_price", "last_price", "market_value", "unrealized_pnl", "weight"}
ORDER = {
    "client_order_id", "broker_order_id", "symbol", "side", "quantity", "type", "limit_price", "time_in_force", "status",
    "filled_quantity", "average_fill_price", "decision_id", "submitted_at", "updated_at", "denied_by", "reason",
}  # fmt: skip
FILL = {"fill_id", "client_order_id", "symbol", "side", "quantity", "price", "commission", "ts"}
RISK = {"rule", "measured", "warn", "limit", "unit", "status"}


def executor(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def parsed(*arguments: str, code: int = 0):
    result = executor(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_status_has_the_public_fields_and_decimals_are_strings(traded: Path) -> None:
    found = parsed("status")
    assert set(found) >= STATUS
    assert isinstance(found["equity"], str)
    assert isinstance(found["drawdown"], float)
    assert found["state"] == "active"
    assert (found["mode"], found["broker"]) == ("replay", "simulated")
    assert set(found["model"]) == {"name", "version", "alias", "age_seconds"}
    assert found["model"]["age_seconds"] > 0
    assert found["reconciled_at"].endswith("Z")
    assert found["feed"]["connected"] is False


def test_positions_and_cash_are_the_equity(traded: Path) -> None:
    status, rows = parsed("status"), parsed("positions")
    assert rows
    assert all(set(row) >= POSITION for row in rows)
    assert Decimal(status["cash"]) + sum(Decimal(row["market_value"]) for row in rows) == Decimal(status["equity"])
    for row in rows:
        assert row["weight"] == pytest.approx(float(Decimal(row["market_value"]) / Decimal(status["equity"])))


def test_fills_make_the_orders_and_the_positions(traded: Path) -> None:
    orders, fills = parsed("orders"), parsed("fills")
    assert all(set(row) >= ORDER for row in orders)
    assert all(set(row) >= FILL for row in fills)
    filled: dict[str, Decimal] = {}
    for row in fills:
        filled[row["client_order_id"]] = filled.get(row["client_order_id"], Decimal(0)) + Decimal(row["quantity"])
    for row in orders:
        assert Decimal(row["filled_quantity"]) == filled.get(row["client_order_id"], Decimal(0))
        assert len(row["client_order_id"]) <= 48
    assert {row["status"] for row in orders} <= {"filled", "expired", "denied", "accepted", "canceled", "rejected", "partially_filled"}
    assert all(row["denied_by"] and row["reason"] for row in orders if row["status"] == "denied")


def test_orders_can_be_chosen(traded: Path) -> None:
    everything = parsed("orders")
    symbol = everything[0]["symbol"]
    assert parsed("orders", "--symbol", symbol) == [row for row in everything if row["symbol"] == symbol]
    assert parsed("orders", "--status", "filled", "--last", "2") == [row for row in everything if row["status"] == "filled"][-2:]


def test_profit_is_what_equity_gained(traded: Path) -> None:
    status, found = parsed("status"), parsed("pnl")
    total = Decimal(found["total"])
    assert total == Decimal(status["equity"]) - 1_000_000
    assert Decimal(found["gross_of_costs"]) == total + Decimal(found["commission"]) + Decimal(found["borrow"])
    assert Decimal(found["commission"]) == sum(Decimal(row["commission"]) for row in parsed("fills"))
    assert found["time_weighted_return"] == pytest.approx(float(total / 1_000_000), rel=1e-9)
    by_name = sum(Decimal(row["total"]) for row in found["by_instrument"])
    lines = {row["kind"]: Decimal(row["amount"]) for row in parsed("statement")["lines"]}
    others = sum(lines.get(kind, Decimal(0)) for kind in ("dividend", "borrow", "cash_in_lieu"))
    assert abs(by_name + others - total) < Decimal("0.1"), "average cost is rounded to six places after splits"


def test_the_statement_ties_out_in_total_and_month_by_month(traded: Path) -> None:
    whole = parsed("statement")
    assert whole["cash_ties_out"]
    assert whole["reconciled"]
    assert Decimal(whole["closing_cash"]) == Decimal(parsed("status")["cash"])
    months = sorted({row["session"][:7] for row in parsed("fills")})
    closing, growth = None, 1.0
    for month in months:
        found = parsed("statement", "--month", month)
        assert found["cash_ties_out"], month
        lines = sum(Decimal(row["amount"]) for row in found["lines"])
        assert Decimal(found["opening_cash"]) + lines == Decimal(found["closing_cash"])
        assert closing in {None, found["opening_cash"]}
        closing, growth = found["closing_cash"], growth * (1 + found["time_weighted_return"])
    assert growth - 1 == pytest.approx(whole["time_weighted_return"], abs=1e-12)


def test_risk_lists_every_rule_and_every_account_limit(traded: Path) -> None:
    rows = parsed("risk")
    assert all(set(row) >= RISK for row in rows)
    named = [row["rule"] for row in rows]
    assert len(named) == len(set(named))
    account = {"gross_exposure", "net_exposure", "position_weight", "drawdown", "intraday_loss", "volatility", "beta", "value_at_risk"}
    assert set(named) == {rule.name for rule in RULES} | account
    gross = next(row for row in rows if row["rule"] == "gross_exposure")
    weights = sum(abs(row["weight"]) for row in parsed("positions"))
    assert gross["measured"] == pytest.approx(weights, rel=1e-9)
    assert gross["limit"] == 1.5
    assert {row["status"] for row in rows} <= {"ok", "warn", "breach", "not_evaluable", "idle"}


def test_signals_are_ranked_and_their_weights_are_the_targets(traded: Path) -> None:
    rows = parsed("signals")
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    again = parsed("decision", "last")
    assert {row["symbol"]: row["target_weight"] for row in rows} == {row["symbol"]: row["recorded"] for row in again["weights"]}


def test_models_show_age_expiry_and_gate(traded: Path) -> None:
    (row,) = parsed("models")
    assert row["in_use"]
    assert row["usable"]
    assert row["gate"] == "bootstrap: passed"
    assert row["mlflow_run_id"] == "run"
    assert row["expires_on"] > row["trained_through"]
    assert not row["expired"]


# ---- why ----------------------------------------------------------------------------------------------------------------


def test_an_order_is_explained_back_to_the_file_and_the_runs(traded: Path) -> None:
    order = next(row for row in parsed("orders") if row["status"] == "filled")
    manifest = traded / "data" / panel_manifest("noise")
    raw = {"dataset": "d", "origin": "vendor", "file": "raw/x.csv", "sha256": "ab", "retrieved_at": "2020-01-01T00:00:00Z"}
    found = parsed("explain", order["client_order_id"][:12])
    version = found["bars"][-1]["data_version"]
    manifest.write_text(json.dumps({"data_version": version, "raw_files": [raw]}), encoding="utf-8")
    found = parsed("explain", order["client_order_id"])
    assert found["order"] == order
    assert {row["rule"] for row in found["verdicts"]} == {rule.name for rule in RULES}
    assert all(row["verdict"] == "allow" for row in found["verdicts"])
    assert found["decision"]["decision_id"] == order["decision_id"]
    assert [row["name"] for row in found["features"]] == ["reversal_5"]
    assert found["features"][0]["value"] == pytest.approx(found["decision"]["score"], abs=1e-9)
    assert found["bars"][-1]["session"] == found["decision"]["session"] < order["session"]
    assert found["panel"]["same_version"]
    assert found["panel"]["raw_files"] == [raw]
    assert found["model"]["digest"]
    assert (found["mlflow_run_id"], found["dagster_run_id"]) == ("run", "dagster")


def test_a_bar_is_explained_forward_to_the_orders_that_used_it(traded: Path) -> None:
    order = next(row for row in parsed("orders") if row["status"] == "filled")
    session = parsed("explain", order["client_order_id"])["decision"]["session"]
    found = parsed("explain", "--bar", f"{order['symbol']}@{session}")
    use = next(row for row in found["decisions"] if row["decision_id"] == order["decision_id"])
    assert use["sessions_later"] == 0
    assert order["client_order_id"] in use["orders"]
    assert all(row["sessions_later"] >= 0 for row in found["decisions"])
    assert found["bar"]["close"] > 0
    history = parsed("explain", "--bar", f"{order['symbol']}@{parsed('explain', order['client_order_id'])['first_bar']}")
    assert history["bar"]["close"] > 0


def test_a_decision_comes_out_the_same_and_an_edit_changes_it(traded: Path) -> None:
    decision = parsed("orders")[-1]["decision_id"]
    same = parsed("decision", decision)
    assert same["identical"]
    assert all(row["recorded"] == row["now"] for row in same["orders"])
    half = parsed("decision", decision, "--edit", "mandate.target_volatility=0.02", "--edit", "equity=500000")
    assert not half["identical"]
    volatility = next(row for row in half["scalers"] if row["name"] == "volatility")
    assert volatility["now"] < volatility["recorded"]
    assert any(row["recorded"] != row["now"] for row in half["orders"])


@pytest.mark.parametrize(
    "edit", ["price.S1=1", "position.S1=100", "weight.S1=0.05", "feature.S1.reversal_5=9", "cash=1", "drawdown=0.07", "ladder=reducing"]
)
def test_every_kind_of_edit_reaches_the_decision(traded: Path, edit: str) -> None:
    assert not parsed("decision", "last", "--edit", edit)["identical"]


@pytest.mark.parametrize("edit", ["equty=1", "price.NOPE=1", "mandate.target_volatilty=1", "equity", "equity=much", "feature.S1.nope=1"])
def test_an_unknown_edit_is_a_usage_error_that_names_the_valid_ones(traded: Path, edit: str) -> None:
    result = executor("decision", "last", "--edit", edit)
    assert result.exit_code == 2
    assert "equity" in result.stderr


def test_a_plan_trades_nothing_and_shows_risk_before_and_after(traded: Path) -> None:
    before = parsed("status")
    found = parsed("plan", "--diff")
    assert parsed("status") == before
    assert {row["measure"] for row in found["exposures"]} >= {"gross", "net", "volatility", "beta"}
    measures = {row["measure"]: row for row in found["exposures"]}
    assert measures["gross"]["after"] <= measures["gross"]["limit"]
    assert measures["volatility"]["after"] <= measures["volatility"]["limit"]
    allowed = [row for row in found["orders"] if row["verdict"] == "allowed"]
    assert allowed
    assert Decimal(found["cost"]) == sum(Decimal(row["cost"]) for row in allowed)
    assert all(Decimal(row["cost"]) == pytest.approx(Decimal(row["value"]) * Decimal("0.0003"), rel=Decimal("1e-6")) for row in allowed)


@pytest.mark.parametrize(
    "command",
    ["status", "positions", "orders", "fills", "pnl", "statement", "risk", "signals", "models", "plan --diff", "decision last",
     "config show --origin", "config schema risk", "config validate"],
)  # fmt: skip
def test_every_view_has_words_for_people_too(traded: Path, command: str) -> None:
    result = executor(*command.split())
    assert result.exit_code == 0, result.output
    assert len(result.stdout) > 40
    assert "Traceback" not in result.output


def test_doctor_names_what_is_wrong_with_the_command_that_mends_it(traded: Path) -> None:
    key = traded / "config" / "keys" / "journal.key"
    key.chmod(0o644)
    findings = {row["check"]: row for row in parsed("doctor", code=1)}
    assert findings["key journal.key"]["status"] == "fail"
    assert findings["key journal.key"]["mend"] == f"chmod 600 {key}"
    key.chmod(0o600)
    findings = {row["check"]: row for row in parsed("doctor")}
    assert findings["panel"]["status"] == findings["journal"]["status"] == findings["minimum capital"]["status"] == "ok"
    assert findings["champion"]["status"] == "warn"
    assert all(row["mend"] for row in findings.values() if row["status"] != "ok")


def test_configuration_shows_where_each_value_comes_from(own_house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEDGEFUND_TRADING__INITIAL_CASH", "250000")
    rows = {f"{row['file']}.{row['key']}": row for row in parsed("config", "show", "--origin")}
    assert rows["trading.initial_cash"]["value"] == "250000"
    assert rows["trading.initial_cash"]["origin"] == "HEDGEFUND_TRADING__INITIAL_CASH"
    assert rows["trading.account"]["origin"] == str(own_house / "config" / "trading.yaml")
    assert "risk.mandates.market_neutral.limits.max_gross" in rows


def test_a_rule_without_data_is_listed_with_its_reason_and_a_denied_order_with_its_rule(own_house: Path) -> None:
    bundle = write_executor_house(own_house, tradable_panel(n_sessions=90, opens=False), trained=60)
    arguments = ("run", "--source", "noise", "--bundle", str(bundle), "--account", "closes", "--max-sessions", "12")
    assert executor(*arguments).exit_code == 0
    rows = {row["rule"]: row for row in parsed("risk")}
    assert rows["order_quantity"]["status"] == "not_evaluable"
    assert "noise has no data for it" in rows["order_quantity"]["reason"]
    order = parsed("orders")[0]
    verdicts = {row["rule"]: row for row in parsed("explain", order["client_order_id"])["verdicts"]}
    assert verdicts["order_quantity"]["verdict"] == "not_evaluable"
    assert order["time_in_force"] == "cls"
    assert parsed("replay", "--verify")["ok"]


def test_a_denied_order_is_explained_by_the_rule_that_denied_it(traded: Path) -> None:
    order = parsed("orders", "--status", "denied")[0]
    found = parsed("explain", order["client_order_id"])
    denials = [row for row in found["verdicts"] if row["verdict"] == "deny"]
    assert denials[0]["rule"] == order["denied_by"]
    assert denials[0]["measured"] > denials[0]["limit"]
    assert found["fills"] == []
