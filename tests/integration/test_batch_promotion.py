"""A planted signal through research, gate, alias and executor: what the gate approved is what trades."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from hedgefund_core import layout
from hedgefund_core.bundle import Bundle, read_bundle
from hedgefund_core.quant.features import compute_features
from hedgefund_core.quant.models import score_panel
from hedgefund_core.quant.signals import quantize_scores
from hedgefund_core.trading import events as e
from hedgefund_dagster.books import BOOKS
from hedgefund_dagster.defs.promotion.promote import Promotion
from hedgefund_dagster.defs.promotion.records import GateOutcome
from hedgefund_dagster.defs.training.records import WalkRecord, folder, read_record
from hedgefund_dagster.demo_loop import Pipeline, next_session
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.model_registry import ModelRegistryResource
from hedgefund_dagster.resources.signing import verify
from live_executor.journals.sqlite import JournalReader
from tests.builders import planted_panel, write_price_folder

BOOK, MANDATE = BOOKS["own_files"], "market_neutral"
QUICK = {
    "HEDGEFUND_MODELS__CHALLENGERS": '{"ridge": [{"alpha": 1000.0}]}',
    "HEDGEFUND_MODELS__FEATURES": '["momentum_12_1", "reversal_21", "volatility_21"]',
    "HEDGEFUND_MODELS__WALK_FORWARD__FIRST_TRAIN_SESSIONS": "378",
    "HEDGEFUND_MODELS__CHOICE__SELECTION_FOLDS": "1",
    "HEDGEFUND_UNIVERSE__SOURCE": "files",
}


def write_planted(place: Path, seed: int, *, n_names: int, n_sessions: int, strength: float) -> Path:
    panel = planted_panel(seed, n_names=n_names, n_sessions=n_sessions, strength=strength)
    rows = [(name, str(day), float(panel.close[i, j])) for j, name in enumerate(panel.symbols) for i, day in enumerate(panel.sessions)]
    return write_price_folder(place, rows)


def executor(*arguments: str) -> dict:
    command = [sys.executable, "-m", "live_executor", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, check=False, env=dict(os.environ), timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def champion_bundle(house: Path, alias: str = layout.CHAMPION) -> Bundle:
    registry, keys = ModelRegistryResource().open(), house / "config" / "keys"
    return read_bundle(
        registry.bundle_files(registry.by_alias(alias)), lambda key, payload, signature: verify(keys, key, payload, signature)
    )


def frames(house: Path, account: str) -> list[e.Frame]:
    reader = JournalReader(house / "data" / layout.journal_file(account))
    found = [entry.frame for entry in reader.read()]
    reader.close()
    return found


def assert_decided_with(bundle: Bundle, decisions: list[e.DecisionMade], lake: Lake) -> None:
    """Every decision carries that bundle's scores of its session, computed here from the panel by the batch path."""
    panel = lake.read_panel("files")
    values = compute_features(panel, list(bundle.manifest.features)).values
    scores = quantize_scores(score_panel(bundle.model, values, np.isfinite(panel.close)))
    for decision in decisions:
        assert decision.model_digest == bundle.digest
        row = int(np.searchsorted(panel.sessions, np.datetime64(decision.session)))
        mine = np.frombuffer(decision.scores, dtype="<f8")
        np.testing.assert_array_equal(mine, [scores[row, panel.symbols.index(name)] for name in decision.instruments])


def test_an_approved_challenger_becomes_champion_and_trades(own_house, monkeypatch):
    prices = write_planted(own_house / "prices", 3, n_names=32, n_sessions=1300, strength=0.0006)
    for name, value in {**QUICK, "HEDGEFUND_SOURCES__FILES__FOLDER": str(prices)}.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.ephemeral() as instance:
        pipeline = Pipeline(instance=instance, lake=Lake(own_house / "data"))
        pipeline.prices_to_features("files")
        panel = pipeline.lake.read_panel("files")
        first, second = str(panel.sessions[-80]), str(panel.sessions[-20])
        pipeline.research(BOOK, MANDATE, first, rule_only=True)
        pipeline.promote(BOOK, MANDATE, first, rule_only=True)
        assert champion_bundle(own_house).manifest.name == "momentum_12_1"
        pipeline.research(BOOK, MANDATE, second)
        pipeline.promote(BOOK, MANDATE, second)
    outcome = read_record(pipeline.lake, f"{folder(BOOK.name, MANDATE, second)}/gate.json", GateOutcome)
    assert outcome.approval.passed, outcome.approval.checks
    assert outcome.action == "promote"
    bundle = champion_bundle(own_house)
    assert (bundle.manifest.name, bundle.manifest.kind, bundle.manifest.gate.kind) == ("ridge", "linear", "strategy_approval")
    assert champion_bundle(own_house, layout.PREVIOUS).manifest.name == "momentum_12_1"
    ran = executor("run", "--account", "a", "--source", "files", "--from", next_session(panel, second), "--max-sessions", "12")
    assert (ran["sessions"], ran["denied"]) == (12, 0)
    assert ran["fills"] > 20
    told = frames(own_house, "a")
    assert [(frame.name, frame.digest) for frame in told if isinstance(frame, e.ModelLoaded)] == [("ridge", bundle.digest)]
    decisions = [frame for frame in told if isinstance(frame, e.DecisionMade)]
    assert len(decisions) >= 2
    assert_decided_with(bundle, decisions, pipeline.lake)
    assert executor("replay", "--verify", "--account", "a")["ok"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_on_a_planted_signal_trades_the_model_the_gate_approved(own_house, monkeypatch):
    """100 names, 10 years, rank information coefficient 0.05 a month, every setting as it is shipped."""
    from hedgefund_dagster.demo import main

    prices = write_planted(own_house / "prices", 3, n_names=100, n_sessions=2520, strength=0.0004)
    monkeypatch.setenv("DAGSTER_HOME", "")
    assert main(["--source", "files", "--dir", str(prices)]) == 0
    lake = Lake(own_house / "data")
    report = json.loads((own_house / "data" / layout.REPORTS / "demo.json").read_text())
    assert (report["gate"]["kind"], report["gate"]["candidate"], report["gate"]["passed"]) == ("strategy_approval", "ridge", True)
    assert (report["model"]["name"], report["traded"]["kind"]) == ("ridge", "linear")
    assert [report["live"][f"{proof}_ok"] for proof in ("replay", "reconcile", "audit")] == [True, True, True]
    assert report["live"]["sessions"] >= 250
    cuts = sorted(path.name for path in (own_house / "data" / folder(BOOK.name, MANDATE, "x")).parent.iterdir())
    first = read_record(lake, f"{folder(BOOK.name, MANDATE, cuts[0])}/gate.json", GateOutcome)
    assert first.action == "promote"
    assert read_record(lake, f"{folder(BOOK.name, MANDATE, cuts[0])}/walk.json", WalkRecord).challenger.ic.value == pytest.approx(
        0.05, abs=0.01
    )
    promoted = [read_record(lake, f"{folder(BOOK.name, MANDATE, cut)}/champion.json", Promotion) for cut in cuts]
    assert {one.champion for one in promoted} == {"ridge"}
    told = frames(own_house, report["live"]["account"])
    loaded = [frame.digest for frame in told if isinstance(frame, e.ModelLoaded)]
    assert loaded == [one.champion_digest for one in promoted]
    last = champion_bundle(own_house)
    decisions = [frame for frame in told if isinstance(frame, e.DecisionMade)]
    assert {decision.model_digest for decision in decisions} == set(loaded)
    assert_decided_with(last, [decision for decision in decisions if decision.model_digest == last.digest], lake)
