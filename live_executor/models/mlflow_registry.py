"""The only importer of MLflow in the executor: a child process that resolves an alias, copies files, and ends.

``python -m live_executor.models.mlflow_registry --alias champion --into DIR``. It copies bytes and judges nothing:
whether they may trade is decided by ``loader`` from their signature and verdict. Exit 7 where there is no such version.

MLflow's import alone takes four seconds of processor time, so its two tables are read first; MLflow itself is asked where they say
nothing: an unknown alias, or a database of another release.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import msgspec

from hedgefund_core.bundle import GOLDEN, MANIFEST, MODEL
from hedgefund_core.errors import ModelUnavailable
from hedgefund_core.layout import MLFLOW_DB, REGISTERED_MODEL

VERSION_FILE = "version.json"
FILES = (MANIFEST, MODEL, GOLDEN)
"""Of a bundle."""
_ALIASED = """
SELECT found.version, found.source FROM registered_model_aliases AS asked
JOIN model_versions AS found ON (found.workspace, found.name, found.version) = (asked.workspace, asked.name, asked.version)
WHERE asked.workspace = 'default' AND asked.name = ? AND asked.alias = ?
"""


class RegisteredVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Which version a folder of bundle files is a copy of."""

    name: str
    version: str
    alias: str


def copy_version(database: Path, alias: str, into: Path) -> RegisteredVersion:
    """Copy the files of the version that carries ``alias``; raises ModelUnavailable."""
    if not database.is_file():
        message = f"there is no model registry at {database}"
        raise ModelUnavailable(message)
    version, address = _stored(database, alias) or _asked(database, alias)
    source = Path(address.removeprefix("file://"))
    missing = [name for name in FILES if not (source / name).is_file()]
    if missing:
        message = f"version {version} of {REGISTERED_MODEL} lacks {', '.join(missing)}"
        raise ModelUnavailable(message)
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(source / name, into / name)
    registered = RegisteredVersion(name=REGISTERED_MODEL, version=version, alias=alias)
    (into / VERSION_FILE).write_bytes(msgspec.json.encode(registered))
    return registered


def _stored(database: Path, alias: str) -> tuple[str, str] | None:
    """Version and source as the tables say; None where they cannot be read or know no such alias."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(database.resolve()))}?mode=ro", uri=True)) as connection:
            row = connection.execute(_ALIASED, (REGISTERED_MODEL, alias)).fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else (str(row[0]), str(row[1]))


def _asked(database: Path, alias: str) -> tuple[str, str]:
    """Version and source as MLflow says; raises ModelUnavailable."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when MLflow is imported
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    address = f"sqlite:///{database.resolve()}"
    try:
        found = MlflowClient(tracking_uri=address, registry_uri=address).get_model_version_by_alias(REGISTERED_MODEL, alias)
    except MlflowException as error:
        message = f"no version of {REGISTERED_MODEL} carries the alias {alias}: {error.message}"
        raise ModelUnavailable(message) from error
    return str(found.version), str(found.source)


def main() -> int:
    """Entry of the child process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--into", type=Path, required=True)
    given = parser.parse_args()
    try:
        copy_version(Path(os.environ.get("HEDGEFUND_DATA_DIR", "data")) / MLFLOW_DB, given.alias, given.into)
    except ModelUnavailable as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
