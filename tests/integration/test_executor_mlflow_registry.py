"""What the executor reads of the registry without importing MLflow is what MLflow itself says."""

import pytest

from hedgefund_core.bundle import GOLDEN, MANIFEST, MODEL
from hedgefund_core.errors import ModelUnavailable
from hedgefund_core.layout import CHAMPION
from hedgefund_dagster.resources.model_registry import ModelRegistry, RunRecord
from live_executor.models.mlflow_registry import _asked, _stored, copy_version


def test_tables_and_mlflow_name_the_same_version_and_an_unknown_alias_is_left_to_mlflow(tmp_path):
    database = tmp_path / "mlflow.db"
    registry = ModelRegistry(f"sqlite:///{database}", tmp_path / "mlruns")
    run_id = registry.log_run("b", RunRecord(name="one", params={}, metrics={}, tags={}, texts={}))
    versions = [
        registry.register(
            run_id, dict.fromkeys((MANIFEST, MODEL, GOLDEN), content), digest=content.hex() * 32, tags={}, description=""
        ).version
        for content in (b"1", b"2")
    ]
    for version in versions:  # the alias moves
        registry.set_alias(CHAMPION, version)
        assert _stored(database, CHAMPION) == _asked(database, CHAMPION)
        assert copy_version(database, CHAMPION, tmp_path / "into").version == version
    assert (tmp_path / "into" / MODEL).read_bytes() == b"2"
    assert _stored(database, "nobody") is None
    with pytest.raises(ModelUnavailable, match="nobody"):
        copy_version(database, "nobody", tmp_path / "into")


def test_a_database_that_is_none_of_mlflow_is_not_guessed_at(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"")
    assert _stored(tmp_path / "mlflow.db", CHAMPION) is None
    assert _stored(tmp_path / "absent.db", CHAMPION) is None
    assert not (tmp_path / "absent.db").exists()
