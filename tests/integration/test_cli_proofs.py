"""The proofs, as a person gives the commands: what was changed is named, what was deleted is made again."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from typer.testing import CliRunner, Result

from hedgefund_core import bundle as b
from hedgefund_core.layout import broker_book_file, journal_file
from hedgefund_core.trading import events as e
from live_executor.cli import app
from live_executor.journals.chain import chain_hash

ACCOUNT = "traded"


def executor(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def parsed(*arguments: str, code: int = 0) -> dict:
    result = executor(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def journal(traded: Path) -> sqlite3.Connection:
    return sqlite3.connect(traded / "data" / journal_file(ACCOUNT))


def rehash(database: sqlite3.Connection) -> None:
    """Chain everything again, as an honest tool would after a change."""
    previous = bytes(32)
    for seq, ts, kind, payload in database.execute("SELECT seq, ts, kind, payload FROM frames ORDER BY seq").fetchall():
        previous = chain_hash(previous, seq, ts, kind, payload)
        database.execute("UPDATE frames SET hash = ? WHERE seq = ?", (previous, seq))


def decisions(traded: Path) -> list[tuple[int, e.DecisionMade]]:
    with journal(traded) as database:
        rows = database.execute("SELECT seq, payload FROM frames WHERE kind = 'decision_made' ORDER BY seq").fetchall()
    return [(seq, e.decode(payload)) for seq, payload in rows]


def test_an_untouched_account_proves_itself(traded: Path) -> None:
    replayed = parsed("replay", "--verify")
    made = decisions(traded)
    assert replayed["ok"]
    assert replayed["first_difference"] is None
    assert replayed["decisions"] == len(made)
    assert replayed["regenerated"] == replayed["differing"] == 0
    assert parsed("reconcile") == {"ok": True, "differences": [], "explained": []}
    audited = parsed("audit", "verify")
    assert audited["ok"]
    assert audited["first_broken"] is None
    assert audited["entries"] == audited["signed_through"] == replayed["entries"]


def test_deleted_decisions_are_made_again_byte_for_byte(traded: Path, tmp_path: Path) -> None:
    before, after = tmp_path / "before.jsonl", tmp_path / "after.jsonl"
    parsed("replay", "--verify", "--output", str(before))
    with journal(traded) as database:
        gone = database.execute("DELETE FROM frames WHERE kind IN ('decision_made', 'orders_intended', 'orders_denied')").rowcount
    replayed = parsed("replay", "--verify", "--output", str(after))
    assert replayed["ok"]
    assert replayed["regenerated"] == gone > 20
    assert after.read_bytes() == before.read_bytes()
    assert parsed("audit", "verify", code=1)["first_broken"] is not None


def test_one_changed_bar_fails_the_replay_and_names_the_first_decision_that_saw_it(traded: Path) -> None:
    made = decisions(traded)
    target = made[len(made) // 2][1]
    with journal(traded) as database:
        rows = database.execute("SELECT seq, payload FROM frames WHERE kind = 'bars_closed' ORDER BY seq").fetchall()
        seq, bars = next((seq, frame) for seq, payload in rows if (frame := e.decode(payload)).session == target.session)
        changed = msgspec.structs.replace(bars, close=(bars.close[0] * 1.001, *bars.close[1:]))
        database.execute("UPDATE frames SET payload = ? WHERE seq = ?", (e.encode(changed), seq))
        database.execute("DELETE FROM heads")
        rehash(database)
    assert not parsed("audit", "verify", code=1)["ok"], "the head outside the data folder knows"
    shutil.rmtree(traded / "config" / "keys" / "heads")
    assert parsed("audit", "verify")["ok"], "the chain itself is honest"
    replayed = parsed("replay", "--verify", code=1)
    assert not replayed["ok"]
    assert replayed["first_difference"]["decision_id"] == target.decision_id
    assert "inputs_digest" in replayed["first_difference"]["what"]


def test_a_signed_head_betrays_an_honest_rehash(traded: Path) -> None:
    with journal(traded) as database:
        seq, payload = database.execute("SELECT seq, payload FROM frames WHERE kind = 'bars_closed' ORDER BY seq LIMIT 1").fetchone()
        database.execute("UPDATE frames SET payload = ? WHERE seq = ?", (payload + b" ", seq))
        rehash(database)
    assert "re-hashed" in parsed("audit", "verify", code=1)["reason"]


def _changed_manifest(traded: Path, *, resign: bool) -> None:
    folder = next((traded / "data" / "live" / ACCOUNT / "bundles").iterdir())
    manifest = b.read_manifest((folder / b.MANIFEST).read_bytes())
    spec = manifest.features[0]
    other = msgspec.structs.replace(spec, params={name: value + 1 for name, value in spec.params.items()}, warm_up=spec.warm_up + 1)
    manifest = msgspec.structs.replace(manifest, features=(other,))
    if resign:
        key = serialization.load_pem_private_key((traded / "config" / "keys" / "promotion.key").read_bytes(), password=None)
        signature = base64.b64encode(key.sign(b.signed_payload(manifest))).decode()
        manifest = msgspec.structs.replace(manifest, signature=signature)
    (folder / b.MANIFEST).write_bytes(b.manifest_bytes(manifest))


@pytest.mark.parametrize("resign", [False, True])
def test_a_changed_feature_parameter_fails_the_replay_even_if_it_is_signed_again(traded: Path, resign: bool) -> None:
    _changed_manifest(traded, resign=resign)
    first = parsed("replay", "--verify", code=1)["first_difference"]
    assert first["decision_id"] == decisions(traded)[0][1].decision_id
    assert "was changed after it was used" in first["what"]
    assert "scores" in first["what"]
    assert ("no trusted key signed it" in first["what"]) is not resign


def test_a_lost_bundle_names_the_first_decision_that_used_it(traded: Path) -> None:
    shutil.rmtree(next((traded / "data" / "live" / ACCOUNT / "bundles").iterdir()))
    first = parsed("replay", "--verify", code=1)["first_difference"]
    assert first["decision_id"] == decisions(traded)[0][1].decision_id
    assert parsed("status")["model"]["name"] == "rule", "the views go on without it"


def test_an_order_that_nobody_decided_is_an_extra(traded: Path) -> None:
    with journal(traded) as database:
        last = database.execute("SELECT max(seq) FROM frames").fetchone()[0]
        payload = database.execute("SELECT payload FROM frames WHERE kind = 'orders_intended' LIMIT 1").fetchone()[0]
        ts = database.execute("SELECT ts FROM frames WHERE seq = ?", (last,)).fetchone()[0]
        database.execute("INSERT INTO frames VALUES (?, ?, 'orders_intended', ?, ?)", (last + 1, ts, payload, bytes(32)))
        rehash(database)
    first = parsed("replay", "--verify", code=1)["first_difference"]
    assert first["seq"] == last + 1
    assert "nothing regenerates" in first["what"]


def test_one_flipped_byte_makes_the_audit_name_the_entry(traded: Path) -> None:
    with journal(traded) as database:
        seq, payload = database.execute("SELECT seq, payload FROM frames WHERE kind = 'order_filled' LIMIT 1").fetchone()
        flipped = payload[:40] + bytes([payload[40] ^ 1]) + payload[41:]
        database.execute("UPDATE frames SET payload = ? WHERE seq = ?", (flipped, seq))
    result = executor("audit", "verify")
    assert result.exit_code == 1
    assert f"BROKEN at entry {seq}" in result.stdout
    assert parsed("audit", "verify", code=1)["first_broken"] == seq


def test_one_session_can_be_replayed_alone(traded: Path) -> None:
    made = decisions(traded)[-1][1]
    replayed = parsed("replay", "--verify", "--session", made.session)
    assert replayed["ok"]
    assert replayed["decisions"] == 1
    assert replayed["orders"] == sum(made.judgements.allowed)


def test_a_difference_with_the_broker_is_shown_and_exits_5(traded: Path) -> None:
    with sqlite3.connect(traded / "data" / broker_book_file(ACCOUNT)) as database:
        book = json.loads(database.execute("SELECT value FROM facts WHERE name = 'book'").fetchone()[0])
        symbol = next(key for key, quantity in book["positions"].items() if quantity != "0")
        book["positions"][symbol] = str(int(book["positions"][symbol]) + 7)
        database.execute("UPDATE facts SET value = ? WHERE name = 'book'", (json.dumps(book),))
    found = parsed("reconcile", code=5)
    assert not found["ok"]
    assert [(row["kind"], row["symbol"]) for row in found["differences"]] == [("position", symbol)]
    row = found["differences"][0]
    assert int(row["broker"]) - int(row["ours"]) == 7


def test_a_broker_without_a_book_is_a_broker_error(traded: Path) -> None:
    (traded / "data" / broker_book_file(ACCOUNT)).unlink()
    assert executor("reconcile").exit_code == 6


def test_the_head_of_status_is_the_head_of_the_chain(traded: Path) -> None:
    with journal(traded) as database:
        seq, digest = database.execute("SELECT seq, hash FROM frames ORDER BY seq DESC LIMIT 1").fetchone()
        first = database.execute("SELECT ts, kind, payload, hash FROM frames WHERE seq = 1").fetchone()
    assert parsed("status")["journal"] == {"seq": seq, "head": digest.hex()}
    ts, kind, payload, stored = first
    assert (
        hashlib.sha256(bytes(32) + (1).to_bytes(8, "big") + ts.to_bytes(8, "big", signed=True) + kind.encode() + payload).digest() == stored
    )
