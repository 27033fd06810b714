"""From a folder of prices to a signed champion, through Dagster in this process; then the executor's own reading of it."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import dagster as dg
import msgspec
import pytest

from hedgefund_core import layout
from hedgefund_core.bundle import gate_admits, read_bundle
from hedgefund_core.errors import DataInvalid
from hedgefund_dagster.books import BOOKS
from hedgefund_dagster.defs.post_trade.report import PostTradeRecord
from hedgefund_dagster.defs.promotion.records import GateOutcome
from hedgefund_dagster.defs.training.records import WalkRecord, folder, read_record
from hedgefund_dagster.demo_loop import Pipeline, cuts_of, new_account, next_session, refuse_too_little
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.model_registry import ModelRegistryResource
from hedgefund_dagster.resources.signing import verify
from tests.builders import planted_panel, price_rows, write_price_folder

BOOK, MANDATE = BOOKS["own_files"], "market_neutral"


@pytest.fixture
def pipeline(own_house, monkeypatch):
    """The whole pipeline over a folder of 8 names, with one quick challenger."""
    prices = write_price_folder(own_house / "prices", price_rows(n_symbols=8, n_sessions=1100))
    monkeypatch.setenv("HEDGEFUND_SOURCES__FILES__FOLDER", str(prices))
    monkeypatch.setenv("HEDGEFUND_MODELS__CHALLENGERS", '{"ridge": [{"alpha": 1000.0}]}')
    monkeypatch.setenv("HEDGEFUND_UNIVERSE__SOURCE", "files")
    with dg.DagsterInstance.ephemeral() as instance:
        made = Pipeline(instance=instance, lake=Lake(own_house / "data"))
        made.prices_to_features("files")
        yield made


def executor(*arguments: str) -> dict[str, object]:
    command = [sys.executable, "-m", "live_executor", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, check=False, env=dict(os.environ), timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_research_gate_alias_trade_and_report(pipeline, own_house):
    panel = pipeline.lake.read_panel("files")
    first, second = cuts_of(panel, 125)
    for cut in (first, second):
        pipeline.research(BOOK, MANDATE, cut)
        pipeline.promote(BOOK, MANDATE, cut)
    early, late = (read_record(pipeline.lake, f"{folder(BOOK.name, MANDATE, cut)}/gate.json", GateOutcome) for cut in (first, second))
    assert (early.action, early.champion, early.continuation.kind) == ("bootstrap", "momentum_12_1", "bootstrap")
    assert late.incumbent is not None
    assert late.continuation.kind == "refit"
    assert {"golden_vectors", "parity", "leakage_findings"} <= set(late.continuation.checks)
    assert late.approval is not None
    assert not late.approval.passed
    walk = read_record(pipeline.lake, f"{folder(BOOK.name, MANDATE, first)}/walk.json", WalkRecord)
    assert walk.cut == first
    registry, keys = ModelRegistryResource().open(), own_house / "config" / "keys"
    champion, challenger = registry.by_alias(layout.CHAMPION), registry.by_alias(layout.CHALLENGER)
    bundle = read_bundle(registry.bundle_files(champion), lambda key, payload, signature: verify(keys, key, payload, signature))
    assert bundle.manifest.name == "momentum_12_1"
    assert gate_admits(bundle.manifest, date(2024, 1, 1))
    refused = read_bundle(registry.bundle_files(challenger), lambda key, payload, signature: verify(keys, key, payload, signature))
    assert not gate_admits(refused.manifest, date(2024, 1, 1))
    assert registry.by_alias(layout.PREVIOUS) is not None or late.action == "keep"
    begin = next_session(panel, bundle.manifest.trained_through)
    executor("run", "--account", "demo-1", "--source", "files", "--from", begin, "--max-sessions", "25")
    pipeline.post_trade("demo-1")
    record = read_record(pipeline.lake, f"{layout.REPORTS}/post_trade_demo-1.json", PostTradeRecord)
    status = executor("status", "--account", "demo-1")
    assert record.sessions == 25
    assert record.fills > 0
    assert float(record.equity_end) == pytest.approx(float(str(status["equity"])))
    assert new_account(own_house / "data") == "demo-2"


def test_an_unproved_feature_refuses_the_bootstrap(pipeline):
    with dg.DagsterInstance.ephemeral() as forgetful:  # an instance in which no look-ahead check ever ran
        other = Pipeline(instance=forgetful, lake=pipeline.lake)
        cut = str(pipeline.lake.read_panel("files").sessions[-1])
        other.research(BOOK, MANDATE, cut, rule_only=True)
        outcome = read_record(pipeline.lake, f"{folder(BOOK.name, MANDATE, cut)}/gate.json", GateOutcome)
        assert outcome.action == "none"
        assert not outcome.continuation.checks["leakage_findings"].passed


def test_cuts_leave_at_least_250_sessions_and_end_with_the_data():
    panel = planted_panel(1, n_names=8, n_sessions=1100)
    cuts = cuts_of(panel, 63)
    first = list(panel.sessions.astype(str)).index(cuts[0])
    assert len(cuts) == 4
    assert panel.shape[0] - 1 - first == 252
    assert next_session(panel, cuts[0]) == str(panel.sessions[first + 1])


def test_too_little_data_is_said_with_what_is_missing():
    with pytest.raises(DataInvalid, match="5 symbols of at least 8; 600 sessions of at least 1006") as caught:
        refuse_too_little(planted_panel(1, n_names=5, n_sessions=600))
    assert caught.value.exit_code == 4


def test_the_shape_of_the_report_is_the_one_of_the_interface():
    from hedgefund_dagster.demo_report import BacktestPart, DemoReport, GatePart, LivePart, ModelPart, TradedPart

    def fields(kind: type[msgspec.Struct]) -> set[str]:
        return set(kind.__struct_fields__)

    assert {"rows_ingested", "symbols", "first_session", "last_session", "quarantined", "model", "gate", "backtest", "models"} <= fields(
        DemoReport
    )
    assert {"traded", "live", "seconds"} <= fields(DemoReport)
    assert {"name", "version", "run_id"} <= fields(ModelPart)
    assert {"kind", "candidate", "passed", "checks"} <= fields(GatePart)
    assert {"sharpe", "sharpe_ci", "max_drawdown", "volatility", "beta", "var_95", "cvar_95", "turnover", "sessions"} <= fields(
        BacktestPart
    )
    assert {"trials", "placebo_percentile"} <= fields(BacktestPart)
    assert {"kind", "name", "version", "reason"} <= fields(TradedPart)
    live = {"sessions", "orders", "fills", "denied", "denied_by", "stand_ins", "max_drawdown_true", "max_drawdown_since_resume"}
    live |= {"realized_volatility", "target_volatility", "equity_start", "equity_end", "replay_ok", "reconcile_ok", "audit_ok"}
    assert live <= fields(LivePart)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--source", "files", "--dir", "nowhere"), 4, "no folder"),
        (("--source", "unheard_of"), 3, "unknown source"),
        (("--source", "bundled_sp500", "--dir", "."), 3, "--dir belongs to"),
    ],
)
def test_a_wrong_argument_of_the_demo_ends_with_its_exit_code(arguments, code, words, own_house, capsys):
    from hedgefund_dagster.demo import main

    assert main(arguments) == code
    assert words in capsys.readouterr().err
    assert not (Path(own_house) / "data" / "live").exists()


@pytest.mark.parametrize(("name", "key"), [("trading", "sign_every_frames"), ("risk", "max_gross"), ("models", "embargo_sessions")])
def test_a_misspelt_key_ends_the_demo_before_anything_is_ingested(name, key, own_house, capsys):
    from hedgefund_dagster.demo import main

    path = Path(own_house) / "config" / f"{name}.yaml"
    path.write_text(path.read_text().replace(f"{key}:", f"{key}x:", 1))
    assert main([]) == 3
    assert f"{key}x" in capsys.readouterr().err
    assert not (Path(own_house) / "data" / "raw").exists()


def test_a_data_folder_that_cannot_be_written_ends_the_demo_in_plain_words(own_house, capsys, monkeypatch):
    from hedgefund_dagster.demo import main

    (Path(own_house) / "file").write_text("a file stands where the folder should be")
    monkeypatch.setenv("HEDGEFUND_DATA_DIR", str(Path(own_house) / "file"))
    assert main([]) == 1
    assert "make the folder writable" in capsys.readouterr().err


def test_a_taken_port_is_said_before_anything_is_started(own_house, capsys):
    import socket

    from hedgefund_dagster.dev import main

    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--dagster-port", str(taken.getsockname()[1])]) == 3
    assert "is taken" in capsys.readouterr().err
