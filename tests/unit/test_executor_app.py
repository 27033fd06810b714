"""The executor as a whole on the broker in its own process: what it refuses, what it keeps, how people stop it."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hedgefund_core.account import State
from hedgefund_core.errors import (
    BrokerUnavailable,
    ConfigError,
    DataInvalid,
    DataUnavailable,
    Halted,
    HedgefundError,
    JournalError,
    ModelMismatch,
    ModelUnavailable,
)
from hedgefund_core.layout import halt_file, journal_file, panel_file, panel_manifest
from hedgefund_core.quant.bars import Panel
from hedgefund_core.quant.panel_codec import data_version, pack_panel
from hedgefund_core.trading import events as e
from live_executor import commands
from live_executor.app import RunRequest, bundles_of, run
from live_executor.app_model import model_plan, opening_of
from live_executor.journals.chain import chain_hash
from live_executor.journals.sqlite import JournalReader, open_journal
from live_executor.models import child
from live_executor.models.child import newest
from live_executor.models.loader import first_model
from live_executor.panels import instruments_of
from live_executor.recovery import recover, refold
from live_executor.runtime import Summary
from live_executor.settings import read_settings
from tests.builders import tradable_panel, write_bundle, write_executor_house

TRAINED = 130


@pytest.fixture
def panel() -> Panel:
    return tradable_panel(n_sessions=TRAINED + 8, n_symbols=6)


@pytest.fixture
def bundle(own_house: Path, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEDGEFUND_RISK__MANDATES__MARKET_NEUTRAL__REBALANCING__ANCHOR", "every")
    return write_executor_house(own_house, panel, trained=TRAINED)


def trade(bundle: Path, **asked: object) -> Summary:
    return run(read_settings(), RunRequest(account="a", source="noise", bundle=bundle, **asked))


def frames(kind: type[e.Event] = e.Event) -> list[e.Frame]:
    reader = JournalReader(read_settings().data / journal_file("a"))
    found = [entry.frame for entry in reader.read()]
    reader.close()
    return [frame for frame in found if isinstance(frame, kind)]


def day(panel: Panel, row: int) -> str:
    return str(panel.sessions[row])


def test_a_run_trades_reconciles_and_is_signed(bundle: Path, own_house: Path) -> None:
    summary = trade(bundle)
    assert (summary.ended, summary.sessions, summary.exit_code) == ("end", 8, 0)
    assert summary.orders > 10
    assert summary.fills > 5
    assert all(frame.ok for frame in frames(e.Reconciled))
    assert len(frames(e.Reconciled)) == 8
    result = JournalReader(own_house / "data" / journal_file("a")).verify(own_house / "config" / "keys")
    assert (result.ok, result.signed_through) == (True, result.entries)
    assert (own_house / "data" / "live" / "LAST_ACCOUNT").read_text() == "a\n"


def test_two_runs_over_a_cut_equal_one(bundle: Path, own_house: Path, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    trade(bundle, last=day(panel, TRAINED + 3))
    trade(bundle, first=day(panel, TRAINED + 3))  # the cut itself is on record and does not come twice
    cut = frames()
    shutil.rmtree(own_house / "data" / "live")
    trade(bundle)
    assert frames() == cut


def test_nothing_is_left_to_do_the_second_time(bundle: Path) -> None:
    trade(bundle)
    before = frames()
    assert trade(bundle).sessions == 0
    assert frames() == before


def test_an_account_on_the_wall_clock_is_never_replayed_on(bundle: Path, panel: Panel) -> None:
    journal = open_journal(read_settings().data, read_settings().keys, "a")
    opened = e.AccountOpened(
        ts=datetime(2026, 3, 2, 15, tzinfo=UTC), account="a", book="b", mode="paper", broker="alpaca", instruments=instruments_of(panel),
        initial_cash=Decimal(1000), source="noise", price_kind=panel.price_kind.value,
    )  # fmt: skip
    journal.append([opened])
    journal.close()
    with pytest.raises(ConfigError, match="paper"):
        trade(bundle)
    assert frames() == [opened]


def test_max_sessions_stops_and_goes_on(bundle: Path) -> None:
    assert trade(bundle, max_sessions=2).sessions == 2
    assert trade(bundle, max_sessions=3).sessions == 3
    assert len(frames(e.SessionBegan)) == 5


def test_decisions_know_only_closed_bars_and_trade_the_next_session(bundle: Path, panel: Panel) -> None:
    trade(bundle)
    sessions = [str(session) for session in panel.sessions]
    for due in frames(e.DecisionDue):
        assert sessions.index(due.for_session) == sessions.index(due.session) + 1
        assert due.time_in_force == "opg"
    for fill in frames(e.OrderFilled):
        order = next(o for frame in frames(e.OrdersIntended) for o in frame.orders if o.client_order_id == fill.client_order_id)
        assert fill.session == order.session
        assert order.submitted_at < fill.ts
    stamps = [frame.ts for frame in frames()]
    assert stamps == sorted(stamps)


def test_a_close_only_source_fills_at_the_close(own_house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEDGEFUND_RISK__MANDATES__MARKET_NEUTRAL__REBALANCING__ANCHOR", "every")
    bundle = write_executor_house(own_house, tradable_panel(TRAINED + 5, 6, opens=False), trained=TRAINED)
    assert trade(bundle).fills > 5
    assert {due.time_in_force for due in frames(e.DecisionDue)} == {"cls"}
    assert frames(e.ConfigurationLoaded)[0].waived == ("order_quantity",)


def test_a_new_model_goes_on_in_the_same_journal(bundle: Path, own_house: Path, panel: Panel) -> None:
    trade(bundle, last=day(panel, TRAINED + 3))
    longer = write_bundle(own_house, panel, feature="volatility_63", trained=TRAINED + 3, name="second")
    trade(longer)
    loaded = frames(e.ModelLoaded)
    assert [model.trained_through for model in loaded] == [day(panel, TRAINED), day(panel, TRAINED + 3)]
    assert {decision.model_digest for decision in frames(e.DecisionMade)} == {model.digest for model in loaded}
    recover(JournalReader(read_settings().data / journal_file("a")).read(), bundles_of(read_settings(), "a"))


# ---- models that may not trade --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["manifest.json", "model.npz", "golden.npz"])
def test_a_tampered_bundle_is_refused_with_exit_4(name: str, bundle: Path) -> None:
    path = bundle / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelMismatch) as caught:
        trade(bundle)
    assert caught.value.exit_code == 4


def test_a_bundle_signed_by_a_stranger_is_refused(bundle: Path, own_house: Path) -> None:
    (own_house / "config" / "keys" / "promotion.pub").unlink()
    with pytest.raises(ModelMismatch, match="not signed by a trusted key"):
        trade(bundle)


def test_the_journal_key_may_not_promote(bundle: Path, own_house: Path) -> None:
    keys = own_house / "config" / "keys"
    (keys / "promotion.pub").rename(keys / "journal.pub")
    with pytest.raises(ModelMismatch, match="not signed by a trusted key"):
        trade(bundle)


def test_a_bundle_that_failed_the_gate_is_refused_naming_it(own_house: Path, panel: Panel, bundle: Path) -> None:
    failed = write_bundle(own_house, panel, name="failed", passed=False)
    with pytest.raises(ModelMismatch, match="version") as caught:
        trade(failed)
    assert "override" in caught.value.mend


@pytest.mark.parametrize(("expires", "allowed"), [("2999-01-01", True), ("2001-01-01", False)])
def test_a_signed_override_counts_until_it_expires(expires: str, allowed: bool, own_house: Path, panel: Panel, bundle: Path) -> None:
    gate = {"kind": "override", "person": "ada", "reason": "shadow run", "expires": expires}
    overridden = write_bundle(own_house, panel, name="overridden", passed=False, **gate)
    if allowed:
        assert trade(overridden, max_sessions=1).sessions == 1
    else:
        with pytest.raises(ModelMismatch):
            trade(overridden)


def test_no_champion_is_exit_7_and_an_account_with_a_model_goes_on(bundle: Path) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        run(read_settings(), RunRequest(account="a", source="noise"))
    assert caught.value.exit_code == 7
    trade(bundle, max_sessions=2)
    assert run(read_settings(), RunRequest(account="a")).sessions == 6


@pytest.mark.parametrize("name", ["model.npz", "version.json"])
def test_a_kept_bundle_that_was_changed_is_refused(bundle: Path, own_house: Path, name: str) -> None:
    trade(bundle, max_sessions=2)
    kept = next((own_house / "data" / "live" / "a" / "bundles").glob("[0-9a-f]*"))
    (kept / name).write_bytes(b"other")
    with pytest.raises(ModelMismatch):
        trade(bundle)


@pytest.mark.parametrize("program", ["/no/such/program", "/bin/echo"])
def test_a_child_that_cannot_be_asked_is_a_registry_that_is_away(own_house: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(ModelUnavailable, match="the child that asks for models"):
        asyncio.run(child.ask(read_settings(), "a", None))


# ---- bad input ---------------------------------------------------------------------------------------------------------


def test_no_panel_is_said(bundle: Path, own_house: Path) -> None:
    (own_house / "data" / panel_file("noise")).unlink()
    with pytest.raises(DataUnavailable, match="noise"):
        trade(bundle)


def test_bars_that_cannot_be_read_keep_no_open_account_from_starting_and_no_new_one_is_opened(bundle: Path, own_house: Path) -> None:
    (own_house / "data" / panel_file("noise")).write_bytes(b"damaged")
    with pytest.raises(DataInvalid):
        model_plan(read_settings(), "a", bundle, State())
    plan, model = model_plan(read_settings(), "a", bundle, State(account="a", source="noise"))
    assert opening_of(read_settings(), model, account="a", mode="paper", broker="alpaca", panel=None).source == "noise"
    with pytest.raises(DataInvalid):
        plan.panel()


def test_a_model_of_another_source_is_refused_at_a_start_and_the_last_good_one_goes_on(own_house: Path, panel: Panel, bundle: Path) -> None:
    good = newest(read_settings(), "a", bundle)
    stranger = newest(read_settings(), "a", write_bundle(own_house, replace(panel, source="other"), name="stranger"))
    state = State(account="a", source="noise", model_digest=good.bundle.digest, bundles={good.bundle.digest: good.bundle})
    assert first_model(lambda: good, state) is good
    assert first_model(lambda: stranger, state) is None
    assert first_model(lambda: stranger, State()) is stranger
    with pytest.raises(ModelMismatch, match="other"):
        first_model(lambda: stranger, state, named=True)


def test_a_panel_that_is_not_its_manifests_is_refused(bundle: Path, own_house: Path, panel: Panel) -> None:
    manifest = own_house / "data" / panel_manifest("noise")
    manifest.write_text(json.dumps({"sha256": data_version(pack_panel(panel))}))
    trade(bundle, max_sessions=1)
    manifest.write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(DataInvalid, match="manifest"):
        trade(bundle)


def test_a_symbol_the_account_trades_may_not_vanish(bundle: Path, own_house: Path, panel: Panel) -> None:
    trade(bundle, max_sessions=1)
    shorter = replace(panel, symbols=("X0", *panel.symbols[1:]))
    (own_house / "data" / panel_file("noise")).write_bytes(pack_panel(shorter))
    with pytest.raises(DataInvalid, match="S0"):
        trade(bundle)


@pytest.mark.parametrize("asked", [{"broker": "nobody"}, {"feed": "rumour"}, {"first": "yesterday"}, {"last": "2001-13-01"}])
def test_what_is_not_known_is_a_configuration_error(bundle: Path, asked: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        trade(bundle, **asked)
    assert caught.value.mend


def test_another_source_needs_another_account(bundle: Path) -> None:
    trade(bundle, max_sessions=1)
    with pytest.raises(ConfigError, match="trades noise"):
        run(read_settings(), RunRequest(account="a", source="other", bundle=bundle))


def test_a_misspelt_key_names_file_and_key(own_house: Path) -> None:
    path = own_house / "config" / "trading.yaml"
    path.write_text(path.read_text() + "\nintial_cash: 5\n")
    with pytest.raises(ConfigError, match="intial_cash") as caught:
        read_settings()
    assert "trading.yaml" in caught.value.message


def test_a_replay_cannot_be_called_paper_by_the_configuration(own_house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEDGEFUND_TRADING__MODE", "paper")
    with pytest.raises(ConfigError, match="mode"):
        read_settings()


@pytest.mark.parametrize("content", ["", "- a\n", "a: [", None])
def test_unusable_settings_files_are_named(own_house: Path, content: str | None) -> None:
    path = own_house / "config" / "risk.yaml"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(ConfigError, match=r"risk\.yaml"):
        read_settings()


def test_no_broker_process_is_exit_6(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live_executor.runtime._PAUSES", (0.0,))
    with pytest.raises(BrokerUnavailable) as caught:
        trade(bundle, broker="simulated_process")
    assert caught.value.exit_code == 6


# ---- people ----------------------------------------------------------------------------------------------------------------


def test_halt_is_latched_across_restarts_until_a_person_resumes(bundle: Path, own_house: Path) -> None:
    data = own_house / "data"
    trade(bundle, max_sessions=2)
    commands.send(data, "a", commands.Halt(level=4, reason="drill", person="ada"))
    with pytest.raises(Halted) as caught:
        trade(bundle)
    assert caught.value.exit_code == 5
    assert (data / halt_file("a")).exists()
    (data / halt_file("a")).unlink()  # deleting the mirror resumes nothing
    with pytest.raises(Halted):
        trade(bundle)
    assert (data / halt_file("a")).exists()
    commands.send(data, "a", commands.Resume(reason="drill over", person="ada"))
    assert trade(bundle, max_sessions=2).sessions == 2
    assert not (data / halt_file("a")).exists()
    assert [frame.person for frame in frames(e.HaltRequested)] == ["ada"]
    assert len(frames(e.ResumeRequested)) == 1
    assert list((data / "live" / "a" / "commands").glob("*.json")) == []


def test_level_1_keeps_marking_and_takes_no_entries(bundle: Path, own_house: Path) -> None:
    trade(bundle, max_sessions=2)
    held = trade(bundle, max_sessions=1).state.ledger.positions
    assert held
    commands.send(own_house / "data", "a", commands.Halt(level=1, reason="news", person="ada"))
    before = len(frames(e.OrdersIntended))
    trade(bundle)
    later = frames(e.OrdersIntended)[before:]
    assert all(order.leg == "close" for frame in later for order in frame.orders)
    assert len(frames(e.AccountMarked)) == 8


def test_a_halt_file_made_by_a_person_halts(bundle: Path, own_house: Path) -> None:
    trade(bundle, max_sessions=1)
    (own_house / "data" / halt_file("a")).touch()
    with pytest.raises(Halted):
        trade(bundle)
    assert [(frame.level, frame.reason) for frame in frames(e.HaltRequested)] == [(4, "HALT file")]


def test_an_unreadable_command_is_taken_as_a_halt(bundle: Path, own_house: Path) -> None:
    trade(bundle, max_sessions=1)
    folder = own_house / "data" / "live" / "a" / "commands"
    folder.mkdir(parents=True)
    (folder / "00000001-1.json").write_text("{")
    with pytest.raises(Halted):
        trade(bundle)
    assert "unreadable" in frames(e.HaltRequested)[0].reason


# ---- recovery --------------------------------------------------------------------------------------------------------------


def test_replay_finds_a_changed_bar_after_an_honest_rehash(bundle: Path, own_house: Path) -> None:
    trade(bundle)
    path = own_house / "data" / journal_file("a")
    database = sqlite3.connect(path)
    rows = database.execute("SELECT seq, ts, kind, payload FROM frames ORDER BY seq").fetchall()
    target = next(row[0] for row in rows if row[2] == "bars_closed")
    previous = bytes(32)
    for seq, ts, kind, payload in rows:
        if seq == target:
            bars = e.decode(payload)
            payload = e.encode(msgspec.structs.replace(bars, close=(bars.close[0] * 1.02, *bars.close[1:])))  # noqa: PLW2901 - the tampering
        previous = chain_hash(previous, seq, ts, kind, payload)
        database.execute("UPDATE frames SET payload = ?, hash = ? WHERE seq = ?", (payload, previous, seq))
    database.execute("DELETE FROM heads")
    database.commit()
    database.close()
    reader = JournalReader(path)
    assert not reader.verify(own_house / "config" / "keys").ok  # the head outside the data folder knows
    shutil.rmtree(own_house / "config" / "keys" / "heads")
    assert reader.verify(own_house / "config" / "keys").ok  # the chain alone cannot
    differing = [turn.difference for turn in refold(reader.read(), bundles_of(read_settings(), "a")) if turn.difference]
    assert "decision_made" in differing[0]
    assert "2001-07-02" in differing[0]
    with pytest.raises(JournalError, match="does not replay"):
        trade(bundle)


def test_deleted_decisions_are_made_again(bundle: Path, own_house: Path) -> None:
    trade(bundle)
    entries = list(JournalReader(own_house / "data" / journal_file("a")).read())
    kept = [entry for entry in entries if entry.kind not in {"decision_made", "orders_intended", "orders_denied"}]
    made = [e.encode(output) for turn in refold(kept, bundles_of(read_settings(), "a")) for output in turn.outputs]
    assert made == [entry.payload for entry in entries if entry.kind not in e.INPUT_KINDS]


def test_a_journal_with_a_hole_stops_the_start_and_names_the_proof(bundle: Path, own_house: Path) -> None:
    trade(bundle)
    with sqlite3.connect(own_house / "data" / journal_file("a")) as connection:
        connection.execute(
            "DELETE FROM frames WHERE kind = 'order_filled' AND seq = (SELECT min(seq) FROM frames WHERE kind = 'order_filled')"
        )
    with pytest.raises(JournalError) as refused:
        trade(bundle)
    assert refused.value.mend == "run `executor audit verify`"


def test_an_empty_journal_recovers_to_nothing(own_house: Path) -> None:
    journal = open_journal(own_house / "data", own_house / "config" / "keys", "a")
    recovered = recover(journal.read(), bundles_of(read_settings(), "a"))
    journal.close()
    assert (recovered.state.account, recovered.place, recovered.entries) == ("", None, 0)


# ---- the process -------------------------------------------------------------------------------------------------------------


def test_the_trading_process_is_small_and_free_of_research_libraries(bundle: Path) -> None:
    program = """if True:
        import sys
        from pathlib import Path
        from live_executor.app import RunRequest, run
        from live_executor.settings import read_settings
        run(read_settings(), RunRequest(account="a", source="noise", bundle=Path(sys.argv[1])))
        heavy = {"pandas", "pyarrow", "polars", "sklearn", "scipy", "mlflow", "dagster", "great_expectations"} & set(sys.modules)
        assert not heavy, heavy
        # the peak of this program: ru_maxrss would carry over the test process that started it
        peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))
        print(int(peak.split()[1]) // 1024)
    """
    done = subprocess.run([sys.executable, "-c", program, str(bundle)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) <= 150


def test_errors_carry_the_command_that_mends_them(own_house: Path, panel: Panel, bundle: Path) -> None:
    for asked in ({"broker": "nobody"}, {"source": "nowhere"}):
        with pytest.raises(HedgefundError) as caught:
            run(read_settings(), RunRequest(**{"account": "b", "source": "noise", "bundle": bundle, **asked}))
        assert caught.value.mend


def test_clock_of_a_replay_is_the_schedules(bundle: Path, panel: Panel) -> None:
    trade(bundle, max_sessions=1)
    first = frames(e.SessionBegan)[0]
    assert first.ts.date() == np.datetime64(panel.sessions[TRAINED], "D").astype(datetime)
    assert first.ts.tzinfo is UTC or first.ts.utcoffset().total_seconds() == 0
