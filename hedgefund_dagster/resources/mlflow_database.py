"""MLflow's SQLite database appears whole or not at all.

Making it takes MLflow some seconds and dozens of migrations. Stopped in between, it would leave a database that no later start
can open or mend, so it is made beside its place and moved there once it is finished.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from filelock import FileLock


def ensure_database(path: Path, artifacts: Path) -> None:
    """Make the database unless a finished one is there."""
    if is_finished(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if not is_finished(path):
            _make(path, artifacts)


def is_finished(path: Path) -> bool:
    """Whether MLflow ever opened it: the last thing it does then is to store its default experiment. Without it nothing is stored."""
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            return bool(database.execute("SELECT count(*) FROM experiments").fetchone()[0])
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return False
        raise


def _make(path: Path, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        SqlAlchemyStore(f"sqlite:///{fresh.resolve()}", artifacts.resolve().as_uri()).engine.dispose()
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
