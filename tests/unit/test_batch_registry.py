"""Registry, signatures and the trial ledger: what is stored comes back, what was tampered with does not."""

import sqlite3
from contextlib import closing

import pytest

from hedgefund_core import layout
from hedgefund_core.errors import ConfigError, DataInvalid, ModelUnavailable
from hedgefund_dagster.books import BOOKS, book_of
from hedgefund_dagster.resources.lake import Lake
from hedgefund_dagster.resources.mlflow_database import ensure_database, is_finished
from hedgefund_dagster.resources.model_registry import ModelRegistry, RunRecord
from hedgefund_dagster.resources.signing import PRIVATE, PUBLIC, open_signer, verify


def test_a_key_is_made_once_private_and_signs_what_its_public_half_verifies(tmp_path):
    signer = open_signer(tmp_path)
    assert (tmp_path / PRIVATE).stat().st_mode & 0o777 == 0o600
    signature = signer.sign(b"payload")
    assert verify(tmp_path, signer.key_id, b"payload", signature)
    assert not verify(tmp_path, signer.key_id, b"payloae", signature)
    assert not verify(tmp_path, "0" * 16, b"payload", signature)
    assert not verify(tmp_path, signer.key_id, b"payload", "no base64")
    assert open_signer(tmp_path).key_id == signer.key_id


def test_a_key_others_may_read_or_that_is_none_is_refused(tmp_path):
    open_signer(tmp_path)
    (tmp_path / PRIVATE).chmod(0o644)
    with pytest.raises(ConfigError, match="read by others") as caught:
        open_signer(tmp_path)
    assert "chmod 600" in caught.value.mend
    (tmp_path / PRIVATE).write_bytes((tmp_path / PUBLIC).read_bytes())
    (tmp_path / PRIVATE).chmod(0o600)
    with pytest.raises(ConfigError, match="not an Ed25519 key"):
        open_signer(tmp_path)


def test_runs_versions_and_aliases_come_back_as_they_were_stored(tmp_path):
    registry = ModelRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "mlruns")
    assert registry.by_alias(layout.CHAMPION) is None
    record = RunRecord(
        name="one", params={"alpha": "1"}, metrics={"ic": 0.02, "gone": float("nan")}, tags={"book": "b"}, texts={"R.md": "x"}
    )
    run_id = registry.log_run("b", record)
    registry.log_metrics(run_id, {"net_sharpe_ratio": 0.4})
    files = {"manifest.json": b"{}", "model.npz": b"\x00\x01"}
    first = registry.register(run_id, files, digest="a" * 64, tags={"gate": "bootstrap"}, description="d")
    second = registry.register(run_id, {"manifest.json": b"[]"}, digest="b" * 64, tags={}, description="d")
    registry.set_alias(layout.CHAMPION, first.version)
    found = registry.by_alias(layout.CHAMPION)
    assert found == first
    assert (found.digest, found.run_id, found.tags["gate"]) == ("a" * 64, run_id, "bootstrap")
    assert registry.bundle_files(found) == files
    assert registry.by_digest("b" * 64) == second
    assert registry.by_digest("c" * 64) is None


def test_a_database_whose_making_was_interrupted_is_made_again(tmp_path):
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as database:  # what a first start leaves that is killed among MLflow's migrations
        database.executescript(
            "CREATE TABLE experiments (experiment_id INTEGER, name TEXT); CREATE TABLE alembic_version (version_num TEXT);"
            "INSERT INTO alembic_version VALUES ('a5b4c3d2e1f0');"
        )
    assert not is_finished(path)
    registry = ModelRegistry(f"sqlite:///{path}", tmp_path / "mlruns")
    assert registry.by_alias(layout.CHAMPION) is None
    assert is_finished(path)
    stored = path.read_bytes()
    ensure_database(path, tmp_path / "mlruns")
    assert path.read_bytes() == stored, "a finished one is left alone"
    assert not list(tmp_path.glob(".mlflow.db.[0-9]*"))


def test_a_version_whose_files_are_gone_says_so(tmp_path):
    registry = ModelRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "mlruns")
    run_id = registry.log_run("b", RunRecord(name="one", params={}, metrics={}, tags={}, texts={}))
    version = registry.register(run_id, {"manifest.json": b"{}"}, digest="a" * 64, tags={}, description="")
    for path in list((tmp_path / "mlruns").rglob("manifest.json")):
        path.unlink()
        path.parent.rmdir()
    with pytest.raises(ModelUnavailable, match="gone"):
        registry.bundle_files(version)


def test_a_damaged_ledger_is_an_error_and_not_an_empty_one(tmp_path):
    from hedgefund_dagster.defs.training.trials import TrialLedger

    path = tmp_path / layout.TRIALS
    path.parent.mkdir(parents=True)
    path.write_text('{"key": 1}\n')
    with pytest.raises(DataInvalid, match="damaged"):
        TrialLedger(Lake(tmp_path)).lines()


def test_each_book_has_a_source_of_its_own_and_only_secondary_ones_carry_their_name_in_the_alias():
    assert len({book.source for book in BOOKS.values()}) == len(BOOKS)
    assert book_of("bundled_sp500").alias("champion") == "champion"
    assert book_of("bundled_ohlcv").alias("champion") == "champion-ohlcv"
